//! What was published lately on one stream, encoded once for all who read it: one contiguous run of one generation.
//!
//! Law: the ring holds every record of its run from `first` to `last`, or it says that it does not know. It never guesses:
//! a reader whose position is not the end of a chunk of the run is sent to the log.

use std::collections::VecDeque;

use bytes::Bytes;

use super::frame;
use crate::types::Entry;

/// A bounded run of encoded chunks.
#[derive(Debug)]
pub(super) struct Ring {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    bytes_max: usize,
    /// Sequence of the last record of the run: the greatest that was pushed or skipped.
    last: Option<u64>,
}

/// The frames of one publish. They may be none: internal records only move the position.
#[derive(Debug)]
pub(super) struct Chunk {
    first: u64,
    last: u64,
    ended: bool,
    /// Number of the frames: internal records have none.
    records: u64,
    frames: Bytes,
}

impl Chunk {
    /// Encodes `entry`.
    pub(super) fn new(entry: &Entry) -> Self {
        let mut frames = Vec::new();
        let records = frame::encode(entry, 0, &mut frames);
        let ended = entry.terminal().is_some();
        Chunk { first: entry.first.sequence, last: entry.last(), ended, records, frames: frames.into() }
    }

    fn weight(&self) -> usize {
        self.frames.len() + CHUNK_BYTES
    }
}

/// What the ring has strictly after a position.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Frames up to the sequence `last`; `ended` when that record ends the generation.
    Frames { bytes: Bytes, records: u64, last: u64, ended: bool },
    /// The run ends at or before the position, or nothing is known.
    Nothing,
    /// There is more than the position, and it is not all here.
    Elsewhere,
}

/// Counted for each chunk besides its frames, so that empty ones have a bound too.
const CHUNK_BYTES: usize = 96;

/// Several small chunks go out as one up to this many bytes: copying them is cheaper than a frame of the transport for each.
const JOINED_BYTES_MAX: usize = 8 * 1024;

impl Ring {
    pub(super) fn new(bytes_max: usize) -> Self {
        Ring { chunks: VecDeque::new(), bytes: 0, bytes_max, last: None }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.let_go();
        self.last = None;
    }

    /// Sequence of the last record of the run; none when nothing is known.
    pub(super) fn last(&self) -> Option<u64> {
        self.last
    }

    /// Forgets everything but that the log ends at `last`.
    pub(super) fn rewind(&mut self, last: u64) {
        self.let_go();
        self.last = Some(last);
    }

    /// Gives the memory back; what is left is the empty run after the last record.
    pub(super) fn let_go(&mut self) {
        self.chunks = VecDeque::new();
        self.bytes = 0;
    }

    /// Passes over records that nobody here reads, up to `last`.
    pub(super) fn skip(&mut self, last: u64) {
        if self.last.is_none_or(|end| end < last) {
            self.let_go();
            self.last = Some(last);
        }
    }

    /// Takes a chunk of the ring's generation. One that does not continue the run begins a new one; one that came too
    /// late is left to the log: false then.
    pub(super) fn push(&mut self, chunk: Chunk) -> bool {
        match self.last {
            Some(end) if chunk.last <= end => return false,
            Some(end) if chunk.first == end + 1 => {}
            _ => self.let_go(),
        }
        self.last = Some(chunk.last);
        self.bytes += chunk.weight();
        self.chunks.push_back(chunk);
        // A chunk that is larger than the ring goes as well: its readers find it in the log.
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.chunks.pop_front()
        {
            self.bytes -= oldest.weight();
        }
        true
    }

    /// What is held strictly after the sequence `after`: one chunk, or several small ones joined.
    pub(super) fn after(&self, after: u64) -> Held {
        match self.last {
            Some(last) if after < last => {}
            _ => return Held::Nothing,
        }
        let at = self.chunks.partition_point(|chunk| chunk.last <= after);
        let Some(next) = self.chunks.get(at).filter(|chunk| chunk.first == after + 1) else { return Held::Elsewhere };

        let mut bytes = next.frames.len();
        let joined = self.chunks.range(at + 1..).take_while(|chunk| {
            bytes += chunk.frames.len();
            bytes <= JOINED_BYTES_MAX
        });
        let end = at + 1 + joined.count();
        let newest = &self.chunks[end - 1];
        let records = self.chunks.range(at..end).map(|chunk| chunk.records).sum();
        let bytes = if end == at + 1 {
            next.frames.clone()
        } else {
            let chunks = self.chunks.range(at..end);
            let mut all = Vec::with_capacity(chunks.clone().map(|chunk| chunk.frames.len()).sum());
            chunks.for_each(|chunk| all.extend_from_slice(&chunk.frames));
            all.into()
        };
        Held::Frames { bytes, records, last: newest.last, ended: newest.ended }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Cursor, RecordKind};

    fn entry(first: u64, count: u64, line: &str) -> Entry {
        let lines = format!("{line}\n").repeat(usize::try_from(count).expect("small"));
        Entry { first: Cursor { generation: 1, sequence: first }, lines: lines.into(), kinds: [].into(), count }
    }

    fn frames(text: &str, last: u64) -> Held {
        let records = text.matches("\n\n").count() as u64;
        Held::Frames { bytes: Bytes::copy_from_slice(text.as_bytes()), records, last, ended: false }
    }

    #[test]
    fn a_run_is_read_from_the_end_of_any_chunk() {
        let mut ring = Ring::new(1 << 20);
        assert_eq!(ring.after(0), Held::Nothing);
        ring.push(Chunk::new(&entry(5, 1, "{}")));
        ring.push(Chunk::new(&entry(6, 2, "{}")));
        assert_eq!(ring.after(4), frames("id: 1-5\ndata: {}\n\nid: 1-6\ndata: {}\n\nid: 1-7\ndata: {}\n\n", 7));
        assert_eq!(ring.after(5), frames("id: 1-6\ndata: {}\n\nid: 1-7\ndata: {}\n\n", 7));
        assert_eq!(ring.after(7), Held::Nothing, "the end");
        assert_eq!(ring.after(9), Held::Nothing, "ahead of it");
        assert_eq!(ring.after(6), Held::Elsewhere, "inside a chunk");
        assert_eq!(ring.after(3), Held::Elsewhere, "before the run");
    }

    #[test]
    fn a_gap_begins_a_new_run_and_a_late_publish_is_left_to_the_log() {
        let mut ring = Ring::new(1 << 20);
        ring.push(Chunk::new(&entry(1, 2, "{}")));
        ring.push(Chunk::new(&entry(5, 1, "{}")));
        assert_eq!(ring.after(2), Held::Elsewhere);
        assert_eq!(ring.after(4), frames("id: 1-5\ndata: {}\n\n", 5));
        ring.push(Chunk::new(&entry(3, 2, "{}")));
        assert_eq!(ring.after(2), Held::Elsewhere);
        assert_eq!(ring.after(4), frames("id: 1-5\ndata: {}\n\n", 5));
        ring.push(Chunk::new(&entry(5, 2, "{}")));
        assert_eq!(ring.after(5), Held::Elsewhere, "an overlap is no continuation");
        assert_eq!(ring.after(4), frames("id: 1-5\ndata: {}\n\nid: 1-6\ndata: {}\n\n", 6));
    }

    #[test]
    fn the_ring_stays_within_its_bound() {
        let mut ring = Ring::new(10_000);
        for sequence in 1..=1_000 {
            ring.push(Chunk::new(&entry(sequence, 1, "{\"text\":\"0123456789\"}")));
            assert!(ring.bytes <= 10_000 && ring.chunks.len() <= 10_000 / CHUNK_BYTES);
            assert_eq!(ring.bytes, ring.chunks.iter().map(Chunk::weight).sum::<usize>());
        }
        assert_eq!(ring.after(1), Held::Elsewhere);
        assert!(matches!(ring.after(999), Held::Frames { last: 1_000, .. }));
    }

    #[test]
    fn a_chunk_larger_than_the_ring_is_left_to_the_log_and_the_run_goes_on_after_it() {
        let mut ring = Ring::new(1_000);
        ring.push(Chunk::new(&entry(1, 1, "{}")));
        ring.push(Chunk::new(&entry(2, 100, "{}")));
        assert_eq!((ring.bytes, ring.chunks.len()), (0, 0));
        assert_eq!(ring.after(1), Held::Elsewhere);
        assert_eq!(ring.after(101), Held::Nothing);
        ring.push(Chunk::new(&entry(102, 1, "{}")));
        assert_eq!(ring.after(101), frames("id: 1-102\ndata: {}\n\n", 102));
        assert_eq!(ring.after(100), Held::Elsewhere);
    }

    #[test]
    fn one_call_joins_small_chunks_only() {
        let mut ring = Ring::new(1 << 20);
        for sequence in 1..=1_000 {
            ring.push(Chunk::new(&entry(sequence, 1, "{\"text\":\"0123456789\"}")));
        }
        ring.push(Chunk::new(&entry(1_001, 1, &format!("{{\"text\":\"{}\"}}", "x".repeat(JOINED_BYTES_MAX)))));
        ring.push(Chunk::new(&entry(1_002, 1, "{}")));
        let (mut after, mut calls) = (0, 0);
        while let Held::Frames { bytes, last, .. } = ring.after(after) {
            assert!(bytes.len() <= JOINED_BYTES_MAX || last == 1_001, "{} bytes up to {last}", bytes.len());
            (after, calls) = (last, calls + 1);
        }
        assert_eq!(after, 1_002);
        assert!(calls < 12, "{calls}");
    }

    #[test]
    fn internal_records_move_the_position_and_the_last_record_ends_it() {
        let mut ring = Ring::new(1 << 20);
        ring.push(Chunk::new(&Entry { kinds: [RecordKind::Internal].into(), ..entry(1, 1, "{}") }));
        assert_eq!(ring.after(0), frames("", 1));
        ring.push(Chunk::new(&Entry { kinds: [RecordKind::Final].into(), ..entry(2, 1, "{}") }));
        let bytes = Bytes::from_static(b"id: 1-2\ndata: {}\n\n");
        assert_eq!(ring.after(0), Held::Frames { bytes, records: 1, last: 2, ended: true });
    }
}
