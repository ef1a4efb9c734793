//! What live responses draw from: a short view of the house, so that tests need no component.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::engine::{Content, Failure, Refusal, Snapshot};
use crate::metrics::ReaderMeter;
use crate::sse::{Hub, frame};
use crate::store::{Page, StoreError};
use crate::types::{Cursor, Job, StreamId};

/// The parts of the house that a live response needs.
pub(in crate::http) trait Source: Send + Sync + 'static {
    /// The row of a stream.
    fn job<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Option<Job>, StoreError>>;
    /// The log strictly after a cursor: see [`crate::store::Store::read`].
    fn read<'a>(
        &'a self,
        stream: &'a StreamId,
        after: Cursor,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>>;
    /// Who is woken.
    fn hub(&self) -> &Arc<Hub>;
    /// Whether any replica has readers of a stream; none when this host is all there is.
    fn readers<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Option<bool>, StoreError>>;
    /// Fires when the host stops: responses end then, so that clients connect elsewhere.
    fn shutdown(&self) -> CancellationToken;
    /// A response without a frame for this long sends a comment.
    fn keep_alive(&self) -> Duration;
    /// What readers count.
    fn meter(&self) -> ReaderMeter;
    /// State and position from one cut.
    fn snapshot<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Snapshot, Failure>>;
    /// The job with its content.
    fn content<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Content, Failure>>;
}

impl Source for App {
    fn job<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Option<Job>, StoreError>> {
        Box::pin(App::job(self, stream))
    }

    fn read<'a>(
        &'a self,
        stream: &'a StreamId,
        after: Cursor,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.store.read(stream, after, bytes_max)
    }

    fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    fn readers<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Option<bool>, StoreError>> {
        Box::pin(async move {
            let Some(wakes) = self.store.wakes() else { return Ok(None) };
            Ok(wakes.readers(std::slice::from_ref(stream)).await?.first().copied())
        })
    }

    fn shutdown(&self) -> CancellationToken {
        self.shutdown.token()
    }

    fn keep_alive(&self) -> Duration {
        self.config.keep_alive
    }

    fn meter(&self) -> ReaderMeter {
        self.metrics.readers.clone()
    }

    fn snapshot<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Snapshot, Failure>> {
        Box::pin(self.sessions.snapshot(stream))
    }

    fn content<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Content, Failure>> {
        Box::pin(self.sessions.content(stream))
    }
}

/// The sync frame of the present state and the cursor it covers; none when the stream is no longer known.
///
/// When the state cannot be computed (the component trapped, or takes more than it may), the frame has
/// `"resumeState":null` and covers nothing: all records of `generation` follow. They are still there; only the fold is not.
pub(in crate::http) async fn cut(
    source: &dyn Source,
    stream: &StreamId,
    generation: u64,
    reset: bool,
) -> Result<Option<(Cursor, Vec<u8>)>, Failure> {
    let (at, state) = match source.snapshot(stream).await {
        Ok(snapshot) => (snapshot.at, snapshot.state),
        Err(Failure::Trapped(_) | Failure::LimitExceeded(_)) => (Cursor { generation, sequence: 0 }, "null".to_owned()),
        Err(Failure::Refused(Refusal::NotFound)) => return Ok(None),
        Err(failure) => return Err(failure),
    };
    Ok(Some((at, frame::sync(at, reset, &state))))
}
