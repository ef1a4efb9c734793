//! `GET …/events` as one page of JSON: `{"records":[{"cursor","record"}…],"next","end"}`.

use http::StatusCode;

use super::answer::{self, Object};
use super::query::invalid;
use super::request::Request;
use super::{App, Problem, Query, Response, jobs};
use crate::store::Page;
use crate::types::{Cursor, Entry, RecordKind, StreamId};

const LIMIT: u64 = 100;
const LIMIT_MAX: u64 = 1000;
/// What is asked of the store at a time, and what a page holds at most beside its last record.
const READ_BYTES: usize = 256 * 1024;
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Records strictly after `?after=`, at most `?limit=`; internal ones are passed over. `next`: where the next page
/// starts, null when this one reaches the end of the log.
pub(super) async fn handle(app: &App, stream: &StreamId, request: &Request) -> Result<Response, Problem> {
    let query = &Query::of(&request.uri)?;
    let limit = query.number("limit")?.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(invalid("limit", "is 1 to 1000"));
    }
    let job = jobs::known(app, stream).await?;
    let after = match query.get("after").filter(|text| !text.is_empty()) {
        Some(text) => Cursor::parse(text).ok_or_else(|| {
            Problem::bad_request("invalid_cursor", "a cursor is <generation>-<sequence>, the id of a record")
        })?,
        None => Cursor { generation: job.generation, sequence: 0 },
    };
    if after.generation != job.generation {
        return Err(gone(job.cursor()));
    }
    let mut records = Records { after, limit, count: 0, json: String::new() };
    let mut end = job.cursor();
    while !records.is_full() {
        match app.sessions.store.read(stream, records.after, READ_BYTES).await? {
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
    Ok(answer::json(StatusCode::OK, object.end()))
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
    limit: u64,
    count: u64,
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
                if self.count > 0 {
                    self.json.push(',');
                }
                self.count += 1;
                let (cursor, record) = (cursor.to_string(), String::from_utf8_lossy(line));
                self.json.push_str(&Object::new().string("cursor", &cursor).raw("record", &record).end());
            }
        }
    }
}
