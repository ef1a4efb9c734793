//! The sessions that are open: which there are, for how long, and how many.
//!
//! A session is a cache of the log. It is opened from checkpoint and log (`open`), used under its own lock (`run`),
//! dropped after some seconds without work, and thrown away whenever the store disagrees with it or the component traps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};

use super::Failure;
use super::checkpoints::Checkpoints;
use super::instance::Live;
use super::runtime::Runtime;
use super::standing::Standing;
use super::translator::TRANSLATORS_MAX;
use crate::metrics::EngineMeter;
use crate::sse::Hub;
use crate::store::{Head, Patience, Store, StoreError};
use crate::types::{StreamId, now_ms};

/// Milliseconds for which the name of a generation may be ahead of the clock: that of another host, or one set back since.
const NAME_WAITS_MAX: usize = 20;
/// Sessions that are compared with the store at once.
const CONFIRMED_AT_ONCE: usize = 256;
/// With no place left, a session that has had no work for this long makes room.
const PRESSED_IDLE: Duration = Duration::from_millis(100);

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
    /// How long a command waits for a store that cannot be reached.
    pub store_wait: Duration,
}

/// All sessions of this host.
pub struct Sessions {
    runtime: Arc<Runtime>,
    pub(super) store: Arc<dyn Store>,
    pub(super) hub: Arc<Hub>,
    pub(super) config: SessionsConfig,
    pub(super) checkpoints: Checkpoints,
    slots: DashMap<StreamId, Arc<Slot>>,
    opened: AtomicU64,
    pub(super) translators: Arc<Semaphore>,
    started: Instant,
}

/// The place of one stream's session.
pub(super) struct Slot {
    pub(super) live: Mutex<Option<Live>>,
    /// Held by a provider's body from the question where its steps go on until they are in the log.
    turn: Arc<Mutex<()>>,
    /// Milliseconds after the start of the host.
    used_ms: AtomicU64,
}

impl Sessions {
    /// No session is open yet.
    pub fn new(runtime: Arc<Runtime>, store: Arc<dyn Store>, hub: Arc<Hub>, config: SessionsConfig) -> Self {
        Sessions {
            runtime,
            store,
            hub,
            config,
            checkpoints: Checkpoints::default(),
            slots: DashMap::new(),
            // Tickets of this process must differ from those of every other one and of earlier ones, where both could
            // stand at the same place of one log: 36 random bits are plenty, and short in every entry.
            opened: AtomicU64::new(std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), now_ms()) >> 28),
            translators: Arc::new(Semaphore::new(TRANSLATORS_MAX as usize)),
            started: Instant::now(),
        }
    }

    /// Sessions open now.
    pub fn open(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn meter(&self) -> &EngineMeter {
        self.runtime.meter()
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Keeps checkpoints until `ended` resolves: a task of the host's.
    pub async fn keep_checkpoints(&self, ended: impl Future<Output = ()>) {
        self.checkpoints.keep(&*self.store, ended).await;
    }

    /// Drops sessions without work. Called by the host's sweeper.
    ///
    /// A store with replicas of its own may forget what it acknowledged when one of them takes over. As long as the
    /// session lives it can give that back, so it is dropped only when the store still has it all.
    pub async fn drop_idle(&self) {
        if self.store.wakes().is_some() {
            let idle = self.slots.iter().filter(|slot| self.is_unused(slot, self.config.idle) && slot.is_unconfirmed());
            if !self.confirm_some(idle.map(|slot| slot.key().clone()).collect()).await {
                return;
            }
        }
        self.drop_unused(self.config.idle, true);
    }

    /// Compares all sessions that have written with the store, and gives back what it has forgotten.
    pub async fn confirm_all(&self) {
        let written = self.slots.iter().filter(|slot| slot.is_unconfirmed());
        self.confirm_some(written.map(|slot| slot.key().clone()).collect()).await;
    }

    async fn confirm_some(&self, streams: Vec<StreamId>) -> bool {
        for streams in streams.chunks(CONFIRMED_AT_ONCE) {
            if let Err(error) = self.confirm(streams).await {
                tracing::warn!(%error, "sessions are kept until the store can be asked");
                return false;
            }
        }
        true
    }

    async fn confirm(&self, streams: &[StreamId]) -> Result<(), Failure> {
        let heads = self.store.heads(streams).await?;
        for (stream, head) in streams.iter().zip(heads) {
            let Some(slot) = self.slots.get(stream).map(|slot| slot.clone()) else { continue };
            let mut place = slot.live.lock().await;
            let Some(live) = place.as_mut() else { continue };
            match self.compare(stream, live, head).await {
                Ok(Standing::Current) => live.unconfirmed = false,
                Ok(Standing::Behind | Standing::Ahead) => *place = None,
                Err(failure @ Failure::Store(StoreError::Unavailable(_))) => return Err(failure),
                // What only it knows is kept with it. The others are looked at, or none would ever be dropped.
                Err(Failure::Store(error)) => {
                    tracing::warn!(%stream, %error, "session kept: the store does not take it")
                }
                // Its instance is dead, and would be each time.
                Err(failure) => {
                    *place = None;
                    self.after_trap(stream, failure).await;
                }
            }
        }
        Ok(())
    }

    /// How a session stands to the store. One that is ahead has given back what it knows.
    async fn compare(&self, stream: &StreamId, live: &mut Live, head: Option<Head>) -> Result<Standing, Failure> {
        let mut standing = live.standing(head)?;
        if standing != Standing::Current {
            // It may have written since the store was asked.
            let now = self.store.heads(std::slice::from_ref(stream)).await?;
            standing = live.standing(now.first().copied().flatten())?;
        }
        if standing == Standing::Ahead {
            self.rescue(stream, live, None, self.patience()).await?;
        }
        Ok(standing)
    }

    fn is_unused(&self, slot: &Arc<Slot>, idle: Duration) -> bool {
        let free = Arc::strong_count(slot) == 1 && Arc::strong_count(&slot.turn) == 1;
        free && self.now().saturating_sub(slot.used_ms.load(Ordering::Relaxed)) >= millis(idle)
    }

    fn drop_unused(&self, idle: Duration, confirmed_only: bool) {
        let keeps = confirmed_only && self.store.wakes().is_some();
        // The map's own lock is held here, so nobody can get hold of a slot that is about to go.
        self.slots.retain(|_, slot| !self.is_unused(slot, idle) || (keeps && slot.is_unconfirmed()));
    }

    /// Removes a generation from the store: whether it was there.
    ///
    /// Not in the millisecond that it is named after: a stream that is made anew in the same one would have its name, and
    /// cursors of one would be taken for those of the other.
    pub async fn remove(&self, stream: &StreamId, generation: u64) -> Result<bool, StoreError> {
        for _ in 0..NAME_WAITS_MAX {
            if now_ms() > generation {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.patience().ask(|| self.store.remove(stream, generation)).await
    }

    /// Forgets the session of a stream that was removed from the store.
    pub fn forget(&self, stream: &StreamId) {
        self.slots.remove(stream);
    }

    fn now(&self) -> u64 {
        millis(self.started.elapsed())
    }

    pub(super) fn patience(&self) -> Patience {
        Patience::new(self.config.store_wait)
    }

    /// A number for a session that no other has, in all replicas.
    pub(super) fn session_id(&self) -> u64 {
        self.opened.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn slot(&self, stream: &StreamId) -> Result<Arc<Slot>, Failure> {
        if let Some(slot) = self.slots.get(stream) {
            slot.used_ms.store(self.now(), Ordering::Relaxed);
            return Ok(slot.clone());
        }
        if self.slots.len() >= self.config.sessions_max {
            self.drop_unused(PRESSED_IDLE, false);
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
        Ok(self.patience().wait(turn.lock_owned()).await?)
    }
}

impl Slot {
    /// Whether the store must be asked before its session may go.
    fn is_unconfirmed(&self) -> bool {
        self.live.try_lock().is_ok_and(|live| live.as_ref().is_some_and(|live| live.unconfirmed))
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
