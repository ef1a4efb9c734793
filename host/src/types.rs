//! The words of the house, as every room of the host uses them. `wit/types.wit` says what they mean.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use memchr::memchr;

/// The name of a stream: 1 to 256 bytes of printable ASCII without blanks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(Arc<str>);

impl StreamId {
    /// Checks a decoded name. Errors: the rule it breaks.
    pub fn parse(name: &str) -> Result<Self, &'static str> {
        if name.is_empty() || name.len() > 256 {
            return Err("a stream id has 1 to 256 bytes");
        }
        if !name.bytes().all(|b| (0x21..=0x7e).contains(&b)) {
            return Err("a stream id is printable ASCII without blanks");
        }
        if matches!(name, "." | "..") {
            return Err("a stream id is not . or ..: browsers take these out of an address, in whatever spelling");
        }
        Ok(StreamId(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a record stands: `<generation>-<sequence>`, sequence from 1; 0 is before the first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// The run.
    pub generation: u64,
    /// Position in its log.
    pub sequence: u64,
}

impl Cursor {
    /// Reads `<generation>-<sequence>`, digits only, at most 20 each.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            if plain { digits.parse().ok() } else { None }
        };
        let (generation, sequence) = text.split_once('-')?;
        Some(Cursor { generation: number(generation)?, sequence: number(sequence)? })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.generation, self.sequence)
    }
}

/// The five states of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The producer is at work.
    Running,
    /// Paused until a person answers.
    RequiresAction,
    /// Ended well.
    Complete,
    /// Ended by a failure.
    Error,
    /// Stopped.
    Aborted,
}

impl Status {
    /// All of them.
    pub const ALL: [Status; 5] =
        [Status::Running, Status::RequiresAction, Status::Complete, Status::Error, Status::Aborted];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Running => "running",
            Status::RequiresAction => "requires_action",
            Status::Complete => "complete",
            Status::Error => "error",
            Status::Aborted => "aborted",
        }
    }

    /// The status of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Status::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether nothing can follow.
    pub fn is_terminal(self) -> bool {
        matches!(self, Status::Complete | Status::Error | Status::Aborted)
    }
}

/// The row that describes the current generation of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The run.
    pub generation: u64,
    /// Its state.
    pub status: Status,
    /// Who owns the stream.
    pub user_id: String,
    /// Unix milliseconds of creation.
    pub created_ms: u64,
    /// Unix milliseconds of the last accepted append.
    pub updated_ms: u64,
    /// Unix milliseconds of the end.
    pub settled_ms: Option<u64>,
    /// Sequence of the last record; 0 when there is none.
    pub head: u64,
    /// Counts the accepted writes to the row, its creation included. The store's own; 0 in a row that is to be created.
    pub revision: u64,
    /// Everything else: name and JSON text. Names with a colon are the component's own and never shown.
    pub fields: Vec<(String, String)>,
}

impl Job {
    /// The end of its log.
    pub fn cursor(&self) -> Cursor {
        Cursor { generation: self.generation, sequence: self.head }
    }

    /// Writes a field; JSON `null` removes it.
    pub fn set_field(&mut self, name: &str, value: &str) {
        self.fields.retain(|(known, _)| known != name);
        if value != "null" {
            self.fields.push((name.to_owned(), value.to_owned()));
        }
    }
}

/// What delivery must know about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// Delivered.
    Event,
    /// Kept and folded, never delivered.
    Internal,
    /// Last of a completed or aborted generation.
    Final,
    /// Last of a failed generation: sent as `event: error`.
    Failure,
}

/// The records of one append, packed: how the log keeps them and how they travel. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the first record stands.
    pub first: Cursor,
    /// The records, each ended by a line break.
    pub lines: Bytes,
    /// One a record; empty when all of them are [`RecordKind::Event`].
    pub kinds: Arc<[RecordKind]>,
    /// Number of records, at least 1.
    pub count: u64,
}

impl Entry {
    /// Sequence of the last record.
    pub fn last(&self) -> u64 {
        self.first.sequence + self.count - 1
    }

    /// The records with their cursors and kinds, in order, without line breaks.
    pub fn records(&self) -> impl Iterator<Item = (Cursor, RecordKind, &[u8])> {
        let mut rest = &self.lines[..];
        (self.first.sequence..).zip(0..self.count).map(move |(sequence, at)| {
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            let line = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            let kind = usize::try_from(at).ok().and_then(|at| self.kinds.get(at)).copied();
            (Cursor { sequence, ..self.first }, kind.unwrap_or(RecordKind::Event), line)
        })
    }

    /// The last record's kind, where it ends the generation.
    pub fn terminal(&self) -> Option<RecordKind> {
        self.kinds.last().copied().filter(|kind| matches!(kind, RecordKind::Final | RecordKind::Failure))
    }
}

/// Unix milliseconds.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_two_plain_numbers() {
        let cursor = Cursor { generation: 1789000000000, sequence: 41 };
        assert_eq!(Cursor::parse("1789000000000-41"), Some(cursor));
        assert_eq!(cursor.to_string(), "1789000000000-41");
        for garbage in
            ["", "-", "1-", "-1", "1", "a-1", "1-b", "+1-1", "1-+1", " 1-1", "1-1-1", "1-99999999999999999999"]
        {
            assert_eq!(Cursor::parse(garbage), None, "{garbage:?}");
        }
    }

    #[test]
    fn a_stream_id_is_printable_ascii() {
        for good in ["a", "chat-1", "a/b", "~!*'()", &"x".repeat(256)] {
            assert!(StreamId::parse(good).is_ok(), "{good:?}");
        }
        for bad in ["", "a b", "a\n", "\0", "é", &"x".repeat(257)] {
            assert!(StreamId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
