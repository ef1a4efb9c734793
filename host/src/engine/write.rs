//! What a command asked for, carried out: the write, what the store must be given back, and who is told.

use std::time::Instant;

use tracing::Instrument as _;

use super::Failure;
use super::bindings::rejoin::streams::sse::ProducerSignal;
use super::imports::{Asked, What, Write};
use super::instance::Live;
use super::registry::Sessions;
use crate::sse::{Hub, Signal};
use crate::store::{Append, Patience, Rescue, Ticket, Written};
use crate::trace;
use crate::types::{Entry, StreamId, now_ms};

impl Sessions {
    /// Carries a write out. One whose outcome cannot be learned is repeated with its ticket as long as patience lasts.
    pub(super) async fn write(
        &self,
        stream: &StreamId,
        session: u64,
        revision: u64,
        write: &Write,
        patience: Patience,
    ) -> Result<Written, Failure> {
        let ticket = Ticket { session, number: write.ticket };
        // Dropped while the store works: what is in the log then must still be found by those who wait.
        let wake = WakeOnDrop { hub: &self.hub, stream, armed: true };
        let began = Instant::now();
        let written = match &write.what {
            What::Create { previous, job } => {
                patience.ask(|| self.store.create(stream, ticket, *previous, job.clone())).await?
            }
            What::Append { first, entry, expected_status, status, fields } => {
                let append = Append {
                    ticket,
                    first: *first,
                    entry: entry.clone(),
                    expected_status: *expected_status,
                    expected_revision: revision,
                    status: *status,
                    fields: fields.clone(),
                    now_ms: now_ms(),
                };
                let span = tracing::trace_span!(
                    target: trace::SPANS,
                    "append",
                    otel.kind = "client",
                    rejoin.stream = %stream,
                    rejoin.generation = first.generation,
                    rejoin.records = entry.as_ref().map(|entry| entry.count),
                );
                patience.ask(|| self.store.append(stream, append.clone())).instrument(span).await?
            }
        };
        wake.disarm();
        if written == Written::Accepted {
            match &write.what {
                What::Create { .. } => self.meter().created(),
                What::Append { entry, status, .. } => self.meter().appended(entry.as_ref(), *status, began.elapsed()),
            }
        }
        Ok(written)
    }

    /// Gives a store that has forgotten acknowledged writes everything that the session knows, with `pending`, the
    /// records (if any) of a write under way, or else its last entry. The session is to be dropped afterwards.
    pub(super) async fn rescue(
        &self,
        stream: &StreamId,
        live: &mut Live,
        pending: Option<Option<Entry>>,
        patience: Patience,
    ) -> Result<Written, Failure> {
        let (mut job, checkpoint) = (live.job()?, live.save()?);
        job.revision = live.revision + u64::from(pending.is_some());
        // Another one for each state of the session: what it gives back twice is recognised.
        let ticket = Ticket { session: live.id, number: job.revision };
        let ends_there = |entry: &Entry| entry.first.generation == job.generation && entry.last() == job.head;
        let entry = pending.flatten().or_else(|| live.last_entry.clone()).filter(ends_there);
        let rescue = Rescue { ticket, job, entry, checkpoint, now_ms: now_ms() };
        let written = patience.ask(|| self.store.rescue(stream, rescue.clone())).await?;
        if written == Written::Accepted {
            self.meter().rescued();
            tracing::warn!(%stream, at = %rescue.job.cursor(), "the store had forgotten acknowledged records");
            self.hub.wake(stream);
        }
        Ok(written)
    }

    /// Tells subscribers and producers what was accepted.
    pub(super) async fn tell(&self, stream: &StreamId, what: &What, asked: &Asked) {
        let mut answers = Vec::new();
        // Signals first: the end of a job, once published, ends the listeners.
        for (generation, signal) in &asked.signals {
            let signal = match signal {
                ProducerSignal::Abort => Signal::Abort,
                ProducerSignal::Replaced(by) => Signal::Replaced(*by),
                ProducerSignal::Resolved(answer) => {
                    answers.push((*generation, answer));
                    Signal::Resolved(answer.clone())
                }
            };
            self.hub.signal(stream, *generation, signal);
        }
        if asked.publish {
            match what {
                What::Create { job, .. } => self.hub.generation(stream, job.generation),
                What::Append { entry: Some(entry), .. } => self.hub.publish(stream, entry),
                What::Append { .. } => self.hub.wake(stream),
            }
        }
        for (generation, answer) in answers {
            self.tell_others(stream, generation, answer).await;
        }
    }

    /// All else that other replicas must hear comes with the write itself.
    async fn tell_others(&self, stream: &StreamId, generation: u64, answer: &str) {
        if let Some(wakes) = self.store.wakes()
            && let Err(error) = wakes.resolved(stream, generation, answer).await
        {
            // The answer stands in the log.
            tracing::debug!(%stream, %error, "other replicas were not told of an answer");
        }
    }

    /// A call did not return. A trap costs the batch that did it; a limit costs the generation.
    pub(super) async fn after_trap(&self, stream: &StreamId, failure: Failure) -> Failure {
        tracing::error!(%stream, error = %failure, "component call failed");
        if matches!(failure, Failure::LimitExceeded(_))
            && let Err(error) = self.end_unopened(stream, "limit exceeded", self.patience()).await
        {
            tracing::error!(%stream, %error, "generation not ended");
        }
        failure
    }
}

/// Wakes the subscribers of a stream when a write is abandoned half-way.
struct WakeOnDrop<'a> {
    hub: &'a Hub,
    stream: &'a StreamId,
    armed: bool,
}

impl WakeOnDrop<'_> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for WakeOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.hub.wake(self.stream);
        }
    }
}
