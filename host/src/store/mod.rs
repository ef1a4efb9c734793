//! The log and the job rows: one trait, kept in this process or in Redis. The only truth there is.
//!
//! Law: one atomic step checks generation, status and position, adds the records, changes the row and extends
//! what must live longer. Nothing is half done, and nothing that was refused leaves a trace.

#[cfg(test)]
pub(crate) mod conformance;
pub mod groups;
pub mod memory;
pub mod metered;
mod patience;
pub mod redis;
pub mod wakes;

use futures_util::future::BoxFuture;

use crate::types::{Cursor, Entry, Job, Status, StreamId};

pub use self::redis::RedisStore;
pub use groups::{GroupKey, Groups, NewGroup, Pending, Unseen};
pub use memory::MemoryStore;
pub use metered::Metered;
pub(crate) use patience::Patience;
pub use wakes::{Wake, Wakes};

/// Identifies one attempt to write, so that its repeat is recognised: the session that made it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Unique to one opened session in all replicas.
    pub session: u64,
    /// Counts up within the session.
    pub number: u64,
}

/// One write to a generation.
#[derive(Clone, Debug)]
pub struct Append {
    /// Who writes, for repeats.
    pub ticket: Ticket,
    /// Where the first record would stand: the log must end right before it.
    pub first: Cursor,
    /// The records; none when only the row changes. `entry.first` equals `first`.
    pub entry: Option<Entry>,
    /// The status the row must still have.
    pub expected_status: Status,
    /// The revision the row must still have: what is written was decided on all of it.
    pub expected_revision: u64,
    /// The new status, where it changes.
    pub status: Option<Status>,
    /// Fields to write; JSON `null` removes one.
    pub fields: Vec<(String, String)>,
    /// Unix milliseconds of the write.
    pub now_ms: u64,
}

/// What became of a write. Refusals are expected; nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Done, now or by an earlier attempt of the same ticket.
    Accepted,
    /// No such job.
    NotFound,
    /// The stream has this newer generation.
    GenerationReplaced(u64),
    /// The job has ended in this status.
    NotActive(Status),
    /// The log ends at this sequence, or the row has another active status or revision: open again.
    Behind(u64),
    /// The log ends here, before what the writer knows to have been accepted, or the row has an older revision: the store
    /// has forgotten acknowledged writes. See [`Store::rescue`].
    Ahead(Cursor),
}

/// What a session knows of a generation whose acknowledged writes the store has forgotten.
#[derive(Clone, Debug)]
pub struct Rescue {
    /// Who gives it back, for repeats.
    pub ticket: Ticket,
    /// The row, as it is after `entry`, with the revision that it has for the session.
    pub job: Job,
    /// The last write of the session: it ends at `job.head`. None when there is none.
    pub entry: Option<Entry>,
    /// Everything up to `job.head`, what was forgotten included.
    pub checkpoint: String,
    /// Unix milliseconds of the write.
    pub now_ms: u64,
}

/// Tickets of one stream that wait for their use.
pub const TICKETS_MAX: usize = 32;
/// Tickets of one user that wait for their use, where all of a store's have a bound: so that one user does not take it up.
pub const USER_TICKETS_MAX: usize = 512;

/// What became of a ticket that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewTicket {
    /// It waits for its use.
    Kept,
    /// [`TICKETS_MAX`] of the stream wait.
    TooManyOfStream,
    /// [`USER_TICKETS_MAX`] of the user wait.
    TooManyOfUser,
    /// As many wait as the store has room for.
    TooMany,
}

/// Where a generation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The end of its log.
    pub cursor: Cursor,
    /// Its status.
    pub status: Status,
    /// See [`Job::revision`].
    pub revision: u64,
}

/// What a read of the log gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// Whole entries in order; the first may start before the wanted record (a reader skips what it has). Empty: the
    /// log ends there.
    Entries(Vec<Entry>),
    /// The cursor is not of the current generation, or lies beyond the end of the log. The current end of the log.
    Reset(Cursor),
    /// No such stream.
    Gone,
}

/// Which jobs to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Only this user's.
    pub user_id: Option<String>,
    /// Only with this status.
    pub status: Option<Status>,
    /// At most this many.
    pub limit: usize,
    /// Only those that come after this place in the list: `created_ms` and stream.
    pub after: Option<(u64, StreamId)>,
}

/// Why a store could not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Whether it was done is not known: repeat with the same ticket.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// There is no room. Nothing has changed; it may be tried again later.
    #[error(
        "store full: {bytes_max} bytes are in use; raise --memory-bytes-max (with Redis: its maxmemory) or shorten the \
         retention"
    )]
    Full {
        /// The bound that was reached.
        bytes_max: u64,
    },
    /// Another active job would be one too many. Nothing has changed; it may be tried again when one has ended.
    #[error("{whose} has {jobs_max} active jobs, which is the limit: complete or abort one first")]
    TooManyJobs {
        /// `this host`, `the store` or `this user`.
        whose: &'static str,
        /// The bound that was reached.
        jobs_max: u64,
    },
}

/// What a store promises. Every future may be dropped; a write that was under way may then have happened or not.
pub trait Store: Groups + Send + Sync + 'static {
    /// `memory` or `redis`.
    fn kind(&self) -> &'static str;

    /// Whether it can be reached now.
    fn ready(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The row of a stream; none when it is unknown or its retention is over.
    fn job<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Option<Job>, StoreError>>;

    /// Replaces the row by `job` with an empty log, if the generation is still `previous` (0: none); else
    /// `GenerationReplaced`. In the same step it counts: [`StoreError::TooManyJobs`] unless it takes the place of an
    /// active job.
    fn create<'a>(
        &'a self,
        stream: &'a StreamId,
        ticket: Ticket,
        previous: u64,
        job: Job,
    ) -> BoxFuture<'a, Result<Written, StoreError>>;

    /// Where streams stand, in the order asked for; none for a stream without a row.
    fn heads<'a>(&'a self, streams: &'a [StreamId]) -> BoxFuture<'a, Result<Vec<Option<Head>>, StoreError>>;

    /// Writes to the log and the row, all or nothing. Each accepted write, a create too, raises the row's revision by
    /// one; a repeat of an accepted one is `Accepted` for as long as its records are in the log.
    fn append<'a>(&'a self, stream: &'a StreamId, append: Append) -> BoxFuture<'a, Result<Written, StoreError>>;

    /// Gives a store that has forgotten acknowledged writes what the session has of them, all or nothing: the row, the
    /// checkpoint and the last entry, which then stands after a jump in the sequence. Refused like an append: `Behind`
    /// when the store has reached `job.head` and its revision meanwhile, `NotFound` when the stream was removed on purpose.
    fn rescue<'a>(&'a self, stream: &'a StreamId, rescue: Rescue) -> BoxFuture<'a, Result<Written, StoreError>>;

    /// Keeps a checkpoint if its generation is current and it covers more than the one before.
    fn put_checkpoint<'a>(
        &'a self,
        stream: &'a StreamId,
        at: Cursor,
        state: String,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The latest checkpoint of that generation.
    fn checkpoint<'a>(
        &'a self,
        stream: &'a StreamId,
        generation: u64,
    ) -> BoxFuture<'a, Result<Option<(Cursor, String)>, StoreError>>;

    /// Reads the log strictly after `after`, about `bytes_max` bytes but at least one entry where there is one.
    fn read<'a>(
        &'a self,
        stream: &'a StreamId,
        after: Cursor,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>>;

    /// Forgets a stream if it still has this generation. True when it did.
    fn remove<'a>(&'a self, stream: &'a StreamId, generation: u64) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Forgets a settled generation at `expires_ms` instead of after the usual retention.
    fn expire_at<'a>(
        &'a self,
        stream: &'a StreamId,
        generation: u64,
        expires_ms: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Jobs newest first, by `created_ms` and stream.
    fn list(&self, query: Query) -> BoxFuture<'_, Result<Vec<(StreamId, Job)>, StoreError>>;

    /// Number of jobs in each status, in the order of [`Status::ALL`]. Exact.
    fn counts(&self) -> BoxFuture<'_, Result<[u64; 5], StoreError>>;

    /// The same of one user's jobs.
    fn counts_of<'a>(&'a self, user_id: &'a str) -> BoxFuture<'a, Result<[u64; 5], StoreError>>;

    /// Keeps what a ticket for a stream stands for until `expires_ms`, under the ticket's hash.
    fn put_ticket<'a>(
        &'a self,
        stream: &'a StreamId,
        hash: [u8; 32],
        subject: &'a str,
        expires_ms: u64,
    ) -> BoxFuture<'a, Result<NewTicket, StoreError>>;

    /// Takes a ticket out: whoever is first has its subject, and nobody after.
    fn take_ticket<'a>(
        &'a self,
        stream: &'a StreamId,
        hash: [u8; 32],
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>>;

    /// Forgets what has outlived its retention, and names active jobs without an append for too long (at most
    /// `limit`): the caller settles them as timed out. Never walks all streams.
    fn sweep(&self, now_ms: u64, limit: usize) -> BoxFuture<'_, Result<Vec<StreamId>, StoreError>>;

    /// Commands that have carried appends, where one may carry many.
    fn commits(&self) -> Option<u64> {
        None
    }

    /// How the replicas that share this store hear of one another; none when there can be no other.
    fn wakes(&self) -> Option<&dyn Wakes>;
}
