//! `GET …/events` as one page of JSON: `{"records":[{"cursor","record"}…],"next","end"}`.

use http::StatusCode;

use super::answer::{self, Object};
use super::{Problem, Query, Request, Response, admitted, list};
use crate::app::App;
use crate::store::Page;
use crate::types::{Cursor, Entry, RecordKind, StreamId};

/// What is asked of the store at a time, and what a page holds at most beside its last record.
const READ_BYTES: usize = 256 * 1024;
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Records strictly after `?after=`, at most `?limit=`; internal ones are passed over. `next`: where the next page
/// starts, null when this one reaches the end of the log.
pub(super) async fn handle(app: &App, stream: &StreamId, request: &Request) -> Result<Response, Problem> {
    let (query, identity) = (&Query::of(request.uri())?, admitted::identity(request));
    let limit = list::limit(query)?;
    let job = app.job(stream).await?.filter(|job| identity.sees(&job.user_id)).ok_or_else(Problem::not_found)?;
    let after = match query.get("after").filter(|text| !text.is_empty()) {
        Some(text) => Cursor::parse(text).ok_or_else(|| {
            Problem::bad_request("invalid_cursor", "a cursor is <generation>-<sequence>, the id of a record")
        })?,
        None => Cursor { generation: job.generation, sequence: 0 },
    };
    // The row that was looked at says whose it is: of another generation nothing is read.
    if after.generation != job.generation {
        return Err(gone(job.cursor()));
    }
    let mut records = Records { after, limit, count: 0, json: String::new() };
    let (mut end, patience) = (job.cursor(), app.patience());
    while !records.is_full() {
        match patience.ask(|| app.store.read(stream, records.after, READ_BYTES)).await? {
            Page::Gone => return Err(Problem::not_found()),
            // Only the first read can meet a cursor that is not ours.
            Page::Reset(present) if records.after == after => return Err(gone(present)),
            Page::Reset(_) => break,
            Page::Entries(entries) if entries.is_empty() => break,
            Page::Entries(entries) => entries.iter().for_each(|entry| {
                end = end.max(Cursor { sequence: entry.last(), ..entry.first });
                records.take(entry);
            }),
        }
    }
    let next = (records.after < end).then(|| records.after.to_string());
    let mut object = Object::new();
    object
        .raw("records", &format!("[{}]", records.json))
        .string_or_null("next", next.as_deref())
        .string("end", &end.to_string());
    Ok(answer::of_generation(job.generation, answer::json(StatusCode::OK, object.end())))
}

/// 410: the cursor is of an older generation, or beyond the end of the log.
fn gone(end: Cursor) -> Problem {
    let detail = "this cursor is not in the log of the current generation: start from the beginning, or GET …/resume";
    Problem::new(StatusCode::GONE, "cursor_gone", detail).with("end", end.to_string())
}

/// A page in the making.
struct Records {
    /// The last record looked at.
    after: Cursor,
    limit: usize,
    count: usize,
    json: String,
}

impl Records {
    fn is_full(&self) -> bool {
        self.count >= self.limit || self.json.len() >= PAGE_BYTES
    }

    fn take(&mut self, entry: &Entry) {
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
        let mut records =
            Records { after: Cursor { generation: 7, sequence: after }, limit, count: 0, json: String::new() };
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
