//! Where each reader of a stream stands, for whoever operates this host.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Hub;
use crate::types::{Cursor, StreamId};

/// How far one reader is. Only the reader writes it; whoever looks gets a figure, and nothing is decided by it.
#[derive(Debug)]
pub(in crate::sse) struct Place {
    number: u64,
    since_ms: u64,
    generation: AtomicU64,
    sequence: AtomicU64,
}

impl Place {
    pub(super) fn new(number: u64, generation: u64, since_ms: u64) -> Self {
        Place { number, since_ms, generation: AtomicU64::new(generation), sequence: AtomicU64::new(0) }
    }

    /// The connection has taken everything up to `cursor`. One relaxed store: a reader changes its generation at most
    /// once, before its first record.
    pub(in crate::sse) fn reach(&self, cursor: Cursor) {
        if self.generation.load(Ordering::Relaxed) != cursor.generation {
            self.generation.store(cursor.generation, Ordering::Relaxed);
        }
        self.sequence.store(cursor.sequence, Ordering::Relaxed);
    }

    fn look(&self) -> Reader {
        let generation = self.generation.load(Ordering::Relaxed);
        let sequence = self.sequence.load(Ordering::Relaxed);
        Reader { number: self.number, cursor: Cursor { generation, sequence }, since_ms: self.since_ms }
    }
}

/// One reader as it stood when somebody looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Tells it from all others that this host ever had, since it started.
    pub number: u64,
    /// The last record that its connection took.
    pub cursor: Cursor,
    /// When it came: Unix milliseconds.
    pub since_ms: u64,
}

impl Reader {
    /// Records up to `end` that its connection has not taken. All of them when it reads another generation.
    pub fn lag(&self, end: Cursor) -> u64 {
        let taken = if self.cursor.generation == end.generation { self.cursor.sequence } else { 0 };
        end.sequence.saturating_sub(taken)
    }
}

/// Who reads a stream on this host, and how many producers listen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readers {
    /// The furthest behind first; of those, who came first.
    pub rows: Vec<Reader>,
    /// Readers, whether or not they have a row.
    pub total: usize,
    /// Producers that listen for signals.
    pub listeners: usize,
}

impl Hub {
    /// Where the readers of a stream stand; a row for the `rows_max` that are furthest behind.
    pub fn readers(&self, stream: &StreamId, rows_max: usize) -> Readers {
        let mut readers = {
            let shard = self.shard(stream);
            let Some(channel) = shard.get(stream) else { return Readers::default() };
            let rows: Vec<_> = channel.subscribers.values().map(|place| place.look()).collect();
            Readers { total: rows.len(), rows, listeners: channel.listeners }
        };
        readers.rows.sort_unstable_by_key(|reader| (reader.cursor, reader.number));
        readers.rows.truncate(rows_max);
        readers
    }

    /// What tells this host from others, since it started. Random: no name of the machine leaves it.
    pub fn host(&self) -> &str {
        &self.host
    }
}
