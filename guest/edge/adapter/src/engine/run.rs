//! The way of every command. The server's `host/src/engine/run.rs` says why each step is as it is; here nothing
//! outlives the request, so there is no cache that could be ahead of the store.

use std::time::Duration;

use super::{Aborted, Content, Failure, Pushed, Refusal, Snapshot, convert};
use crate::bindings::rejoin::edge::calls::{self, Call};
use crate::bindings::rejoin::streams::session::{Effect, Framing, Outcome, Producer, Session};
use crate::bindings::rejoin::streams::types::Limits;
use crate::config::Config;
use crate::store::{Append, Redis, Row, StoreError, Ticket, Written, patiently};
use crate::types::{Cursor, Entry, Job, StreamId};
use crate::wake;
use crate::wasi::now_ms;

/// How often a command starts over because somebody else wrote in between.
pub(super) const ATTEMPTS: u32 = 8;

/// A session and the row's revision that it knows.
pub(crate) struct Live {
    pub(super) session: Session,
    pub(super) id: u64,
    pub(super) revision: u64,
}

/// Where a request keeps its session between the batches of one body.
pub(crate) type Place = Option<Live>;

/// What a command must find in its session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// The job, and everything that the log has made.
    Content,
    /// The same, of a job that is about to be timed out.
    Overdue,
    /// The job alone: a stream whose content cannot be opened any more can still be replaced.
    Row,
}

/// What an accepted command leaves to look at.
struct Done<'a> {
    session: &'a Session,
    entry: Option<&'a Entry>,
}

impl Done<'_> {
    fn job(&self) -> Result<Job, Failure> {
        self.session.job().map(convert::job).ok_or(Failure::Refused(Refusal::NotFound))
    }
}

pub(super) enum Write {
    Create { ticket: u64, previous: u64, job: Job },
    Append { ticket: u64, append: Append },
}

/// Runs the commands of one request.
pub(crate) struct Sessions {
    pub(crate) store: Redis,
    pub(super) limits: Limits,
    wait: Duration,
}

impl Sessions {
    pub(crate) fn new(config: &Config) -> Self {
        Sessions { store: Redis::new(config), limits: config.limits, wait: config.store_wait }
    }

    /// Asks the store again while it cannot be reached.
    pub(crate) async fn patiently<T>(&self, ask: impl AsyncFn() -> Result<T, StoreError>) -> Result<T, StoreError> {
        patiently(self.wait, ask).await
    }

    /// The job of a stream. One that nobody has written to for too long ends here: there is nobody else to find it.
    pub(crate) async fn job(&self, stream: &StreamId) -> Result<Option<Job>, Failure> {
        let Some(row) = self.patiently(async || self.store.row(stream).await).await? else { return Ok(None) };
        if !self.is_overdue(&row) {
            return Ok(Some(row.job));
        }
        // Boxed: it opens a session, which asks for the job.
        Box::pin(self.time_out(stream)).await?;
        Ok(self.patiently(async || self.store.row(stream).await).await?.map(|row| row.job))
    }

    fn is_overdue(&self, row: &Row) -> bool {
        !row.job.status.is_terminal() && self.store.due_ms(row) <= now_ms()
    }

    pub(crate) async fn create(
        &self,
        stream: &StreamId,
        idempotency_key: Option<&str>,
        request: &str,
    ) -> Result<(bool, Job), Failure> {
        let create = |session: &Session| session.create(None, idempotency_key, request);
        self.run(&mut None, stream, Needs::Row, create, |effect, done| Ok((effect == Effect::Pending, done.job()?)))
            .await
    }

    pub(crate) async fn push(
        &self,
        place: &mut Place,
        stream: &StreamId,
        generation: Option<u64>,
        framing: Framing,
        text: &str,
        producer: Option<&Producer>,
    ) -> Result<Pushed, Failure> {
        let push = |session: &Session| session.push(generation, framing, text, producer);
        let pushed = self.run(place, stream, Needs::Content, push, |pushed, _| Ok(pushed)).await?;
        Ok(Pushed {
            appended: pushed.appended.into(),
            duplicate: pushed.duplicate.into(),
            first: pushed.first.map(Cursor::from),
            last: pushed.last.map(Cursor::from),
            stopped: pushed.stopped.map(|stopped| (stopped.line, stopped.reason)),
        })
    }

    /// The index that a new run step may take.
    pub(crate) async fn next_index(&self, place: &mut Place, stream: &StreamId) -> Result<u64, Failure> {
        self.run(place, stream, Needs::Content, |session| Ok(session.next_index()), |index, _| Ok(index)).await
    }

    pub(crate) async fn update(&self, stream: &StreamId, fields: &str) -> Result<Job, Failure> {
        self.command(stream, |session| session.update(fields)).await
    }

    pub(crate) async fn complete(
        &self,
        stream: &StreamId,
        generation: Option<u64>,
        final_event: Option<&str>,
    ) -> Result<Job, Failure> {
        self.command(stream, |session| session.complete(generation, final_event)).await
    }

    pub(crate) async fn fail(&self, stream: &StreamId, generation: Option<u64>, reason: &str) -> Result<Job, Failure> {
        self.command(stream, |session| session.fail(generation, reason)).await
    }

    pub(crate) async fn pause(&self, stream: &StreamId, generation: Option<u64>, action: &str) -> Result<Job, Failure> {
        self.command(stream, |session| session.pause(generation, action)).await
    }

    pub(crate) async fn resolve(
        &self,
        stream: &StreamId,
        generation: Option<u64>,
        action_id: &str,
        decision: &str,
    ) -> Result<Job, Failure> {
        self.command(stream, |session| session.resolve(generation, action_id, decision)).await
    }

    pub(crate) async fn abort(&self, stream: &StreamId, generation: Option<u64>) -> Result<Aborted, Failure> {
        let abort = |session: &Session| session.abort(generation);
        self.run(&mut None, stream, Needs::Content, abort, |_, done| {
            let last = done.entry.and_then(|entry| entry.records().last());
            Ok(Aborted {
                job: done.job()?,
                content: done.session.content()?,
                text: done.session.text()?,
                final_event: last.map_or("null".into(), |(_, _, line)| String::from_utf8_lossy(line).into_owned()),
            })
        })
        .await
    }

    pub(crate) async fn content(&self, stream: &StreamId) -> Result<Content, Failure> {
        self.run(
            &mut None,
            stream,
            Needs::Content,
            |_| Ok(()),
            |(), done| Ok(Content { job: done.job()?, at: done.session.head().into(), parts: done.session.content()? }),
        )
        .await
    }

    pub(crate) async fn snapshot(&self, stream: &StreamId) -> Result<Snapshot, Failure> {
        self.run(
            &mut None,
            stream,
            Needs::Content,
            |_| Ok(()),
            |(), done| {
                let snapshot = done.session.resume_state()?;
                Ok(Snapshot { at: snapshot.at.into(), state: snapshot.state })
            },
        )
        .await
    }

    async fn time_out(&self, stream: &StreamId) -> Result<(), Failure> {
        match self.run(&mut None, stream, Needs::Overdue, Session::time_out, |_, _| Ok(())).await {
            // Somebody else was first.
            Err(Failure::Refused(_)) => Ok(()),
            result => result,
        }
    }

    async fn command(
        &self,
        stream: &StreamId,
        command: impl Fn(&Session) -> Result<Effect, Refusal>,
    ) -> Result<Job, Failure> {
        self.run(&mut None, stream, Needs::Content, command, |_, done| done.job()).await
    }

    /// Runs `command`; when the store has accepted what it asked for, `after` looks at the result.
    async fn run<T, U>(
        &self,
        place: &mut Place,
        stream: &StreamId,
        needs: Needs,
        command: impl Fn(&Session) -> Result<T, Refusal>,
        after: impl FnOnce(T, Done<'_>) -> Result<U, Failure>,
    ) -> Result<U, Failure> {
        for _ in 0..ATTEMPTS {
            let (mut live, fresh) = match place.take() {
                Some(live) => (live, false),
                None => (self.opened(stream, needs).await?, true),
            };
            let (value, calls) = asked(|| command(&live.session));
            let Some(write) = write_of(&live, calls) else {
                // Only what is written is fenced by the store: what a session of an earlier batch says must be looked at.
                if !fresh && !self.agrees(stream, &live).await? {
                    continue;
                }
                let result = after(value?, Done { session: &live.session, entry: None });
                *place = Some(live);
                return result;
            };
            let value = value?;
            match self.write(stream, &live, &write).await? {
                Written::Accepted => {}
                Written::Ahead if !fresh => {
                    let why =
                        "it has forgotten records of this request: send it again, with Producer-Id and Producer-Seq";
                    return Err(StoreError::Unavailable(why.to_owned()).into());
                }
                Written::Behind | Written::Ahead => continue,
                // The job was replaced or ended behind its back: look again.
                _ if !fresh || matches!(write, Write::Create { .. }) => continue,
                other => return Err(refusal(&other).into()),
            }
            let (ticket, entry) = live.accepted(&write);
            let (settled, told) = asked(|| live.session.settle(ticket, &Outcome::Accepted));
            settled?;
            let result = after(value, Done { session: &live.session, entry: entry.as_ref() });
            self.tell(stream, told).await;
            *place = Some(live);
            return result;
        }
        Err(Failure::Contended)
    }

    /// Whether the store stands where the session does.
    async fn agrees(&self, stream: &StreamId, live: &Live) -> Result<bool, Failure> {
        let row = self.patiently(async || self.store.row(stream).await).await?;
        let known = Cursor::from(live.session.head());
        Ok(row.is_some_and(|row| row.job.cursor() == known && row.job.revision == live.revision))
    }

    pub(super) async fn write(&self, stream: &StreamId, live: &Live, write: &Write) -> Result<Written, Failure> {
        let written = self.patiently(async || match write {
            Write::Create { ticket, previous, job } => {
                let ticket = Ticket { session: live.id, number: *ticket };
                self.store.create(stream, ticket, *previous, job).await
            }
            Write::Append { append, .. } => self.store.append(stream, append).await,
        });
        let written = written.await?;
        if written == Written::Accepted {
            wake::written(stream);
        }
        Ok(written)
    }

    /// What else it asked for. Losing it costs time, never data.
    pub(super) async fn tell(&self, stream: &StreamId, told: Vec<Call>) {
        for call in told {
            let _ = match call {
                Call::Checkpoint(kept) => self.store.put_checkpoint(stream, kept.at.into(), kept.state).await,
                Call::Resolved(resolved) => self.store.resolved(stream, resolved.generation, &resolved.answer).await,
                Call::Create(_) | Call::Append(_) => Ok(()),
            };
        }
    }
}

impl Live {
    /// The ticket to settle, and what was written.
    pub(super) fn accepted(&mut self, write: &Write) -> (u64, Option<Entry>) {
        match write {
            Write::Create { ticket, .. } => {
                self.revision = 1;
                (*ticket, None)
            }
            Write::Append { ticket, append } => {
                self.revision += 1;
                (*ticket, append.entry.clone())
            }
        }
    }
}

/// What `call` answers, and what the core asked for meanwhile. Nothing is awaited in here: the calls are written down
/// without the stream, and other requests of this instance have sessions of other ones.
pub(super) fn asked<T>(call: impl FnOnce() -> T) -> (T, Vec<Call>) {
    // What opening and replaying have left behind belongs to nobody.
    drop(calls::take());
    let answer = call();
    (answer, calls::take())
}

/// What one command asked the store for.
pub(super) fn write_of(live: &Live, calls: Vec<Call>) -> Option<Write> {
    calls.into_iter().find_map(|call| match call {
        Call::Create(create) => {
            Some(Write::Create { ticket: create.ticket, previous: create.previous, job: convert::job(create.job) })
        }
        Call::Append(append) => {
            let first = Cursor::from(append.first);
            let entry = convert::pack(first, &append.records);
            let change = append.change;
            let append_to = Append {
                ticket: Ticket { session: live.id, number: append.ticket },
                first,
                entry,
                expected_status: change.expected_status.into(),
                expected_revision: live.revision,
                status: change.status.map(Into::into),
                fields: convert::fields(change.fields),
            };
            Some(Write::Append { ticket: append.ticket, append: append_to })
        }
        Call::Checkpoint(_) | Call::Resolved(_) => None,
    })
}

fn refusal(written: &Written) -> Refusal {
    match written {
        Written::NotFound => Refusal::NotFound,
        Written::GenerationReplaced(current) => Refusal::GenerationReplaced(*current),
        Written::NotActive(status) => Refusal::NotActive((*status).into()),
        Written::Accepted | Written::Behind | Written::Ahead => Refusal::Lost,
    }
}
