//! What one stream holds: the row of its current generation, the log and the checkpoint. Plain values that know the
//! rules of a write; locks, lists and room are the business of the store around them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::store::{Append, Page, Ticket, Written};
use crate::types::{Cursor, Entry, Job, Status, StreamId};

use super::groups::Group;

/// What a row costs beside its texts: itself, its slot, its places in the index. Rounded up.
const ROW_BYTES: u64 = 1024;
/// What an entry costs beside its bytes: itself in a half filled vector, and the heads of two allocations.
const ENTRY_BYTES: u64 = 192;
/// What a field or a checkpoint costs beside its bytes.
const TEXT_BYTES: u64 = 48;

/// How long things stay, in milliseconds.
#[derive(Clone, Copy)]
pub(super) struct Lifetimes {
    idle_ms: u64,
    idle_paused_ms: u64,
    retention_ms: u64,
}

impl Lifetimes {
    pub(super) fn new(idle: Duration, idle_paused: Duration, retention: Duration) -> Self {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Lifetimes { idle_ms: ms(idle), idle_paused_ms: ms(idle_paused), retention_ms: ms(retention) }
    }
}

/// The current generation of one stream.
pub(super) struct Stream {
    pub(super) job: Job,
    /// Entries follow one another without a gap, so a position is found by halving. With who wrote them, for repeats.
    log: Vec<(Entry, Ticket)>,
    checkpoint: Option<(Cursor, String)>,
    /// Consumer groups by name.
    pub(super) groups: BTreeMap<String, Group>,
    /// Who created the generation, for repeats.
    created: Ticket,
    /// The last accepted write without records, for repeats.
    written: Option<(Ticket, Cursor)>,
    /// Last record or change of status. Patience counts from here: a job that goes on after a long pause has all of it.
    active_ms: u64,
    /// Replaces the usual retention.
    expires_ms: Option<u64>,
    /// The one deadline of this stream in the index: never later than [`Stream::due_ms`], unless it was named.
    pub(super) deadline_ms: u64,
    /// What it takes of the room.
    pub(super) bytes: u64,
}

impl Stream {
    /// A generation with an empty log.
    pub(super) fn new(id: &StreamId, ticket: Ticket, job: Job, lifetimes: Lifetimes) -> Self {
        let texts = id.as_str().len() as u64 + 2 * job.user_id.len() as u64;
        let bytes = ROW_BYTES + texts + fields_bytes(&job.fields);
        let mut stream = Stream {
            active_ms: job.created_ms.max(job.updated_ms),
            job: Job { head: 0, revision: 1, ..job },
            log: Vec::new(),
            checkpoint: None,
            groups: BTreeMap::new(),
            created: ticket,
            written: None,
            expires_ms: None,
            deadline_ms: 0,
            bytes,
        };
        stream.deadline_ms = stream.due_ms(lifetimes);
        stream
    }

    /// Whether this generation comes from that very attempt.
    pub(super) fn is_from(&self, ticket: Ticket, generation: u64) -> bool {
        self.created == ticket && self.job.generation == generation
    }

    /// The answer to a write that must not be done: a refusal, or `Accepted` where it was done before.
    pub(super) fn answer(&self, append: &Append) -> Option<Written> {
        let Job { generation, status, head, .. } = self.job;
        match append.first.generation.cmp(&generation) {
            Ordering::Less => return Some(Written::GenerationReplaced(generation)),
            Ordering::Greater => return Some(Written::Ahead(self.job.cursor())),
            Ordering::Equal => {}
        }
        if self.is_repeat(append) {
            return Some(Written::Accepted);
        }
        let expected = append.expected_status == status && append.expected_revision == self.job.revision;
        let only_fields = append.entry.is_none() && append.status.is_none();
        if status.is_terminal() && !(only_fields && expected) {
            return Some(Written::NotActive(status));
        }
        let newer = append.expected_revision > self.job.revision;
        match append.first.sequence.checked_sub(1).map(|before| before.cmp(&head)) {
            Some(Ordering::Equal) if expected => None,
            Some(Ordering::Equal) if newer => Some(Written::Ahead(self.job.cursor())),
            Some(Ordering::Greater) => Some(Written::Ahead(self.job.cursor())),
            _ => Some(Written::Behind(head)),
        }
    }

    fn is_repeat(&self, append: &Append) -> bool {
        if append.entry.is_none() {
            return self.written == Some((append.ticket, append.first));
        }
        let at = self.log.partition_point(|(entry, _)| entry.first < append.first);
        self.log.get(at).is_some_and(|(entry, ticket)| entry.first == append.first && *ticket == append.ticket)
    }

    /// What the stream will take of the room after that write.
    pub(super) fn bytes_after(&self, append: &Append) -> u64 {
        let entry = append.entry.as_ref().map_or(0, entry_bytes);
        if append.fields.is_empty() {
            return self.bytes + entry;
        }
        let fields = fields_bytes_after(&self.job.fields, &append.fields);
        self.bytes + entry + fields - fields_bytes(&self.job.fields)
    }

    /// Does a write that [`Stream::answer`] had nothing against and that has its room.
    pub(super) fn write(&mut self, append: Append) {
        self.bytes = self.bytes_after(&append);
        if append.entry.is_some() || append.status.is_some() {
            self.active_ms = self.active_ms.max(append.now_ms);
        }
        self.job.revision += 1;
        match append.entry {
            Some(entry) => {
                self.job.head = entry.last();
                self.job.updated_ms = self.job.updated_ms.max(append.now_ms);
                self.log.push((entry, append.ticket));
            }
            None => self.written = Some((append.ticket, append.first)),
        }
        for (name, value) in &append.fields {
            self.job.set_field(name, value);
        }
        if let Some(status) = append.status {
            self.job.status = status;
            if status.is_terminal() {
                self.job.settled_ms = Some(append.now_ms);
            }
        }
    }

    /// The log strictly after `after`, whole entries, about `bytes_max` bytes but at least one entry.
    pub(super) fn read(&self, after: Cursor, bytes_max: usize) -> Page {
        let end = self.job.cursor();
        if after.generation != end.generation || after.sequence > end.sequence {
            return Page::Reset(end);
        }
        Page::Entries(self.entries_after(after.sequence).take_while(within(bytes_max)).cloned().collect())
    }

    /// The entries that end after that sequence, in order.
    pub(super) fn entries_after(&self, sequence: u64) -> impl Iterator<Item = &Entry> {
        let start = self.log.partition_point(|(entry, _)| entry.last() <= sequence);
        self.log[start..].iter().map(|(entry, _)| entry)
    }

    /// What the stream will take of the room with that checkpoint; none when it is of another generation or covers no
    /// more than the one before.
    pub(super) fn bytes_with_checkpoint(&self, at: Cursor, state: &str) -> Option<u64> {
        let before = self.checkpoint.as_ref();
        let covers_more = before.is_none_or(|(covered, _)| covered.sequence < at.sequence);
        if at.generation != self.job.generation || !covers_more {
            return None;
        }
        let freed = before.map_or(0, |(_, state)| text_bytes(state));
        Some(self.bytes + text_bytes(state) - freed)
    }

    /// Keeps a checkpoint that has its room.
    pub(super) fn put_checkpoint(&mut self, at: Cursor, state: String, bytes: u64) {
        self.checkpoint = Some((at, state));
        self.bytes = bytes;
    }

    /// The checkpoint, if it is of that generation.
    pub(super) fn checkpoint(&self, generation: u64) -> Option<(Cursor, String)> {
        self.checkpoint.clone().filter(|_| self.job.generation == generation)
    }

    /// Replaces the usual retention; counts once the generation has settled.
    pub(super) fn expire_at(&mut self, expires_ms: u64) {
        self.expires_ms = Some(expires_ms);
    }

    /// When the job is timed out, or, settled, when it is forgotten.
    pub(super) fn due_ms(&self, lifetimes: Lifetimes) -> u64 {
        match (self.job.status, self.expires_ms) {
            (Status::Running, _) => self.active_ms.saturating_add(lifetimes.idle_ms),
            (Status::RequiresAction, _) => self.active_ms.saturating_add(lifetimes.idle_paused_ms),
            (_, Some(expires_ms)) => expires_ms,
            (_, None) => self.job.settled_ms.unwrap_or(self.active_ms).saturating_add(lifetimes.retention_ms),
        }
    }

    /// Whether it must not be seen any more.
    pub(super) fn is_expired(&self, now_ms: u64, lifetimes: Lifetimes) -> bool {
        self.job.status.is_terminal() && self.due_ms(lifetimes) <= now_ms
    }
}

/// True for the first entry, and for those after it that are still within the bound.
pub(super) fn within(bytes_max: usize) -> impl FnMut(&&Entry) -> bool {
    let mut bytes = 0_usize;
    move |entry| {
        let first = bytes == 0;
        bytes = bytes.saturating_add(entry.lines.len().max(1));
        first || bytes <= bytes_max
    }
}

fn text_bytes(text: &str) -> u64 {
    TEXT_BYTES + text.len() as u64
}

fn entry_bytes(entry: &Entry) -> u64 {
    ENTRY_BYTES + entry.lines.len() as u64 + entry.kinds.len() as u64
}

fn field_bytes((name, value): &(String, String)) -> u64 {
    text_bytes(name) + value.len() as u64
}

fn fields_bytes(fields: &[(String, String)]) -> u64 {
    fields.iter().map(field_bytes).sum()
}

/// What `fields` cost after `changes`, as [`Job::set_field`] will do them, without a copy of them.
fn fields_bytes_after(fields: &[(String, String)], changes: &[(String, String)]) -> u64 {
    let named = |changes: &[(String, String)], name: &str| changes.iter().any(|(changed, _)| changed == name);
    let kept = fields.iter().filter(|(name, _)| !named(changes, name)).map(field_bytes).sum::<u64>();
    let written = changes.iter().enumerate().filter(|(at, (name, _))| !named(&changes[at + 1..], name));
    let written = written.map(|(_, field)| field).filter(|(_, value)| value != "null");
    kept + written.map(field_bytes).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_cost_after_a_change_what_they_were_said_to_cost() {
        let field = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let before: Vec<_> = [("a", "1"), ("b", "\"long\"")].iter().map(field).collect();
        for changes in [
            &[][..],
            &[("a", "22")],
            &[("a", "null")],
            &[("c", "null")],
            &[("c", "3"), ("c", "null")],
            &[("a", "null"), ("a", "4444"), ("b", "1"), ("d", "{}")],
        ] {
            let changes: Vec<_> = changes.iter().map(field).collect();
            let mut job = Job {
                generation: 1,
                status: Status::Running,
                user_id: String::new(),
                created_ms: 0,
                updated_ms: 0,
                settled_ms: None,
                head: 0,
                revision: 0,
                fields: before.clone(),
            };
            for (name, value) in &changes {
                job.set_field(name, value);
            }
            assert_eq!(fields_bytes_after(&before, &changes), fields_bytes(&job.fields), "{changes:?}");
        }
    }
}
