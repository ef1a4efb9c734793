//! The live stream: `GET …/events` with `Accept: text/event-stream`. Source: API.md section 3.
//!
//! Law: the client sees every record after its starting point once, in order, or is told when that is impossible.
//! Whatever it held before, one cursor says where it goes on; the server keeps nothing of it between connections.

pub(super) mod clock;
#[cfg(test)]
pub(super) mod fake;
pub(super) mod live;
pub(super) mod source;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, HeaderName, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};

use self::live::Live;
use self::source::Source;
use super::line::Moved;
use super::{Body, Problem, Query, Request, Response, admitted, theirs};
use crate::app::App;
use crate::metrics::Resume;
use crate::sse::{TooMany, frame};
use crate::types::{Cursor, StreamId};

/// Where a client wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// With the first record of the current generation.
    First,
    /// Strictly after this record.
    After(Cursor),
    /// With the whole state, then strictly after what it covers.
    State,
}

/// Answers with the live stream, with 204 when there is nothing to come, or with why not.
pub async fn handle(app: &Arc<App>, stream: &StreamId, request: &Request) -> Result<Response, Problem> {
    let wanted = Wanted::parse(request.headers(), &Query::of(request.uri())?)?;
    open(theirs::source(app, admitted::identity(request)), stream, wanted, Moved::of(request)).await
}

impl Wanted {
    /// A cursor wins over `resume=true`: its sender has the state. The header wins over the query: a browser that
    /// reconnects by itself sends what it saw last, the address is still that of its first attempt. Empty counts as none.
    fn parse(headers: &HeaderMap, query: &Query) -> Result<Self, Problem> {
        let header = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
        let given = header.filter(|text| !text.is_empty()).or_else(|| query.get("after"));
        let resume = query.flag("resume")?.unwrap_or(false);
        match given.filter(|text| !text.is_empty()).map(Cursor::parse) {
            Some(Some(cursor)) => Ok(Wanted::After(cursor)),
            Some(None) => {
                Err(Problem::bad_request("invalid_cursor", "a cursor is <generation>-<sequence>, the id of a record"))
            }
            None if resume => Ok(Wanted::State),
            None => Ok(Wanted::First),
        }
    }
}

/// Whether it can be read where a reader wants to begin, for `probe`.
pub(super) fn probe(headers: &HeaderMap, query: &Query) -> Result<(), Problem> {
    Wanted::parse(headers, query).map(drop)
}

async fn open(
    source: Arc<dyn Source>,
    stream: &StreamId,
    wanted: Wanted,
    moved: Arc<Moved>,
) -> Result<Response, Problem> {
    let Some(job) = source.job(stream).await? else { return unknown(wanted) };
    let reset = match wanted {
        Wanted::First | Wanted::State => false,
        Wanted::After(cursor) if cursor == job.cursor() && job.status.is_terminal() => return Ok(no_content()),
        // Of another generation, or of the future.
        Wanted::After(cursor) => cursor.generation != job.generation || cursor.sequence > job.head,
    };
    // Join the hub before anything is read: the other order loses what commits in between; repeats fall out by cursor.
    let subscription = source.hub().subscribe(stream, job.generation).map_err(too_many)?;
    let (position, state) = match wanted {
        Wanted::First => (Cursor { sequence: 0, ..job.cursor() }, Vec::new()),
        Wanted::After(cursor) if !reset => (cursor, Vec::new()),
        Wanted::After(_) | Wanted::State => match source::cut(&*source, stream, job.generation, reset).await? {
            Some((at, state)) => (at, state),
            None => return unknown(wanted),
        },
    };
    moved.generation(position.generation);
    source.meter().resumed(match wanted {
        _ if reset => Resume::Reset,
        Wanted::First => Resume::Start,
        Wanted::After(_) => Resume::Cursor,
        Wanted::State => Resume::Snapshot,
    });
    let first = [frame::RETRY, &state].concat();
    let live = Live::new(source, subscription, position, first.into(), job.status.is_terminal(), moved);
    Ok(response(live.into_stream()))
}

/// A stream that is not known: nothing to resume is an answer, anything else is not found.
fn unknown(wanted: Wanted) -> Result<Response, Problem> {
    match wanted {
        Wanted::State => Ok(no_content()),
        Wanted::First | Wanted::After(_) => Err(Problem::not_found()),
    }
}

/// As many are connected as may be.
pub(super) fn too_many(why: TooMany) -> Problem {
    let status = match why {
        TooMany::OnHost(_) => StatusCode::SERVICE_UNAVAILABLE,
        TooMany::OnStream(_) => StatusCode::TOO_MANY_REQUESTS,
    };
    Problem::new(status, "too_many_subscribers", why.to_string()).retry_after(RETRY_AFTER_SECONDS)
}

const RETRY_AFTER_SECONDS: u64 = 5;

fn no_content() -> Response {
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Server-sent events with the headers that keep what is in between from holding them back.
pub(super) fn response(frames: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let frames = futures_util::StreamExt::map(frames, |bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    let body: Body = StreamBody::new(frames).boxed_unsync();
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("identity"));
    response
}
