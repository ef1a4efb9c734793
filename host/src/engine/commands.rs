//! The commands of a session, as the rest of the host calls them: one method each, see `wit/session.wit`.

use super::registry::Sessions;
use super::run::{Done, Needs};
use super::translator::{Dialect, Translator};
use super::{Aborted, Content, Failure, Framing, Producer, Pushed, Refusal, Snapshot, convert};
use crate::types::{Job, StreamId};

impl Sessions {
    /// Starts a new generation. True when it was made now, false when the key had made the present one.
    pub async fn create(
        &self,
        stream: &StreamId,
        user_id: Option<&str>,
        idempotency_key: Option<&str>,
        request: &str,
    ) -> Result<(bool, Job), Failure> {
        let create = |live: &mut super::instance::Live| live.create(user_id, idempotency_key, request);
        self.run(stream, Needs::Row, create, |made, done| Ok((made, done.live.job()?))).await
    }

    /// Appends the records in `text`: durable and published when this returns.
    pub async fn push(
        &self,
        stream: &StreamId,
        generation: Option<u64>,
        framing: Framing,
        text: &str,
        producer: Option<Producer<'_>>,
    ) -> Result<Pushed, Failure> {
        let push = |live: &mut super::instance::Live| live.push(generation, framing, text, producer);
        let pushed = self.run(stream, Needs::Content, push, |pushed, _| Ok(pushed)).await?;
        if let Some((_, refusal)) = &pushed.stopped {
            self.meter().refused(convert::reason(refusal));
        }
        Ok(pushed)
    }

    /// Writes metadata, to this generation only where one is named.
    pub async fn update(&self, stream: &StreamId, generation: Option<u64>, fields: &str) -> Result<Job, Failure> {
        let update = |live: &mut super::instance::Live| {
            let current = live.head()?.generation;
            if generation.is_some_and(|wanted| wanted != current) {
                return Err(Failure::Refused(Refusal::GenerationReplaced(current)));
            }
            live.update(fields)
        };
        self.run(stream, Needs::Content, update, |(), done| done.live.job()).await
    }

    /// Ends well.
    pub async fn complete(
        &self,
        stream: &StreamId,
        generation: Option<u64>,
        final_event: Option<&str>,
    ) -> Result<Job, Failure> {
        self.run(stream, Needs::Content, |live| live.complete(generation, final_event), |(), done| done.live.job())
            .await
    }

    /// Ends in `error`.
    pub async fn fail(&self, stream: &StreamId, generation: Option<u64>, reason: &str) -> Result<Job, Failure> {
        self.run(stream, Needs::Content, |live| live.fail(generation, reason), |(), done| done.live.job()).await
    }

    /// Stops; the winner gets everything there is.
    pub async fn abort(&self, stream: &StreamId, generation: Option<u64>) -> Result<Aborted, Failure> {
        let collect = |(), done: Done<'_>| {
            let record = done.entry.and_then(|entry| entry.records().last()).map(|(_, _, record)| record);
            let final_event = String::from_utf8_lossy(record.unwrap_or_default()).into_owned();
            let live = done.live;
            Ok(Aborted { job: live.job()?, content: live.content()?, text: live.text()?, final_event })
        };
        self.run(stream, Needs::Content, |live| live.abort(generation), collect).await
    }

    /// Ends in `error` "timed out" if the job has been idle for too long.
    pub async fn time_out(&self, stream: &StreamId) -> Result<(), Failure> {
        // Nobody asked for it: when another replica was first, nobody is refused.
        self.attempt(stream, Needs::Content, super::instance::Live::time_out, |(), _| Ok(())).await
    }

    /// Pauses until a person answers.
    pub async fn pause(&self, stream: &StreamId, generation: Option<u64>, action: &str) -> Result<Job, Failure> {
        self.run(stream, Needs::Content, |live| live.pause(generation, action), |(), done| done.live.job()).await
    }

    /// The person's answer.
    pub async fn resolve(
        &self,
        stream: &StreamId,
        generation: Option<u64>,
        action_id: &str,
        decision: &str,
    ) -> Result<Job, Failure> {
        self.run(
            stream,
            Needs::Content,
            |live| live.resolve(generation, action_id, decision),
            |(), done| done.live.job(),
        )
        .await
    }

    /// The job with its content, from one cut.
    pub async fn content(&self, stream: &StreamId) -> Result<Content, Failure> {
        let collect = |(), done: Done<'_>| {
            let live = done.live;
            Ok(Content { job: live.job()?, at: live.head()?, parts: live.content()? })
        };
        self.run(stream, Needs::Content, |_| Ok(()), collect).await
    }

    /// What a returning reader needs.
    pub async fn snapshot(&self, stream: &StreamId) -> Result<Snapshot, Failure> {
        self.run(stream, Needs::Content, |_| Ok(()), |(), done| done.live.snapshot()).await
    }

    /// The `index` that a new run step may take without meeting an earlier one's.
    pub async fn next_index(&self, stream: &StreamId) -> Result<u64, Failure> {
        self.run(stream, Needs::Content, super::instance::Live::next_index, |index, _| Ok(index)).await
    }

    /// A translator for one body of a model provider.
    ///
    /// Errors: [`Failure::Overloaded`], [`Failure::Trapped`].
    pub fn translator(&self, dialect: Dialect) -> Result<Translator, Failure> {
        Translator::new(self.runtime(), &self.translators, dialect)
    }
}
