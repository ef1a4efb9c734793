//! The way of every command. The server's `host/src/engine/{open,run}.rs` say why each step is as it is; here nothing
//! outlives the request, so there is no cache that could be ahead of the store.

use std::time::Duration;

use super::{Aborted, Content, Failure, Pushed, Refusal, Snapshot, convert};
use crate::bindings::rejoin::edge::calls::{self, Call};
use crate::bindings::rejoin::streams::session::{Effect, Framing, Outcome, Producer, Session};
use crate::bindings::rejoin::streams::types::Limits;
use crate::bindings::wasi::random::random::get_random_u64;
use crate::clock::now_ms;
use crate::config::Config;
use crate::store::{Append, Page, Redis, Row, StoreError, Ticket, Written, patiently};
use crate::types::{Cursor, Entry, Job, StreamId};

/// How often a command starts over because somebody else wrote in between.
const ATTEMPTS: u32 = 8;
/// Why a generation ended that cannot be opened.
const MISSING: &str = "records are missing from the log";
/// Bytes of log that one replay call takes.
const REPLAY_BYTES: usize = 256 * 1024;

/// A session and the row's revision that it knows.
pub(crate) struct Live {
    session: Session,
    id: u64,
    revision: u64,
}

/// Where a request keeps its session between the batches of one body.
pub(crate) type Place = Option<Live>;

/// What a command must find in its session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
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

enum Write {
    Create { ticket: u64, previous: u64, job: Job },
    Append { ticket: u64, append: Append },
}

/// Runs the commands of one request.
pub(crate) struct Sessions {
    pub(crate) store: Redis,
    limits: Limits,
    wait: Duration,
}

impl Sessions {
    pub(crate) fn new(config: &Config) -> Self {
        Sessions { store: Redis::new(config), limits: config.limits, wait: config.store_wait }
    }

    /// Asks the store again while it cannot be reached.
    pub(crate) fn patiently<T>(&self, ask: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
        patiently(self.wait, ask)
    }

    /// The job of a stream. One that nobody has written to for too long ends here: there is nobody else to find it.
    pub(crate) fn job(&self, stream: &StreamId) -> Result<Option<Job>, Failure> {
        let Some(row) = self.patiently(|| self.store.row(stream))? else { return Ok(None) };
        if !self.is_overdue(&row) {
            return Ok(Some(row.job));
        }
        self.time_out(stream)?;
        Ok(self.patiently(|| self.store.row(stream))?.map(|row| row.job))
    }

    fn is_overdue(&self, row: &Row) -> bool {
        !row.job.status.is_terminal() && self.store.due_ms(row) <= now_ms()
    }

    pub(crate) fn create(
        &self,
        stream: &StreamId,
        idempotency_key: Option<&str>,
        request: &str,
    ) -> Result<(bool, Job), Failure> {
        let create = |session: &Session| session.create(None, idempotency_key, request);
        self.run(&mut None, stream, Needs::Row, create, |effect, done| Ok((effect == Effect::Pending, done.job()?)))
    }

    pub(crate) fn push(
        &self,
        place: &mut Place,
        stream: &StreamId,
        generation: Option<u64>,
        framing: Framing,
        text: &str,
        producer: Option<&Producer>,
    ) -> Result<Pushed, Failure> {
        let push = |session: &Session| session.push(generation, framing, text, producer);
        let pushed = self.run(place, stream, Needs::Content, push, |pushed, _| Ok(pushed))?;
        Ok(Pushed {
            appended: pushed.appended.into(),
            duplicate: pushed.duplicate.into(),
            first: pushed.first.map(Cursor::from),
            last: pushed.last.map(Cursor::from),
            stopped: pushed.stopped.map(|stopped| (stopped.line, stopped.reason)),
        })
    }

    /// The index that a new run step may take.
    pub(crate) fn next_index(&self, place: &mut Place, stream: &StreamId) -> Result<u64, Failure> {
        self.run(place, stream, Needs::Content, |session| Ok(session.next_index()), |index, _| Ok(index))
    }

    pub(crate) fn update(&self, stream: &StreamId, fields: &str) -> Result<Job, Failure> {
        self.command(stream, |session| session.update(fields))
    }

    pub(crate) fn complete(
        &self,
        stream: &StreamId,
        generation: Option<u64>,
        final_event: Option<&str>,
    ) -> Result<Job, Failure> {
        self.command(stream, |session| session.complete(generation, final_event))
    }

    pub(crate) fn fail(&self, stream: &StreamId, generation: Option<u64>, reason: &str) -> Result<Job, Failure> {
        self.command(stream, |session| session.fail(generation, reason))
    }

    pub(crate) fn pause(&self, stream: &StreamId, generation: Option<u64>, action: &str) -> Result<Job, Failure> {
        self.command(stream, |session| session.pause(generation, action))
    }

    pub(crate) fn resolve(
        &self,
        stream: &StreamId,
        generation: Option<u64>,
        action_id: &str,
        decision: &str,
    ) -> Result<Job, Failure> {
        self.command(stream, |session| session.resolve(generation, action_id, decision))
    }

    pub(crate) fn abort(&self, stream: &StreamId, generation: Option<u64>) -> Result<Aborted, Failure> {
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
    }

    pub(crate) fn content(&self, stream: &StreamId) -> Result<Content, Failure> {
        self.run(
            &mut None,
            stream,
            Needs::Content,
            |_| Ok(()),
            |(), done| Ok(Content { job: done.job()?, at: done.session.head().into(), parts: done.session.content()? }),
        )
    }

    pub(crate) fn snapshot(&self, stream: &StreamId) -> Result<Snapshot, Failure> {
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
    }

    fn time_out(&self, stream: &StreamId) -> Result<(), Failure> {
        match self.run(&mut None, stream, Needs::Overdue, Session::time_out, |_, _| Ok(())) {
            // Somebody else was first.
            Err(Failure::Refused(_)) => Ok(()),
            result => result,
        }
    }

    fn command(
        &self,
        stream: &StreamId,
        command: impl Fn(&Session) -> Result<Effect, Refusal>,
    ) -> Result<Job, Failure> {
        self.run(&mut None, stream, Needs::Content, command, |_, done| done.job())
    }

    /// Runs `command`; when the store has accepted what it asked for, `after` looks at the result.
    fn run<T, U>(
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
                None => (self.opened(stream, needs)?, true),
            };
            let value = command(&live.session);
            let Some(write) = write_of(&live, calls::take()) else {
                // Only what is written is fenced by the store: what a session of an earlier batch says must be looked at.
                if !fresh && !self.agrees(stream, &live)? {
                    continue;
                }
                let result = after(value?, Done { session: &live.session, entry: None });
                *place = Some(live);
                return result;
            };
            let value = value?;
            match self.write(stream, &live, &write)? {
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
            live.session.settle(ticket, &Outcome::Accepted)?;
            let told = calls::take();
            let result = after(value, Done { session: &live.session, entry: entry.as_ref() });
            self.tell(stream, told);
            *place = Some(live);
            return result;
        }
        Err(Failure::Contended)
    }

    fn opened(&self, stream: &StreamId, needs: Needs) -> Result<Live, Failure> {
        match needs {
            Needs::Row => {
                let row = self.patiently(|| self.store.row(stream))?;
                Ok(self.live(stream, row.as_ref().map(|row| &row.job), None))
            }
            Needs::Content => self.open(stream, self.job(stream)?),
            Needs::Overdue => self.open(stream, self.patiently(|| self.store.row(stream))?.map(|row| row.job)),
        }
    }

    /// The session of a stream from its row, its checkpoint and the log after it, up to where the row says that it stands.
    fn open(&self, stream: &StreamId, mut known: Option<Job>) -> Result<Live, Failure> {
        for opening in 1..=ATTEMPTS {
            let Some(job) = &known else { return Ok(self.live(stream, None, None)) };
            let end = job.cursor();
            let kept = self.patiently(|| self.store.checkpoint(stream, end.generation))?;
            let is_newer = kept.as_ref().is_some_and(|(at, _)| at.sequence > end.sequence);
            if !is_newer || opening == ATTEMPTS {
                let state = kept.filter(|_| !is_newer).map(|(_, state)| state);
                let live = self.live(stream, Some(job), state.as_deref());
                if self.catch_up(stream, &live, end)? {
                    return Ok(live);
                }
            }
            known = self.patiently(|| self.store.row(stream))?.map(|row| row.job);
        }
        self.end_unopened(stream)?;
        Err(StoreError::Unavailable(MISSING.to_owned()).into())
    }

    /// Ends a generation whose content cannot be opened any more: nobody could write to it, or read it to its end.
    fn end_unopened(&self, stream: &StreamId) -> Result<(), Failure> {
        for _ in 0..ATTEMPTS {
            let row = self.patiently(|| self.store.row(stream))?;
            let Some(job) = row.map(|row| row.job).filter(|job| !job.status.is_terminal()) else { return Ok(()) };
            let mut live = self.live(stream, Some(&job), None);
            live.session.fail(None, MISSING)?;
            let Some(write) = write_of(&live, calls::take()) else { return Ok(()) };
            if self.write(stream, &live, &write)? == Written::Accepted {
                let (ticket, _) = live.accepted(&write);
                live.session.settle(ticket, &Outcome::Accepted)?;
                self.tell(stream, calls::take());
                return Ok(());
            }
        }
        Err(Failure::Contended)
    }

    fn live(&self, stream: &StreamId, job: Option<&Job>, checkpoint: Option<&str>) -> Live {
        let wit_job = job.map(convert::wit_job);
        let session = Session::open(stream.as_str(), wit_job.as_ref(), checkpoint, self.limits);
        // Half of the numbers: a script must be able to read it as text of base 36, and others count on from theirs.
        Live { session, id: get_random_u64() >> 1, revision: job.map_or(0, |job| job.revision) }
    }

    /// Replays the log after the session's position up to `end`. False when it has a hole.
    fn catch_up(&self, stream: &StreamId, live: &Live, end: Cursor) -> Result<bool, Failure> {
        let mut at = Cursor::from(live.session.head());
        while at.sequence < end.sequence {
            let entries = match self.patiently(|| self.store.read(stream, at, REPLAY_BYTES))? {
                Page::Entries(entries) if entries.is_empty() => return Ok(false),
                Page::Entries(entries) => entries,
                // Replaced or removed just now: the store says so when it is written to.
                Page::Reset(_) | Page::Gone => return Ok(true),
            };
            let mut lines = String::new();
            for (cursor, _, line) in entries.iter().flat_map(Entry::records) {
                if !(at.sequence + 1..=end.sequence).contains(&cursor.sequence) {
                    continue;
                }
                if cursor.sequence != at.sequence + 1 {
                    return Ok(false);
                }
                lines.push_str(&String::from_utf8_lossy(line));
                lines.push('\n');
                at = cursor;
            }
            live.session.replay(&lines)?;
        }
        Ok(true)
    }

    /// Whether the store stands where the session does.
    fn agrees(&self, stream: &StreamId, live: &Live) -> Result<bool, Failure> {
        let row = self.patiently(|| self.store.row(stream))?;
        let known = Cursor::from(live.session.head());
        Ok(row.is_some_and(|row| row.job.cursor() == known && row.job.revision == live.revision))
    }

    fn write(&self, stream: &StreamId, live: &Live, write: &Write) -> Result<Written, Failure> {
        Ok(self.patiently(|| match write {
            Write::Create { ticket, previous, job } => {
                self.store.create(stream, Ticket { session: live.id, number: *ticket }, *previous, job)
            }
            Write::Append { append, .. } => self.store.append(stream, append),
        })?)
    }

    /// What else it asked for. Losing it costs time, never data.
    fn tell(&self, stream: &StreamId, told: Vec<Call>) {
        for call in told {
            let _ = match call {
                Call::Checkpoint(kept) => self.store.put_checkpoint(stream, kept.at.into(), kept.state),
                Call::Resolved(resolved) => self.store.resolved(stream, resolved.generation, &resolved.answer),
                Call::Create(_) | Call::Append(_) => Ok(()),
            };
        }
    }
}

impl Live {
    /// The ticket to settle, and what was written.
    fn accepted(&mut self, write: &Write) -> (u64, Option<Entry>) {
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

/// What one command asked the store for.
fn write_of(live: &Live, calls: Vec<Call>) -> Option<Write> {
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
