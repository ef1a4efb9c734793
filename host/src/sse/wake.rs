//! What replicas that share a store hear of one another: one task for each host.
//!
//! | file | what it knows |
//! |---|---|
//! | `book` | the streams with readers or listeners here, and what is still to be done for each |
//! | `interest` | tells the store which streams to follow and which have readers here |
//! | `catch_up` | compares with the store, and reads what the hub lacks, once for all readers |
//! | `news` | what the store says |
//!
//! Law: a wake is a hint. Each followed stream that was silent for a second is compared with the store, so a lost wake
//! costs a second, never data. Whatever fails is done again after a pause; nothing here ends or spins.

mod book;
mod catch_up;
mod interest;
mod news;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::book::Book;
use super::hub::Hub;
use crate::metrics::WakeMeter;
use crate::store::wakes::PRESENCE_EVERY;
use crate::store::{Head, Page, Store, StoreError, Wakes};
use crate::types::{Cursor, StreamId};

/// How long a followed stream may be silent before it is compared with the store.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Streams in one call.
const BATCH: usize = 256;
/// A call that takes longer has failed.
const CALL_MAX: Duration = Duration::from_secs(5);

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Keeps `hub` up with what other replicas write to `store`, until `ended`. Returns at once when there can be none.
///
/// Whoever still reads here then counts until the store forgets this replica: readers that come back elsewhere meanwhile
/// are not taken for a stream that nobody reads.
pub async fn run(store: Arc<dyn Store>, hub: Arc<Hub>, meter: WakeMeter, ended: CancellationToken) {
    let Some(wakes) = store.wakes() else { return };
    let task = Task::new(&*store, wakes, &hub, meter);
    ended.run_until_cancelled(task.work()).await;
}

/// The part of a store that is looked at, so that tests need no whole one.
trait Log: Send + Sync {
    fn heads<'a>(&'a self, streams: &'a [StreamId]) -> BoxFuture<'a, Result<Vec<Option<Head>>, StoreError>>;
    fn read<'a>(&'a self, stream: &'a StreamId, after: Cursor, bytes: usize)
    -> BoxFuture<'a, Result<Page, StoreError>>;
}

impl Log for dyn Store {
    fn heads<'a>(&'a self, streams: &'a [StreamId]) -> BoxFuture<'a, Result<Vec<Option<Head>>, StoreError>> {
        Store::heads(self, streams)
    }

    fn read<'a>(
        &'a self,
        stream: &'a StreamId,
        after: Cursor,
        bytes: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        Store::read(self, stream, after, bytes)
    }
}

/// What the loops of the task share. They run in one task: the lock only proves it to the compiler.
struct Task<'a, L: ?Sized> {
    log: &'a L,
    wakes: &'a dyn Wakes,
    hub: &'a Hub,
    meter: WakeMeter,
    book: Mutex<Book>,
    /// The store is to be told something.
    to_tell: Notify,
    /// Something is to be looked up or read.
    to_look: Notify,
}

impl<'a, L: Log + ?Sized> Task<'a, L> {
    fn new(log: &'a L, wakes: &'a dyn Wakes, hub: &'a Hub, meter: WakeMeter) -> Self {
        let (book, to_tell, to_look) = Default::default();
        Task { log, wakes, hub, meter, book, to_tell, to_look }
    }

    async fn work(&self) {
        tokio::join!(self.keep_interest(), self.catch_up(), self.hear(), self.tick());
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names what is due by time.
    async fn tick(&self) {
        let start = Instant::now();
        let mut look = interval_at(start + LOOK_EVERY, LOOK_EVERY);
        let mut presence = interval_at(start + PRESENCE_EVERY, PRESENCE_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        presence.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => {
                    // Here too: while the store is told of some streams, and does not answer, others are looked at.
                    self.note_changes();
                    self.to_tell.notify_one();
                    self.book().look_at_silent();
                    self.to_look.notify_one();
                }
                _ = presence.tick() => {
                    self.book().repeat_presence();
                    self.to_tell.notify_one();
                }
            }
        }
    }
}

/// A call with an end.
async fn bounded<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match timeout(CALL_MAX, call).await {
        Ok(done) => done,
        Err(_) => Err(StoreError::Unavailable("no answer".to_owned())),
    }
}

/// The pauses after failures in a row.
struct BackOff(Duration);

impl BackOff {
    fn new() -> Self {
        BackOff(PAUSE_MIN)
    }

    fn reset(&mut self) {
        self.0 = PAUSE_MIN;
    }

    async fn pause(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }
}
