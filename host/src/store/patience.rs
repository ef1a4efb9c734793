//! How long a request waits for a store that cannot be reached: what was sent is held, within a bound, instead of being
//! handed back at the first lost connection.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::store::StoreError;

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// The patience of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    until: Instant,
}

impl Patience {
    pub(crate) fn new(wait: Duration) -> Self {
        Patience { until: Instant::now() + wait }
    }

    /// Waits for the turn of a request among others.
    pub(crate) async fn wait<T>(self, turn: impl Future<Output = T>) -> Result<T, StoreError> {
        let late = |_| StoreError::Unavailable("too many requests of this stream wait for it".to_owned());
        timeout_at(self.until, turn).await.map_err(late)
    }

    /// Asks again while the store is unavailable and patience lasts. A write is repeated with its ticket, so that it
    /// happens once.
    pub(crate) async fn ask<T, F>(self, mut question: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut pause = PAUSE_MIN;
        loop {
            match question().await {
                Err(StoreError::Unavailable(_)) if Instant::now() + pause < self.until => sleep(pause).await,
                answer => return answer,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered_after(failures: u32, wait: Duration) -> (Result<u32, StoreError>, u32) {
        let mut asked = 0;
        let answer = Patience::new(wait).ask(|| {
            asked += 1;
            let answer = if asked > failures { Ok(asked) } else { Err(StoreError::Unavailable("away".to_owned())) };
            std::future::ready(answer)
        });
        let answer = answer.await;
        (answer, asked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_comes_back_in_time_was_never_away() {
        let (answer, _) = answered_after(10, Duration::from_secs(10)).await;
        assert!(matches!(answer, Ok(11)), "{answer:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_and_the_pauses_grow() {
        let began = Instant::now();
        let (answer, asked) = answered_after(u32::MAX, Duration::from_secs(10)).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
        assert!(began.elapsed() <= Duration::from_secs(10) && asked < 30, "{asked} times in {:?}", began.elapsed());
    }
}
