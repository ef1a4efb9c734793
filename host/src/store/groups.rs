//! Consumer groups on the log of a generation: each entry is given to one consumer of a group, again and again until it
//! is acknowledged. A group belongs to its generation and goes with it. An entry is one append; its id is the cursor of
//! its last record.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::store::StoreError;
use crate::types::{Cursor, Entry, StreamId};

/// Which group.
#[derive(Clone, Copy, Debug)]
pub struct GroupKey<'a> {
    /// The stream whose log it reads.
    pub stream: &'a StreamId,
    /// The generation that it must be of; none: of whichever is current.
    pub generation: Option<u64>,
    /// Its name.
    pub name: &'a str,
}

/// What became of making a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewGroup {
    /// It is new.
    Made,
    /// It was there, and stays as it was.
    Existed,
    /// The generation has as many groups as it may have ([`GROUPS_MAX`]).
    TooMany,
    /// No such stream, or another generation has it.
    NotFound,
}

/// What a consumer gets. Empty, with none malformed: there is nothing to do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// In the order of the log; those that come again before those that are new.
    pub entries: Vec<Entry>,
    /// Entries that could not be read: they are acknowledged and passed over.
    pub malformed: u64,
}

/// An entry that was given out and not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The entry's id.
    pub id: Cursor,
    /// Who has it.
    pub consumer: String,
    /// Since when.
    pub idle: Duration,
    /// How often it was given out.
    pub deliveries: u64,
}

/// Groups of one generation.
pub const GROUPS_MAX: usize = 64;

/// What a store promises of groups. A group or stream that is not known is empty, never an error; nor is a group of another
/// generation than the one it must be of ever known, whatever its name.
pub trait Groups {
    /// Makes a group of the current generation that starts at the first record, or after the last one there is now.
    fn create_group<'a>(&'a self, group: GroupKey<'a>, from_start: bool)
    -> BoxFuture<'a, Result<NewGroup, StoreError>>;

    /// Forgets a group. True when it was there.
    fn delete_group<'a>(&'a self, group: GroupKey<'a>) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Gives `consumer` up to `count` entries of about `bytes_max` bytes, but at least one where there is one: first
    /// those that anybody has had for `redeliver_after` without acknowledging them, then new ones. What does not fit
    /// is not given out.
    fn read_group<'a>(
        &'a self,
        group: GroupKey<'a>,
        consumer: &'a str,
        count: usize,
        bytes_max: usize,
        redeliver_after: Duration,
    ) -> BoxFuture<'a, Result<Unseen, StoreError>>;

    /// What was given out and not acknowledged, in the order of the log, at most `limit`.
    fn pending<'a>(&'a self, group: GroupKey<'a>, limit: usize) -> BoxFuture<'a, Result<Vec<Pending>, StoreError>>;

    /// Acknowledges entries. The number of those that were pending.
    fn acknowledge<'a>(&'a self, group: GroupKey<'a>, ids: &'a [Cursor]) -> BoxFuture<'a, Result<u64, StoreError>>;
}
