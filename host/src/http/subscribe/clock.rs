//! What may interrupt a live response while it waits: a silence that has lasted too long, and the end of the host.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Races what a response waits for with what may interrupt it.
pub(in crate::http) struct Clock {
    keep_alive: Pin<Box<Sleep>>,
    keep_alive_after: Duration,
    // Pinned once and kept: a fresh one for every wait would put all responses in line at one lock.
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// Why a wait ended before what it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Interrupted {
    /// It is time for a keep-alive comment; then wait again.
    KeepAlive,
    /// The host stops.
    Shutdown,
}

impl Clock {
    /// `keep_alive_after`: a comment goes out after this long without a frame.
    pub(in crate::http) fn new(shutdown: CancellationToken, keep_alive_after: Duration) -> Self {
        let shutdown = Box::pin(shutdown.cancelled_owned());
        Clock { keep_alive: Box::pin(sleep(keep_alive_after)), keep_alive_after, shutdown }
    }

    /// The result of `work`, or what came before it: `work` is dropped then and is to be done again.
    pub(in crate::http) async fn race<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Interrupted> {
        tokio::select! {
            biased;
            () = self.shutdown.as_mut() => Err(Interrupted::Shutdown),
            done = work => Ok(done),
            () = self.keep_alive.as_mut() => {
                self.restart();
                Err(Interrupted::KeepAlive)
            }
        }
    }

    /// A frame goes out: the silence begins anew.
    pub(in crate::http) fn restart(&mut self) {
        self.keep_alive.as_mut().reset(Instant::now() + self.keep_alive_after);
    }
}
