//! Records as a list of JSON, `[{"cursor","record"}…]`, and what is said of a cursor that is in no log.

use http::StatusCode;

use super::Problem;
use super::answer::Object;
use crate::types::{Cursor, Entry, RecordKind};

/// Bytes that a page holds at most beside its last record.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// 410: the cursor is of an older generation, or beyond the end of the log.
pub(super) fn gone(end: Cursor) -> Problem {
    let detail = "this cursor is not in the log of the current generation: start from the beginning, or GET …/resume";
    Problem::new(StatusCode::GONE, "cursor_gone", detail).with("end", end.to_string())
}

/// A page in the making.
pub(super) struct Records {
    /// The last record looked at.
    pub(super) after: Cursor,
    limit: usize,
    count: usize,
    json: String,
}

impl Records {
    /// Of the records strictly after this one, at most `limit`.
    pub(super) fn after(after: Cursor, limit: usize) -> Self {
        Records { after, limit, count: 0, json: String::new() }
    }

    /// A JSON list.
    pub(super) fn json(&self) -> String {
        format!("[{}]", self.json)
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= self.limit || self.json.len() >= PAGE_BYTES
    }

    /// Takes what it has room for; internal records are passed over.
    pub(super) fn take(&mut self, entry: &Entry) {
        let start = self.after;
        for (cursor, kind, line) in entry.records().filter(|(cursor, ..)| *cursor > start) {
            if self.is_full() {
                return;
            }
            self.after = cursor;
            if kind != RecordKind::Internal {
                self.push(cursor, &String::from_utf8_lossy(line));
            }
        }
    }

    fn push(&mut self, cursor: Cursor, record: &str) {
        if self.count > 0 {
            self.json.push(',');
        }
        self.count += 1;
        self.json.push_str(&Object::new().string("cursor", &cursor.to_string()).raw("record", record).end());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn entry(first: u64, lines: &'static str, kinds: &[RecordKind]) -> Entry {
        let count = lines.lines().count() as u64;
        let first = Cursor { generation: 7, sequence: first };
        Entry { first, lines: Bytes::from_static(lines.as_bytes()), kinds: kinds.into(), count }
    }

    fn page(after: u64, limit: usize) -> Records {
        let mut records = Records::after(Cursor { generation: 7, sequence: after }, limit);
        use RecordKind::{Event, Internal};
        records.take(&entry(1, "{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n", &[Event, Internal, Event]));
        records.take(&entry(4, "{\"d\":4}\n", &[]));
        records
    }

    #[test]
    fn internal_records_are_passed_over_and_cursors_go_on() {
        let all = page(0, 10);
        let expected = concat!(
            r#"{"cursor":"7-1","record":{"a":1}},{"cursor":"7-3","record":{"c":3}},"#,
            r#"{"cursor":"7-4","record":{"d":4}}"#,
        );
        assert_eq!((all.json.as_str(), all.after.sequence), (expected, 4));
    }

    #[test]
    fn a_page_starts_inside_an_entry_and_stops_at_its_limit() {
        let one = page(1, 1);
        assert_eq!((one.json.as_str(), one.after.sequence), (r#"{"cursor":"7-3","record":{"c":3}}"#, 3));
    }
}
