//! Waiting for the thing itself, with a deadline; and many things at a time, with a bound.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// Nothing that a test waits for takes longer, even where the machine is busy. A sentinel that finds that the machine stood
/// still decides nothing for half of it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer; fails after [`PATIENCE`] and names what did not come.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if Instant::now() > end {
            bail!("{what}: not in {PATIENCE:?}");
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// The result of `work`; fails after [`PATIENCE`] and names what did not come.
pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(PATIENCE, work).await.with_context(|| format!("{what}: not in {PATIENCE:?}"))
}

/// Runs all of `works`, `at_a_time` of them at once. The first failure ends it. Results in no order.
pub async fn all<T: Send + 'static>(
    at_a_time: usize,
    works: impl IntoIterator<Item = impl Future<Output = Result<T>> + Send + 'static>,
) -> Result<Vec<T>> {
    let (mut running, mut results) = (JoinSet::new(), Vec::new());
    for work in works {
        while running.len() >= at_a_time
            && let Some(done) = running.join_next().await
        {
            results.push(done??);
        }
        running.spawn(work);
    }
    while let Some(done) = running.join_next().await {
        results.push(done??);
    }
    Ok(results)
}
