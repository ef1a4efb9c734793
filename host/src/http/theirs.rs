//! The house as whoever asks may see it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::subscribe::source::Source;
use crate::app::App;
use crate::auth::Identity;
use crate::engine::{Content, Failure, Refusal, Snapshot};
use crate::metrics::ReaderMeter;
use crate::sse::Hub;
use crate::store::{Page, StoreError};
use crate::types::{Cursor, Job, StreamId};

/// The house as one user sees it: streams of others are not there, and a stream that becomes somebody else's is gone.
pub(super) struct Theirs {
    app: Arc<App>,
    identity: Identity,
}

/// What whoever asks may draw from.
pub(super) fn source(app: &Arc<App>, identity: Identity) -> Arc<dyn Source> {
    match identity.user() {
        None => Arc::<App>::clone(app),
        Some(_) => Arc::new(Theirs { app: Arc::clone(app), identity }),
    }
}

impl Source for Theirs {
    fn job<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Option<Job>, StoreError>> {
        Box::pin(async { Ok(self.app.job(stream).await?.filter(|job| self.identity.sees(&job.user_id))) })
    }

    // A position names its generation, and of another one nothing is read.
    fn read<'a>(
        &'a self,
        stream: &'a StreamId,
        after: Cursor,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.app.store.read(stream, after, bytes_max)
    }

    fn hub(&self) -> &Arc<Hub> {
        &self.app.hub
    }

    fn readers<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Option<bool>, StoreError>> {
        Source::readers(&*self.app, stream)
    }

    fn shutdown(&self) -> CancellationToken {
        Source::shutdown(&*self.app)
    }

    fn keep_alive(&self) -> Duration {
        Source::keep_alive(&*self.app)
    }

    fn meter(&self) -> ReaderMeter {
        Source::meter(&*self.app)
    }

    fn snapshot<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Snapshot, Failure>> {
        Box::pin(async {
            let snapshot = self.app.sessions.snapshot(stream).await?;
            // Looked at afterwards: whose it was before says nothing about what the state was taken of.
            let job = self.job(stream).await?.filter(|job| job.generation == snapshot.at.generation);
            job.map(|_| snapshot).ok_or(Failure::Refused(Refusal::NotFound))
        })
    }

    fn content<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Content, Failure>> {
        Box::pin(async {
            let content = self.app.sessions.content(stream).await?;
            let theirs = self.identity.sees(&content.job.user_id);
            if theirs { Ok(content) } else { Err(Failure::Refused(Refusal::NotFound)) }
        })
    }
}
