//! The store: what the server keeps in Redis, at the same keys, by the same scripts.

#[path = "../../../../../host/src/store/redis/columns.rs"]
mod columns;
mod dialect;
#[path = "../../../../../host/src/store/redis/keys.rs"]
#[expect(dead_code, reason = "the server's own file, which says more than is needed here")]
mod keys;
mod redis;
mod rest;
mod row;

pub(crate) use self::redis::Redis;
pub(crate) use self::row::Row;

use std::time::Duration;

use crate::clock::Deadline;
use crate::types::{Cursor, Entry, Status};
use crate::wasi::sleep;

/// Why the store could not answer. The words are the server's.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// Whether it was done is not known: repeat with the same ticket.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// There is no room.
    #[error(
        "store full: it refuses writes for want of memory; raise its maxmemory (now {bytes_max}: unknown here) or shorten the retention"
    )]
    Full {
        /// Not known here: 0.
        bytes_max: u64,
    },
    /// Another active job would be one too many.
    #[error("{whose} has {jobs_max} active jobs, which is the limit: complete or abort one first")]
    TooManyJobs {
        /// `the store` or `this user`.
        whose: &'static str,
        /// The bound that was reached.
        jobs_max: u64,
    },
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Done, now or by an earlier attempt of the same ticket.
    Accepted,
    /// No job.
    NotFound,
    /// A newer generation, this one, has the stream.
    GenerationReplaced(u64),
    /// The job has ended in this status.
    NotActive(Status),
    /// The log is longer.
    Behind,
    /// The log is shorter: the store has forgotten.
    Ahead,
}

/// A part of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// Strictly after the cursor; none at the end of the log.
    Entries(Vec<Entry>),
    /// The cursor is not of the current generation, or beyond the end, which is this.
    Reset(Cursor),
    /// No such stream.
    Gone,
}

/// Names an attempt to write: repeats are recognised by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(crate) session: u64,
    pub(crate) number: u64,
}

/// Records and a change of the row.
#[derive(Clone, Debug)]
pub(crate) struct Append {
    pub(crate) ticket: Ticket,
    pub(crate) first: Cursor,
    pub(crate) entry: Option<Entry>,
    pub(crate) expected_status: Status,
    pub(crate) expected_revision: u64,
    pub(crate) status: Option<Status>,
    pub(crate) fields: Vec<(String, String)>,
}

/// Asks again what a store that cannot be reached did not answer, for as long as a request may wait: tickets make that
/// harmless.
pub(crate) async fn patiently<T>(
    wait: Duration,
    ask: impl AsyncFn() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let end = Deadline::after(wait);
    let mut pause = Duration::from_millis(50);
    loop {
        match ask().await {
            Err(StoreError::Unavailable(_)) if end.left() > pause => sleep(pause).await,
            answer => return answer,
        }
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}
