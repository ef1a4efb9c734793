//! Proofs in which clocks decide, on a machine that may stand still.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// A machine that ran all the time wakes a thread about when it asked for it.
const STILL_MAX: Duration = Duration::from_millis(200);
const BEAT: Duration = Duration::from_millis(10);
const ATTEMPTS: usize = 5;

/// Runs a proof whose limits are times: something must have been cut by then, or must not have been cut yet.
///
/// A machine that others share stands still now and then, for seconds; its clocks go on, so that limits of the server
/// pass before the test has done its part. Where the proof fails with an error and the machine stood still meanwhile, the
/// proof has shown nothing and begins anew, at most [`ATTEMPTS`] times. On a machine that ran, a failure is a failure.
///
/// What no clock may change (records lost or repeated, two ends, a leak) is not for `ensure!` but for `assert!`: a panic
/// is never excused. What waits for others (a turn, a program that is built) belongs before it.
pub async fn steady(proof: impl AsyncFn() -> Result<()>) -> Result<()> {
    for _ in 1..ATTEMPTS {
        let watch = Watch::start();
        let Err(error) = proof().await else { return Ok(()) };
        let stood = watch.end();
        if stood <= STILL_MAX {
            return Err(error).with_context(|| format!("the machine never stood still for {STILL_MAX:?}"));
        }
        eprintln!("the machine stood still for {stood:?}, so this shows nothing and is tried again: {error:#}");
    }
    proof().await
}

/// Looks how long this machine keeps a thread waiting that only wants to sleep a little.
struct Watch {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<Duration>>,
}

impl Watch {
    fn start() -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        // From now on, not from when the thread has its turn: that may be late as well.
        let (end, mut last, mut longest) = (ended.clone(), Instant::now(), Duration::ZERO);
        let thread = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                thread::sleep(BEAT);
                longest = longest.max(last.elapsed().saturating_sub(BEAT));
                last = Instant::now();
            }
            longest.max(last.elapsed())
        });
        Watch { ended, thread: Some(thread) }
    }

    /// The longest time that it stood still.
    fn end(mut self) -> Duration {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use anyhow::{bail, ensure};

    use super::*;

    #[tokio::test]
    async fn a_failure_on_a_machine_that_ran_is_a_failure() -> Result<()> {
        // The machine of this test may stand still as well; then it is asked again.
        for _ in 0..ATTEMPTS {
            let attempts = Cell::new(0);
            let outcome = steady(async || {
                attempts.set(attempts.get() + 1);
                bail!("it does not hold")
            });
            let said = format!("{:#}", outcome.await.expect_err("it fails"));
            ensure!(said.ends_with("it does not hold"), "{said}");
            if attempts.get() == 1 {
                return Ok(());
            }
        }
        bail!("it was repeated each time")
    }

    /// This process is stopped for a moment, as a shared machine stops all of them.
    #[tokio::test]
    async fn an_error_while_the_machine_stood_still_shows_nothing() -> Result<()> {
        let attempts = Cell::new(0);
        steady(async || {
            attempts.set(attempts.get() + 1);
            if attempts.get() > 1 {
                return Ok(());
            }
            stop_for_a_moment()?;
            bail!("too late")
        })
        .await?;
        assert_eq!(attempts.get(), 2);
        Ok(())
    }

    #[tokio::test]
    #[should_panic(expected = "two ends")]
    async fn a_panic_is_never_excused() {
        let proof = steady(async || {
            stop_for_a_moment()?;
            panic!("two ends")
        });
        proof.await.expect("it panics");
    }

    fn stop_for_a_moment() -> Result<()> {
        let this = std::process::id();
        let stop = format!("kill -STOP {this}; sleep 0.5; kill -CONT {this}");
        ensure!(std::process::Command::new("sh").args(["-c", &stop]).status()?.success());
        Ok(())
    }

    #[tokio::test]
    async fn a_proof_that_holds_is_run_once() -> Result<()> {
        let attempts = Cell::new(0);
        steady(async || {
            attempts.set(attempts.get() + 1);
            Ok(())
        })
        .await?;
        assert_eq!(attempts.get(), 1);
        Ok(())
    }
}
