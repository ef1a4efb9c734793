//! Cuts one HTTP/2 request whose peer keeps the connection alive, but grants its answer no window.
//!
//! hyper runs each request of HTTP/2 in a task of its own, which asks the body for a frame, then waits for room for it. The
//! body notes that it was asked; the task's wrapper looks whether it was asked again. Nothing runs for HTTP/1.1, where the
//! socket itself shows who takes nothing.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

tokio::task_local! {
    static GIVEN: Given;
}

/// What the body of this task gave.
#[derive(Default)]
struct Given {
    frames: Cell<u64>,
    /// It gave one, and was not asked for the next yet.
    waits: Cell<bool>,
}

/// A body was asked: it gave a frame (or its end), or had none.
pub(super) fn polled(gave: bool) {
    // Without a task of its own the body is one of HTTP/1.1.
    let _ = GIVEN.try_with(|given| {
        given.waits.set(gave);
        given.frames.set(given.frames.get() + u64::from(gave));
    });
}

/// Runs `task`, one request of HTTP/2, to its end; drops it when a frame of its answer finds no room for `stall_max`.
pub(super) async fn watched<F: Future>(task: F, stall_max: Duration) {
    GIVEN.scope(Given::default(), Watched { task: Box::pin(task), stall_max, clock: None, frames: 0 }).await;
}

struct Watched<F> {
    task: Pin<Box<F>>,
    stall_max: Duration,
    /// Runs while a frame waits; made when the first one does.
    clock: Option<Pin<Box<Sleep>>>,
    /// The frame that the clock runs for.
    frames: u64,
}

impl<F: Future> Future for Watched<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.task.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let (waits, frames) = GIVEN.with(|given| (given.waits.get(), given.frames.get()));
        if !waits {
            return Poll::Pending;
        }
        let stall_max = self.stall_max;
        if self.frames != frames {
            self.frames = frames;
            match &mut self.clock {
                Some(clock) => clock.as_mut().reset(Instant::now() + stall_max),
                None => self.clock = Some(Box::pin(sleep(stall_max))),
            }
        }
        match &mut self.clock {
            Some(clock) => {
                clock.as_mut().poll(context).map(|()| tracing::debug!("an HTTP/2 request takes no bytes: cut"))
            }
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_finds_no_room_ends_the_task() {
        let began = Instant::now();
        let task = async {
            polled(true);
            tokio::time::sleep(WAIT / 2).await;
            polled(true);
            pending::<()>().await;
        };
        watched(task, WAIT).await;
        assert_eq!(began.elapsed(), WAIT / 2 + WAIT, "from the last frame on");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_has_nothing_to_give_may_wait_for_ever() {
        let task = async {
            polled(true);
            polled(false);
            pending::<()>().await;
        };
        assert!(tokio::time::timeout(10 * WAIT, watched(task, WAIT)).await.is_err());
        watched(ready(()), WAIT).await;
    }
}
