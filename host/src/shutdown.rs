//! How the server ends: it stops accepting, live streams end so that their readers reconnect elsewhere, open requests
//! drain until a deadline, and what is left then is cut. Every task of the server is started here, so none outlives it.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of one server and their end. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    started: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Nothing runs yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fires when shutdown starts: whoever serves without end (live streams, sweeper) ends then.
    pub fn token(&self) -> CancellationToken {
        self.started.clone()
    }

    /// Whether shutdown has started.
    pub fn has_started(&self) -> bool {
        self.started.is_cancelled()
    }

    /// Whether the time for it is over, and what was left was cut.
    pub fn has_cut(&self) -> bool {
        self.cut.is_cancelled()
    }

    /// Starts a task that is cut at the end of the server at the latest.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let cut = self.cut.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = cut.cancelled() => {}
            }
        });
    }

    /// Starts shutdown, waits for the tasks until `deadline`, then cuts those that are left. Returns how many were.
    pub async fn end(&self, deadline: Duration) -> usize {
        self.started.cancel();
        self.tasks.close();
        if tokio::time::timeout(deadline, self.tasks.wait()).await.is_ok() {
            return 0;
        }
        let left = self.tasks.len();
        self.cut.cancel();
        self.tasks.wait().await;
        left
    }
}

/// From this call on SIGTERM and SIGINT end nothing by themselves. The future resolves when they have come `count` times
/// since then; several of one kind that come between two looks at it count once.
#[cfg(unix)]
pub fn signals(count: usize) -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        for _ in 0..count {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
    })
}

/// Resolves when Ctrl-C has come `count` times.
#[cfg(not(unix))]
pub fn signals(count: usize) -> std::io::Result<impl Future<Output = ()>> {
    let mut pressed = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        for _ in 0..count {
            pressed.recv().await;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_at_the_signal_is_waited_for() {
        let shutdown = Shutdown::new();
        let token = shutdown.token();
        shutdown.spawn(async move { token.cancelled().await });
        assert_eq!(shutdown.end(Duration::from_secs(60)).await, 0);
        assert!(shutdown.has_started());
    }

    #[tokio::test]
    async fn a_task_that_goes_on_is_cut_at_the_deadline() {
        let shutdown = Shutdown::new();
        shutdown.spawn(std::future::pending());
        assert_eq!(shutdown.end(Duration::from_millis(5)).await, 1);
    }
}
