//! The embedded store: everything in this process, nothing on disk. Each method does its work before it returns; the
//! future it gives is finished.
//!
//! Locks, in the order in which they may be taken: shard, stream, index. A shard finds a stream and is let go, unless
//! the stream itself comes or goes; only then it is held while the stream is. An append of records takes no index
//! lock; a list takes the index and the streams one after the other, never both. Tickets have a lock of their own, taken alone.

mod groups;
mod index;
mod room;
mod stream;
#[cfg(test)]
mod tests;
mod tickets;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::store::{Append, Head, NewTicket, Page, Query, Rescue, Store, StoreError, Ticket, Wakes, Written};
use crate::types::{self, Cursor, Job, StreamId};

use index::Index;
use room::{Need, Room};
use stream::{Lifetimes, Stream};
use tickets::Tickets;

/// Enough that two busy streams rarely meet, few enough to cost nothing at rest.
const SHARDS: usize = 64;
/// Rows a list takes from the index at once, so that settling jobs wait for microseconds.
const LIST_STEP: usize = 1_000;
/// An idle job that its caller could not settle is named again after this.
const NAMED_AGAIN_MS: u64 = 1_000;

/// How long the store keeps what, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct MemoryConfig {
    /// A running job without an append for this long is named by `sweep`.
    pub idle: Duration,
    /// A job that waits for a person is named after this.
    pub idle_paused: Duration,
    /// A settled job is forgotten after this.
    pub retention: Duration,
    /// Bytes of rows, logs, checkpoints and groups together, overhead included. The last sixteenth is kept for writes that
    /// settle a job.
    pub bytes_max: u64,
    /// Active jobs.
    pub jobs_max: u64,
    /// Active jobs of one user.
    pub jobs_per_user_max: u64,
}

/// Tells Unix milliseconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// A stream behind its own lock; none once it was removed, for those who found it just before.
type Slot = Arc<Mutex<Option<Stream>>>;

/// Keeps streams in this process.
pub struct MemoryStore {
    lifetimes: Lifetimes,
    clock: Clock,
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<StreamId, Slot>>>,
    index: Mutex<Index>,
    tickets: Mutex<Tickets>,
    room: Room,
    jobs_max: u64,
    jobs_per_user_max: u64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(config: MemoryConfig) -> Self {
        Self::with_clock(config, Arc::new(types::now_ms))
    }

    /// An empty store with a clock of one's own. It is asked only where a method is given no time.
    pub fn with_clock(config: MemoryConfig, clock: Clock) -> Self {
        MemoryStore {
            lifetimes: Lifetimes::new(config.idle, config.idle_paused, config.retention),
            clock,
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            index: Mutex::default(),
            tickets: Mutex::default(),
            room: Room::new(config.bytes_max),
            jobs_max: config.jobs_max,
            jobs_per_user_max: config.jobs_per_user_max,
        }
    }

    /// Bytes in use, as they count against `bytes_max`.
    pub fn bytes_used(&self) -> u64 {
        self.room.bytes_used()
    }

    fn shard(&self, id: &StreamId) -> MutexGuard<'_, HashMap<StreamId, Slot>> {
        // The remainder is below 64.
        lock(&self.shards[self.hasher.hash_one(id) as usize % SHARDS])
    }

    /// Does something with a stream that is there and not past its retention.
    fn with<T>(&self, id: &StreamId, now_ms: u64, act: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        let slot = self.shard(id).get(id).cloned()?;
        let mut stream = lock(&slot);
        stream.as_mut().filter(|stream| !stream.is_expired(now_ms, self.lifetimes)).map(act)
    }

    fn with_now<T>(&self, id: &StreamId, act: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        self.with(id, (self.clock)(), act)
    }

    /// Puts the one deadline of a stream where it belongs now.
    fn schedule(&self, index: &mut Index, id: &StreamId, stream: &mut Stream) {
        let due_ms = stream.due_ms(self.lifetimes);
        index.move_deadline(id, Some(stream.deadline_ms), Some(due_ms));
        stream.deadline_ms = due_ms;
    }

    /// Gives the replaced stream back too: its log may be long, and is freed without a lock.
    fn replace(
        &self,
        id: &StreamId,
        ticket: Ticket,
        previous: u64,
        job: Job,
    ) -> Result<(Written, Option<Stream>), StoreError> {
        let now_ms = (self.clock)();
        let mut shard = self.shard(id);
        let slot = shard.get(id).cloned().unwrap_or_default();
        let mut place = lock(&slot);
        let alive = place.as_ref().filter(|stream| !stream.is_expired(now_ms, self.lifetimes));
        if alive.is_some_and(|stream| stream.is_from(ticket, job.generation)) {
            return Ok((Written::Accepted, None));
        }
        let current = alive.map_or(0, |stream| stream.job.generation);
        if current != previous {
            return Ok((Written::GenerationReplaced(current), None));
        }
        let takes_over = alive.is_some_and(|stream| !stream.job.status.is_terminal());
        let stream = Stream::new(id, ticket, job, self.lifetimes);
        let mut index = lock(&self.index);
        if !takes_over {
            self.admit(&index, &stream.job.user_id)?;
        }
        self.room.exchange(place.as_ref().map_or(0, |old| old.bytes), stream.bytes, Need::Usual)?;
        if let Some(old) = place.as_ref() {
            index.remove(id, &old.job);
        }
        index.insert(id, &stream.job);
        index.move_deadline(id, place.as_ref().map(|old| old.deadline_ms), Some(stream.deadline_ms));
        shard.entry(id.clone()).or_insert_with(|| Arc::clone(&slot));
        Ok((Written::Accepted, place.replace(stream)))
    }

    /// Whether there is a place for another active job of this user.
    fn admit(&self, index: &Index, user_id: &str) -> Result<(), StoreError> {
        let [running, paused, ..] = index.counts();
        if running + paused >= self.jobs_max {
            return Err(StoreError::TooManyJobs { whose: "this host", jobs_max: self.jobs_max });
        }
        if index.active_of(user_id) >= self.jobs_per_user_max {
            return Err(StoreError::TooManyJobs { whose: "this user", jobs_max: self.jobs_per_user_max });
        }
        Ok(())
    }

    fn append_now(&self, id: &StreamId, append: Append) -> Result<Written, StoreError> {
        let now_ms = append.now_ms;
        let write = |stream: &mut Stream| {
            if let Some(answer) = stream.answer(&append) {
                return Ok(answer);
            }
            let settles = append.status.is_some_and(|status| status.is_terminal());
            let need = if settles { Need::Settle } else { Need::Usual };
            self.room.exchange(stream.bytes, stream.bytes_after(&append), need)?;
            let before = stream.job.status;
            stream.write(append);
            if stream.job.status != before {
                let mut index = lock(&self.index);
                index.change_status(id, &stream.job, before);
                self.schedule(&mut index, id, stream);
            }
            Ok(Written::Accepted)
        };
        self.with(id, now_ms, write).unwrap_or(Ok(Written::NotFound))
    }

    fn put_checkpoint_now(&self, id: &StreamId, at: Cursor, state: String) -> Result<(), StoreError> {
        let put = |stream: &mut Stream| {
            if let Some(bytes) = stream.bytes_with_checkpoint(at, &state) {
                self.room.exchange(stream.bytes, bytes, Need::Usual)?;
                stream.put_checkpoint(at, state, bytes);
            }
            Ok(())
        };
        self.with_now(id, put).unwrap_or(Ok(()))
    }

    /// Takes a stream out, if it is as `wanted`. Its log may be long: it is given back to be freed without a lock.
    fn take(&self, id: &StreamId, wanted: impl FnOnce(&Stream) -> bool) -> Option<Stream> {
        let mut shard = self.shard(id);
        let slot = shard.get(id).cloned()?;
        let stream = lock(&slot).take_if(|stream| wanted(stream))?;
        shard.remove(id);
        let mut index = lock(&self.index);
        index.remove(id, &stream.job);
        index.move_deadline(id, Some(stream.deadline_ms), None);
        drop(index);
        // What shrinks is never refused.
        let _ = self.room.exchange(stream.bytes, 0, Need::Usual);
        Some(stream)
    }

    fn list_now(&self, query: Query) -> Vec<(StreamId, Job)> {
        let now_ms = (self.clock)();
        let Query { user_id, status, limit, mut after } = query;
        let mut rows = Vec::new();
        while rows.len() < limit {
            let step = LIST_STEP.min(limit - rows.len());
            let places = lock(&self.index).page(user_id.as_deref(), status, after.as_ref(), step);
            let Some(last) = places.last() else { break };
            after = Some(last.clone());
            for (created_ms, id) in places {
                // It may have changed since the index was let go.
                let fits = |job: &Job| {
                    let owner = user_id.as_ref().is_none_or(|user_id| *user_id == job.user_id);
                    owner && job.created_ms == created_ms && status.is_none_or(|status| status == job.status)
                };
                let job = self.with(&id, now_ms, |stream| fits(&stream.job).then(|| stream.job.clone()));
                rows.extend(job.flatten().map(|job| (id, job)));
            }
        }
        rows
    }

    /// Looks at a stream whose deadline was taken out of the index, and either puts the deadline back at its true place
    /// or forgets the stream. True when the stream is active and idle.
    fn visit(&self, id: &StreamId, deadline_ms: u64, now_ms: u64) -> bool {
        let Some(slot) = self.shard(id).get(id).cloned() else { return false };
        let mut place = lock(&slot);
        // Another deadline means that someone put a new one in meanwhile.
        let Some(stream) = place.as_mut().filter(|stream| stream.deadline_ms == deadline_ms) else { return false };
        if stream.is_expired(now_ms, self.lifetimes) {
            drop(place);
            self.take(id, |stream| stream.is_expired(now_ms, self.lifetimes));
            return false;
        }
        let due_ms = stream.due_ms(self.lifetimes);
        let idle = due_ms <= now_ms;
        stream.deadline_ms = if idle { now_ms.saturating_add(NAMED_AGAIN_MS) } else { due_ms };
        lock(&self.index).move_deadline(id, None, Some(stream.deadline_ms));
        idle
    }
}

impl Store for MemoryStore {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        done(Ok(()))
    }

    fn job<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Option<Job>, StoreError>> {
        done(Ok(self.with_now(stream, |stream| stream.job.clone())))
    }

    fn create<'a>(
        &'a self,
        stream: &'a StreamId,
        ticket: Ticket,
        previous: u64,
        job: Job,
    ) -> BoxFuture<'a, Result<Written, StoreError>> {
        done(self.replace(stream, ticket, previous, job).map(|(written, _)| written))
    }

    fn heads<'a>(&'a self, streams: &'a [StreamId]) -> BoxFuture<'a, Result<Vec<Option<Head>>, StoreError>> {
        let now_ms = (self.clock)();
        let head = |Job { generation, status, head, revision, .. }: &Job| {
            let cursor = Cursor { generation: *generation, sequence: *head };
            Head { cursor, status: *status, revision: *revision }
        };
        done(Ok(streams.iter().map(|id| self.with(id, now_ms, |stream| head(&stream.job))).collect()))
    }

    /// Never needed: this store forgets nothing.
    fn rescue<'a>(&'a self, _stream: &'a StreamId, _rescue: Rescue) -> BoxFuture<'a, Result<Written, StoreError>> {
        done(Ok(Written::NotFound))
    }

    fn append<'a>(&'a self, stream: &'a StreamId, append: Append) -> BoxFuture<'a, Result<Written, StoreError>> {
        done(self.append_now(stream, append))
    }

    fn put_checkpoint<'a>(
        &'a self,
        stream: &'a StreamId,
        at: Cursor,
        state: String,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        done(self.put_checkpoint_now(stream, at, state))
    }

    fn checkpoint<'a>(
        &'a self,
        stream: &'a StreamId,
        generation: u64,
    ) -> BoxFuture<'a, Result<Option<(Cursor, String)>, StoreError>> {
        done(Ok(self.with_now(stream, |stream| stream.checkpoint(generation)).flatten()))
    }

    fn read<'a>(
        &'a self,
        stream: &'a StreamId,
        after: Cursor,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        done(Ok(self.with_now(stream, |stream| stream.read(after, bytes_max)).unwrap_or(Page::Gone)))
    }

    fn remove<'a>(&'a self, stream: &'a StreamId, generation: u64) -> BoxFuture<'a, Result<bool, StoreError>> {
        let now_ms = (self.clock)();
        let removed = self.take(stream, |stream| stream.job.generation == generation);
        done(Ok(removed.is_some_and(|stream| !stream.is_expired(now_ms, self.lifetimes))))
    }

    fn expire_at<'a>(
        &'a self,
        stream: &'a StreamId,
        generation: u64,
        expires_ms: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let expire = |found: &mut Stream| {
            if found.job.generation == generation {
                found.expire_at(expires_ms);
                self.schedule(&mut lock(&self.index), stream, found);
            }
        };
        self.with_now(stream, expire);
        done(Ok(()))
    }

    fn list(&self, query: Query) -> BoxFuture<'_, Result<Vec<(StreamId, Job)>, StoreError>> {
        done(Ok(self.list_now(query)))
    }

    fn counts(&self) -> BoxFuture<'_, Result<[u64; 5], StoreError>> {
        done(Ok(lock(&self.index).counts()))
    }

    fn counts_of<'a>(&'a self, user_id: &'a str) -> BoxFuture<'a, Result<[u64; 5], StoreError>> {
        done(Ok(lock(&self.index).counts_of(user_id)))
    }

    fn put_ticket<'a>(
        &'a self,
        stream: &'a StreamId,
        hash: [u8; 32],
        subject: &'a str,
        expires_ms: u64,
    ) -> BoxFuture<'a, Result<NewTicket, StoreError>> {
        done(Ok(lock(&self.tickets).put(stream, hash, subject, expires_ms, (self.clock)())))
    }

    fn take_ticket<'a>(
        &'a self,
        stream: &'a StreamId,
        hash: [u8; 32],
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        done(Ok(lock(&self.tickets).take(stream, hash, (self.clock)())))
    }

    fn sweep(&self, now_ms: u64, limit: usize) -> BoxFuture<'_, Result<Vec<StreamId>, StoreError>> {
        lock(&self.tickets).sweep(now_ms);
        let due = lock(&self.index).take_due(now_ms, limit);
        let idle = due.into_iter().filter(|(deadline_ms, id)| self.visit(id, *deadline_ms, now_ms));
        done(Ok(idle.map(|(_, id)| id).collect()))
    }

    fn wakes(&self) -> Option<&dyn Wakes> {
        None
    }
}

/// A lock that a panic elsewhere does not close: every change under it is plain assignment after the checks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn done<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}
