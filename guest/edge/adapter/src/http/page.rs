//! `GET …/events` as one page of JSON: `{"records":[{"cursor","record"}…],"next","end"}`.

use http::StatusCode;

use super::answer::{self, Object};
use super::query::invalid;
use super::records::{Records, gone};
use super::request::Request;
use super::{App, Problem, Query, Response, jobs};
use crate::store::Page;
use crate::types::{Cursor, StreamId};

const LIMIT: u64 = 100;
const LIMIT_MAX: u64 = 1000;
/// What is asked of the store at a time.
const READ_BYTES: usize = 256 * 1024;

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
    let mut records = Records::after(after, usize::try_from(limit).unwrap_or(usize::MAX));
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
    object.raw("records", &records.json()).string_or_null("next", next.as_deref()).string("end", &end.to_string());
    Ok(answer::json(StatusCode::OK, object.end()))
}
