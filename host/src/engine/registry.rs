//! The sessions that are open, and the way of every command: find or open, call, write, settle, tell.
//!
//! A session is a cache of the log. It is opened from checkpoint and log, used under its own lock, dropped after some
//! seconds without work, and thrown away whenever the store disagrees with it or the component traps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::bindings::rejoin::streams::sse::ProducerSignal;
use super::bindings::rejoin::streams::types::{Limits, Refusal};
use super::imports::{Asked, What, Write};
use super::instance::Live;
use super::runtime::Runtime;
use super::{Failure, convert};
use crate::sse::{Hub, Signal};
use crate::store::{Append, Page, Store, Ticket, Written};
use crate::types::{Entry, Job, StreamId, now_ms};

/// Bytes of log that one replay call takes.
const REPLAY_BYTES: usize = 256 * 1024;
/// How often a command starts over because another producer appended in between.
const ATTEMPTS: u32 = 8;

/// Bounds of sessions, and of what they hold.
#[derive(Clone, Debug)]
pub struct SessionsConfig {
    /// Sessions open at a time.
    pub sessions_max: usize,
    /// A session without work for this long is dropped.
    pub idle: Duration,
    /// Bytes of one record.
    pub record_bytes_max: u64,
    /// Records of one generation.
    pub records_max: u64,
    /// Bytes of one generation.
    pub log_bytes_max: u64,
    /// A running job without an append for this long is timed out.
    pub job_idle: Duration,
    /// The same for a job that waits for a person.
    pub paused_idle: Duration,
}

/// All sessions of this host.
pub struct Sessions {
    runtime: Arc<Runtime>,
    store: Arc<dyn Store>,
    hub: Arc<Hub>,
    config: SessionsConfig,
    slots: DashMap<StreamId, Arc<Slot>>,
    opened: AtomicU64,
    started: Instant,
}

/// The place of one stream's session.
struct Slot {
    live: Mutex<Option<Live>>,
    /// Held by a provider's body from the question where its steps go on until they are in the log.
    turn: Arc<Mutex<()>>,
    /// Milliseconds after the start of the host.
    used_ms: AtomicU64,
}

/// What a command must find in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// The job, and everything that the log has made.
    Content,
    /// The job alone: a stream whose content cannot be opened any more can still be replaced.
    Row,
}

/// What an accepted command leaves to look at.
pub(super) struct Done<'a> {
    pub live: &'a mut Live,
    /// The records that were written, if any.
    pub entry: Option<&'a Entry>,
}

impl Sessions {
    /// No session is open yet.
    pub fn new(runtime: Arc<Runtime>, store: Arc<dyn Store>, hub: Arc<Hub>, config: SessionsConfig) -> Self {
        Sessions {
            runtime,
            store,
            hub,
            config,
            slots: DashMap::new(),
            // Tickets of this process must differ from those of every other one and of earlier ones.
            opened: AtomicU64::new(std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), now_ms())),
            started: Instant::now(),
        }
    }

    /// Sessions open now.
    pub fn open(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Drops sessions without work. Called by the host's sweeper.
    pub fn drop_idle(&self) {
        self.drop_unused(self.config.idle);
    }

    fn drop_unused(&self, idle: Duration) {
        let now = self.now();
        let idle = millis(idle);
        // The map's own lock is held here, so nobody can get hold of a slot that is about to go.
        self.slots.retain(|_, slot| {
            Arc::strong_count(slot) > 1
                || Arc::strong_count(&slot.turn) > 1
                || now.saturating_sub(slot.used_ms.load(Ordering::Relaxed)) < idle
        });
    }

    /// Forgets the session of a stream that was removed from the store.
    pub fn forget(&self, stream: &StreamId) {
        self.slots.remove(stream);
    }

    fn now(&self) -> u64 {
        millis(self.started.elapsed())
    }

    fn slot(&self, stream: &StreamId) -> Result<Arc<Slot>, Failure> {
        if let Some(slot) = self.slots.get(stream) {
            slot.used_ms.store(self.now(), Ordering::Relaxed);
            return Ok(slot.clone());
        }
        if self.slots.len() >= self.config.sessions_max {
            self.drop_unused(Duration::from_millis(100));
            if self.slots.len() >= self.config.sessions_max {
                return Err(Failure::Overloaded);
            }
        }
        let fresh =
            || Arc::new(Slot { live: Mutex::new(None), turn: Arc::default(), used_ms: AtomicU64::new(self.now()) });
        Ok(self.slots.entry(stream.clone()).or_insert_with(fresh).clone())
    }

    /// One body at a time: what [`Sessions::next_index`] says holds until this is dropped, on this host.
    pub async fn turn(&self, stream: &StreamId) -> Result<OwnedMutexGuard<()>, Failure> {
        let turn = self.slot(stream)?.turn.clone();
        Ok(turn.lock_owned().await)
    }

    /// Runs `command`; when the store has accepted what it asked for, `after` looks at the result.
    ///
    /// `command` is repeated on a freshly opened session when the store says that the present one is behind.
    /// Whoever drops this future in the middle drops the session with it; the log remains the truth, and a wake makes
    /// subscribers look there.
    pub(super) async fn run<T, U>(
        &self,
        stream: &StreamId,
        needs: Needs,
        command: impl Fn(&mut Live) -> Result<T, Failure>,
        after: impl FnOnce(T, Done<'_>) -> Result<U, Failure>,
    ) -> Result<U, Failure> {
        let slot = self.slot(stream)?;
        let mut place = slot.live.lock().await;
        for _ in 0..ATTEMPTS {
            // A session that was opened without its content is good for this command only.
            let present = self.unless_forgotten(stream, place.take()).await?;
            let (mut live, mut whole) = match (present, needs) {
                (Some(live), _) => (live, true),
                (None, Needs::Content) => (self.open_session(stream).await?, true),
                (None, Needs::Row) => (self.new_live(stream, self.store.job(stream).await?, None)?, false),
            };
            let value = match command(&mut live) {
                Ok(value) => value,
                Err(Failure::Refused(refusal)) => {
                    *place = Some(live).filter(|_| whole);
                    return Err(Failure::Refused(refusal));
                }
                Err(failure) => return Err(self.after_trap(stream, live, failure).await),
            };
            let mut entry = None;
            if let Some(write) = live.take_asked().write {
                let WriteDone { written, records } = self.write(stream, live.id, &write).await?;
                match written {
                    Written::Accepted => {}
                    Written::Behind(_) => continue,
                    // The job that this session knew was removed or replaced behind its back: look again.
                    _ if matches!(write.what, What::Create { .. }) => continue,
                    other => {
                        let refusal = convert::refusal(other).unwrap_or(Refusal::Lost);
                        return Err(Failure::Refused(refusal));
                    }
                }
                entry = records;
                // A new generation is empty: there is nothing to replay.
                whole |= matches!(write.what, What::Create { .. });
                if let Err(failure) = live.settle(write.ticket, None) {
                    // It is in the log, whatever the component makes of it: readers hear of it, and whoever asked gets
                    // the answer where it can still be had.
                    let publish = Asked { publish: true, ..Asked::default() };
                    self.tell(stream, &write.what, entry.as_ref(), &publish);
                    let result = after(value, Done { live: &mut live, entry: entry.as_ref() });
                    let failure = self.after_trap(stream, live, failure).await;
                    return result.map_err(|_| failure);
                }
                match &write.what {
                    What::Create { .. } => live.ended = None,
                    What::Append { first, status: Some(status), .. } if status.is_terminal() => {
                        live.ended = Some(first.generation);
                    }
                    What::Append { .. } => {}
                }
                let asked = live.take_asked();
                self.tell(stream, &write.what, entry.as_ref(), &asked);
                if let Some((at, state)) = asked.checkpoint
                    && let Err(error) = self.store.put_checkpoint(stream, at, state).await
                {
                    // Costs the next opening some replay, nothing else.
                    tracing::warn!(%stream, %error, "checkpoint not written");
                }
            }
            let result = after(value, Done { live: &mut live, entry: entry.as_ref() });
            if whole && matches!(result, Ok(_) | Err(Failure::Refused(_))) {
                *place = Some(live);
            }
            return result;
        }
        Err(Failure::Contended)
    }

    /// The session, unless its generation has ended and the store has forgotten or replaced it since.
    async fn unless_forgotten(&self, stream: &StreamId, live: Option<Live>) -> Result<Option<Live>, Failure> {
        let Some(generation) = live.as_ref().and_then(|live| live.ended) else { return Ok(live) };
        let job = self.store.job(stream).await?;
        Ok(live.filter(|_| job.is_some_and(|job| job.generation == generation)))
    }

    /// Opens the session of a stream from its job, checkpoint and the log after it.
    async fn open_session(&self, stream: &StreamId) -> Result<Live, Failure> {
        let job = self.store.job(stream).await?;
        let Some(generation) = job.as_ref().map(|job| job.generation) else { return self.new_live(stream, None, None) };
        let checkpoint = self.store.checkpoint(stream, generation).await?.map(|(_, state)| state);
        let opened = match self.new_live(stream, job, checkpoint.as_deref()) {
            Ok(live) => self.catch_up(stream, live).await,
            Err(failure) => Err(failure),
        };
        match opened {
            Err(failure @ (Failure::Trapped(_) | Failure::LimitExceeded(_))) => {
                // The generation cannot be opened any more. Its readers must hear of it.
                let reason =
                    if matches!(failure, Failure::Trapped(_)) { "component trapped" } else { "limit exceeded" };
                self.end_unopened(stream, reason).await?;
                Err(failure)
            }
            other => other,
        }
    }

    fn new_live(&self, stream: &StreamId, job: Option<Job>, checkpoint: Option<&str>) -> Result<Live, Failure> {
        let id = self.opened.fetch_add(1, Ordering::Relaxed);
        let limits = Limits {
            record_bytes_max: self.config.record_bytes_max,
            records_max: self.config.records_max,
            log_bytes_max: self.config.log_bytes_max,
            idle_ms: millis(self.config.job_idle),
            paused_idle_ms: millis(self.config.paused_idle),
        };
        Live::open(&self.runtime, id, stream, job, checkpoint, limits)
    }

    /// Replays the log after the session's position.
    async fn catch_up(&self, stream: &StreamId, mut live: Live) -> Result<Live, Failure> {
        let mut at = live.head()?;
        loop {
            let entries = match self.store.read(stream, at, REPLAY_BYTES).await? {
                Page::Entries(entries) if entries.is_empty() => return Ok(live),
                Page::Entries(entries) => entries,
                // Replaced or removed just now: the session is behind, and the store will say so.
                Page::Reset(_) | Page::Gone => return Ok(live),
            };
            let mut lines = Vec::with_capacity(REPLAY_BYTES);
            for (cursor, _, line) in entries.iter().flat_map(Entry::records) {
                if cursor.sequence > at.sequence {
                    lines.extend_from_slice(line);
                    lines.push(b'\n');
                    at = cursor;
                }
            }
            live.replay(&String::from_utf8_lossy(&lines))?;
        }
    }

    /// Carries a write out.
    async fn write(&self, stream: &StreamId, session: u64, write: &Write) -> Result<WriteDone, Failure> {
        let ticket = Ticket { session, number: write.ticket };
        // Dropped while the store works: what is in the log then must still be found by those who wait.
        let wake = WakeOnDrop { hub: &self.hub, stream, armed: true };
        let (written, records) = match &write.what {
            What::Create { previous, job } => (self.store.create(stream, ticket, *previous, job.clone()).await?, None),
            What::Append { first, entry, expected_status, status, fields } => {
                let append = Append {
                    ticket,
                    first: *first,
                    entry: entry.clone(),
                    expected_status: *expected_status,
                    status: *status,
                    fields: fields.clone(),
                    now_ms: now_ms(),
                };
                (self.store.append(stream, append).await?, entry.clone())
            }
        };
        wake.disarm();
        Ok(WriteDone { written, records })
    }

    /// Tells subscribers and producers what was accepted.
    fn tell(&self, stream: &StreamId, what: &What, entry: Option<&Entry>, asked: &Asked) {
        // Signals first: the end of a job, once published, ends the listeners.
        for (generation, signal) in &asked.signals {
            let signal = match signal {
                ProducerSignal::Abort => Signal::Abort,
                ProducerSignal::Replaced(by) => Signal::Replaced(*by),
                ProducerSignal::Resolved(data) => Signal::Resolved(data.clone()),
            };
            self.hub.signal(stream, *generation, signal);
        }
        if asked.publish {
            match (what, entry) {
                (What::Create { job, .. }, _) => self.hub.generation(stream, job.generation),
                (_, Some(entry)) => self.hub.publish(stream, entry),
                _ => self.hub.wake(stream),
            }
        }
    }

    /// A call did not return. A trap costs the batch that did it; a limit costs the generation.
    async fn after_trap(&self, stream: &StreamId, live: Live, failure: Failure) -> Failure {
        drop(live);
        tracing::error!(%stream, error = %failure, "component call failed");
        if matches!(failure, Failure::LimitExceeded(_))
            && let Err(error) = self.end_unopened(stream, "limit exceeded").await
        {
            tracing::error!(%stream, %error, "generation not ended");
        }
        failure
    }

    /// Ends a generation without opening its content, because the content is what cannot be opened.
    async fn end_unopened(&self, stream: &StreamId, reason: &str) -> Result<(), Failure> {
        for _ in 0..ATTEMPTS {
            let Some(job) = self.store.job(stream).await?.filter(|job| !job.status.is_terminal()) else {
                return Ok(());
            };
            let mut live = self.new_live(stream, Some(job), None)?;
            live.fail(None, reason)?;
            let Some(write) = live.take_asked().write else { return Ok(()) };
            let WriteDone { written, records } = self.write(stream, live.id, &write).await?;
            if written == Written::Accepted {
                live.settle(write.ticket, None)?;
                self.tell(stream, &write.what, records.as_ref(), &live.take_asked());
                return Ok(());
            }
        }
        Err(Failure::Contended)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

struct WriteDone {
    written: Written,
    records: Option<Entry>,
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
