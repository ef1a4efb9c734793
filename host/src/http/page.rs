//! `GET …/events` as one page of JSON: `{"records":[{"cursor","record"}…],"next","end"}`.

use http::StatusCode;

use super::answer::{self, Object};
use super::records::{Records, gone};
use super::{Problem, Query, Request, Response, admitted, list};
use crate::app::App;
use crate::store::Page;
use crate::types::{Cursor, StreamId};

/// What is asked of the store at a time.
const READ_BYTES: usize = 256 * 1024;

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
    let mut records = Records::after(after, limit);
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
    object.raw("records", &records.json()).string_or_null("next", next.as_deref()).string("end", &end.to_string());
    Ok(answer::of_generation(job.generation, answer::json(StatusCode::OK, object.end())))
}
