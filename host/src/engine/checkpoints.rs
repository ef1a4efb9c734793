//! Checkpoints on their way to the store, off the way of the commands. One that is lost costs the next opening some
//! replay, nothing else.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt, stream};
use tokio::sync::Notify;

use crate::store::Store;
use crate::types::{Cursor, StreamId};

/// Bytes that wait at most; what does not fit is not kept.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Checkpoints that are written at a time.
const AT_ONCE: usize = 8;

/// The newest checkpoint of each stream that has one under way.
#[derive(Default)]
pub(super) struct Checkpoints {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Default)]
struct Waiting {
    streams: HashMap<StreamId, (Cursor, String)>,
    bytes: usize,
}

impl Checkpoints {
    /// Takes the place of an older one that still waits.
    pub(super) fn put(&self, stream: &StreamId, at: Cursor, state: String) {
        let mut waiting = self.waiting();
        let freed = waiting.streams.get(stream).map_or(0, |(_, older)| older.len());
        let bytes = waiting.bytes - freed + state.len();
        if bytes > BYTES_MAX {
            return tracing::warn!(%stream, "checkpoint not kept: {BYTES_MAX} bytes of others wait for the store");
        }
        waiting.bytes = bytes;
        waiting.streams.insert(stream.clone(), (at, state));
        drop(waiting);
        self.more.notify_one();
    }

    /// Writes what waits until `ended`, and what is left then.
    pub(super) async fn keep(&self, store: &dyn Store, ended: impl Future<Output = ()>) {
        tokio::pin!(ended);
        loop {
            let last = tokio::select! {
                () = self.more.notified() => false,
                () = &mut ended => true,
            };
            let waiting = std::mem::take(&mut *self.waiting());
            let write = |(stream, (at, state)): (StreamId, (Cursor, String))| async move {
                if let Err(error) = store.put_checkpoint(&stream, at, state).await {
                    tracing::warn!(%stream, %error, "checkpoint not written");
                }
            };
            stream::iter(waiting.streams).for_each_concurrent(AT_ONCE, write).await;
            if last {
                return;
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Every change under it is whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
