//! How replicas that share a store hear of one another. Hints, all of it: a lost one costs latency, never data.

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::store::StoreError;
use crate::types::{Cursor, Entry, StreamId};

/// What happened to a followed stream, here or on another replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// These records are in the log.
    Entry(StreamId, Entry),
    /// The log ends here now; with sequence 0: a new generation.
    Head(StreamId, Cursor),
    /// The stream was forgotten, with this generation and all before it.
    Gone(StreamId, u64),
    /// A person answered the paused generation: a JSON object `{"actionId", "decision"}`.
    Resolved(StreamId, u64, String),
    /// The stream has its first reader, over all replicas.
    Ready(StreamId),
    /// The stream has lost its last reader, over all replicas.
    SubscribersLeft(StreamId),
    /// Wakes of all followed streams may have been lost (the connection broke, or too many waited): look at the log.
    Lost,
}

/// The channel between replicas.
pub trait Wakes: Send + Sync {
    /// From when this resolves, wakes of these streams come, besides those followed already. Kept up over broken
    /// connections.
    fn follow<'a>(&'a self, streams: &'a [StreamId]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Wakes of these streams need not come any more.
    fn unfollow<'a>(&'a self, streams: &'a [StreamId]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The next wake, and when it came. Bounded: when too many wait they become one [`Wake::Lost`]. One caller at a time.
    fn next(&self) -> BoxFuture<'_, (Wake, Instant)>;

    /// Tells all replicas that a person answered.
    fn resolved<'a>(
        &'a self,
        stream: &'a StreamId,
        generation: u64,
        answer: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Says of each stream whether this replica has readers of it: to be repeated every [`PRESENCE_EVERY`] while it has.
    /// Answers whether any replica has. Those of a replica that says nothing for three times as long count no more.
    fn presence<'a>(&'a self, here: &'a [(StreamId, bool)]) -> BoxFuture<'a, Result<Vec<bool>, StoreError>>;

    /// Whether any replica has readers, of each stream.
    fn readers<'a>(&'a self, streams: &'a [StreamId]) -> BoxFuture<'a, Result<Vec<bool>, StoreError>>;
}

/// How often a replica repeats that it has readers.
pub const PRESENCE_EVERY: std::time::Duration = std::time::Duration::from_secs(5);
