//! What there is: the list of jobs, the figures, and whether the server is well.

use http::StatusCode;

use super::answer::{self, Object};
use super::query::invalid;
use super::{Problem, Query, Response};
use crate::app::App;
use crate::auth::Identity;
use crate::engine::COMPONENT_SHA256;
use crate::store;
use crate::types::{Job, Status, StreamId};

const LIMIT: u64 = 100;
const LIMIT_MAX: u64 = 1000;

/// `GET /v1/streams?userId=&status=&limit=&after=`: `{"streams":[…],"next":…}`, newest first.
///
/// A user's list has their own streams only. Errors: 403 `forbidden` when it asks for another's.
pub(super) async fn list(app: &App, identity: &Identity, query: &Query) -> Result<Response, Problem> {
    let limit = limit(query)?;
    let status = match query.get("status").filter(|name| !name.is_empty()) {
        Some(name) => Some(Status::parse(name).ok_or_else(|| invalid("status", "is none of the five"))?),
        None => None,
    };
    let after = match query.get("after") {
        Some(token) => Some(place(token).ok_or_else(|| invalid("after", "is the `next` of an earlier page"))?),
        None => None,
    };
    let asked = query.get("userId").filter(|id| !id.is_empty());
    if let (Some(user), Some(asked)) = (identity.user(), asked)
        && user != asked
    {
        let detail = "userId is not the access token's `sub`: leave it out, and the list is your own";
        return Err(Problem::forbidden("forbidden", detail));
    }
    let user_id = identity.user().or(asked).map(str::to_owned);
    // One more than is shown: it tells whether there is a next page.
    let mut found = visible(app, identity, store::Query { user_id, status, limit: limit + 1, after }).await?;
    let more = found.len() > limit;
    found.truncate(limit);

    let rows: Vec<_> = found.iter().map(|(stream, job)| answer::job_json(stream, job)).collect();
    let next = found.last().filter(|_| more).map(|(stream, job)| token(stream, job));
    let mut object = Object::new();
    object.raw("streams", &format!("[{}]", rows.join(","))).string_or_null("next", next.as_deref());
    Ok(answer::json(StatusCode::OK, object.end()))
}

/// Rows that are read at a time for a token that is for some streams only.
const ROWS_OF_LIMITED: usize = 500;

/// The first `limit` jobs of a list whose streams the token names.
async fn visible(app: &App, identity: &Identity, query: store::Query) -> Result<Vec<(StreamId, Job)>, Problem> {
    let (limit, mut after, mut found) = (query.limit, query.after.clone(), Vec::new());
    // Most of what is read may not be shown: it is not asked for two by two.
    let rows = if identity.is_limited() { limit.max(ROWS_OF_LIMITED) } else { limit };
    let patience = app.patience();
    loop {
        let next = store::Query { after, limit: rows, ..query.clone() };
        let page = patience.ask(|| app.store.list(next.clone())).await?;
        let full = page.len() >= rows;
        after = page.last().map(|(stream, job)| (job.created_ms, stream.clone()));
        found.extend(page.into_iter().filter(|(stream, _)| identity.fits(stream)));
        // The place of what is not shown would be told by the next page's name: so it is read on until there is enough.
        if !full || found.len() >= limit {
            found.truncate(limit);
            return Ok(found);
        }
    }
}

/// How many jobs of a user there are in each status among the streams that the token names.
async fn count_visible(app: &App, identity: &Identity, user: &str) -> Result<[u64; 5], Problem> {
    let (mut counts, mut after, patience) = ([0; 5], None, app.patience());
    loop {
        let query =
            store::Query { user_id: Some(user.to_owned()), status: None, limit: ROWS_OF_LIMITED, after: after.take() };
        let page = patience.ask(|| app.store.list(query.clone())).await?;
        for (_, job) in page.iter().filter(|(stream, _)| identity.fits(stream)) {
            let status = Status::ALL.iter().zip(&mut counts).find(|(status, _)| **status == job.status);
            status.into_iter().for_each(|(_, count)| *count += 1);
        }
        let Some((stream, job)) = page.last().filter(|_| page.len() >= ROWS_OF_LIMITED) else { return Ok(counts) };
        after = Some((job.created_ms, stream.clone()));
    }
}

/// `limit` of a page: 1 to 1000. Errors: 400 `invalid_query`.
pub(super) fn limit(query: &Query) -> Result<usize, Problem> {
    let limit = query.number("limit")?.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(invalid("limit", "is 1 to 1000"));
    }
    usize::try_from(limit).map_err(|_| invalid("limit", "is 1 to 1000"))
}

/// A place in the list as clients carry it, opaque to them: all of it is safe in a URL as it is.
fn token(stream: &StreamId, job: &Job) -> String {
    let stream: String = stream.as_str().bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{}.{stream}", job.created_ms)
}

fn place(token: &str) -> Option<(u64, StreamId)> {
    let (created_ms, stream) = token.split_once('.')?;
    let byte = |at| u8::from_str_radix(stream.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..stream.len()).step_by(2).map(byte).collect();
    Some((created_ms.parse().ok()?, StreamId::parse(std::str::from_utf8(&bytes?).ok()?).ok()?))
}

/// Whether a page is asked for in a way that can be read, for `probe`.
pub(super) fn probe(query: &Query) -> Result<(), Problem> {
    limit(query)?;
    let _ = query.get("after").map(place);
    Ok(())
}

/// `GET /v1/stats`. A user's has the counts of their own jobs, among the streams that the token names, and nothing of the
/// host.
pub(super) async fn stats(app: &App, identity: &Identity) -> Result<Response, Problem> {
    let counts = match identity.user() {
        Some(user) if identity.is_limited() => count_visible(app, identity, user).await?,
        Some(user) => app.patience().ask(|| app.store.counts_of(user)).await?,
        None => app.patience().ask(|| app.store.counts()).await?,
    };
    let mut jobs = Object::new();
    for (status, count) in Status::ALL.into_iter().zip(counts) {
        jobs.number(status.as_str(), count);
    }
    let mut object = Object::new();
    object.raw("jobs", &jobs.end());
    if identity.user().is_some() {
        return Ok(answer::json(StatusCode::OK, object.end()));
    }
    object
        .number("subscribers", app.hub.subscribers() as u64)
        .number("sessions", app.sessions.open() as u64)
        .string("store", app.store.kind())
        .number("uptimeS", app.started.elapsed().as_secs());
    Ok(answer::json(StatusCode::OK, object.end()))
}

/// `GET /healthz`: this process answers, and says what it is.
pub(super) fn health() -> Response {
    let mut object = Object::new();
    object
        .string("status", "ok")
        .string("version", env!("CARGO_PKG_VERSION"))
        .string("componentSha256", COMPONENT_SHA256);
    answer::json(StatusCode::OK, object.end())
}

/// `GET /readyz`: requests may come. Errors: 503 `store_unavailable`, `shutting_down`.
pub(super) async fn ready(app: &App) -> Result<Response, Problem> {
    if app.shutdown.has_started() {
        let detail = "this server is about to stop: ask another one";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", detail).retry_after(1));
    }
    app.store.ready().await?;
    let mut object = Object::new();
    object.string("status", "ready").string("store", app.store.kind());
    Ok(answer::json(StatusCode::OK, object.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_list_survives_its_way_through_a_client() {
        let stream = StreamId::parse("a/b.~!").expect("it is valid");
        let job = Job {
            generation: 9,
            status: Status::Running,
            user_id: "u".into(),
            created_ms: 1789000000000,
            updated_ms: 0,
            settled_ms: None,
            head: 0,
            revision: 0,
            fields: vec![],
        };
        assert_eq!(token(&stream, &job), "1789000000000.612f622e7e21");
        assert_eq!(place(&token(&stream, &job)), Some((1789000000000, stream)));
        for garbage in ["", ".", "1.", "1.6", "1.zz", "x.61", "1.20", "1.6é"] {
            assert_eq!(place(garbage), None, "{garbage}");
        }
    }
}
