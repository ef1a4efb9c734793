//! Jobs: the commands on a stream that are one short request each. What they mean, the core decides.

use std::borrow::Cow;

use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{self, Object};
use super::query::invalid;
use super::request::Request;
use super::{App, Problem, Query, Response, body};
use crate::auth::Scope;
use crate::engine::{Failure, Refusal};
use crate::types::{Job, Status, StreamId};
use crate::wake;
use crate::wasi::now_ms;

/// Bytes of an `Idempotency-Key`.
const KEY_BYTES_MAX: usize = 256;
/// The longest retention that a request may ask for: one day.
const RETENTION_S_MAX: u64 = 86_400;
/// What present subscribers get to read the end of a job that is to be forgotten at once.
const FAREWELL_MS: u64 = 2000;

/// `POST /v1/streams/{id}`: 201 for a new generation, 200 for a repeated key.
pub(super) async fn create(app: &App, stream: &StreamId, request: &Request) -> Result<Response, Problem> {
    let text = body::command(app, request).await?;
    let key = body::header(&request.headers, "idempotency-key", KEY_BYTES_MAX)?;
    let (made, job) = app.sessions.create(stream, key, &text).await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer::job_changed(status, stream, &job))
}

/// `HEAD` of anything below a stream: whether it exists.
pub(super) async fn exists(app: &App, stream: &StreamId) -> Result<Response, Problem> {
    known(app, stream).await.map(|_| answer::json(StatusCode::OK, ""))
}

/// The row of a stream. Errors: 404.
pub(super) async fn known(app: &App, stream: &StreamId) -> Result<Job, Problem> {
    app.sessions.job(stream).await?.ok_or_else(Problem::not_found)
}

/// `GET /v1/streams/{id}`: with `?content=false` only the row, which opens no session.
pub(super) async fn read(app: &App, stream: &StreamId, request: &Request) -> Result<Response, Problem> {
    let query = Query::of(&request.uri)?;
    let (job, at, parts) = if query.flag("content")?.unwrap_or(true) {
        let content = app.sessions.content(stream).await?;
        (content.job, content.at, Some(content.parts))
    } else {
        let job = known(app, stream).await?;
        let at = job.cursor();
        (job, at, None)
    };
    let mut object = Object::new();
    object
        .raw("job", &answer::job_json(stream, &job))
        .bool("active", !job.status.is_terminal())
        .string("status", job.status.as_str())
        .number("generation", job.generation)
        .string("cursor", &at.to_string());
    if let Some(parts) = parts {
        object.raw("content", &parts);
    }
    Ok(answer::json(StatusCode::OK, object.end()))
}

/// `PATCH /v1/streams/{id}`: metadata.
pub(super) async fn update(app: &App, stream: &StreamId, request: &Request) -> Result<Response, Problem> {
    let text = body::command(app, request).await?;
    let job = app.sessions.update(stream, &text).await?;
    Ok(answer::job_changed(StatusCode::OK, stream, &job))
}

/// `DELETE /v1/streams/{id}`: aborts an active job, then forgets it all.
pub(super) async fn delete(app: &App, stream: &StreamId) -> Result<Response, Problem> {
    let job = known(app, stream).await?;
    if !job.status.is_terminal() {
        match app.sessions.abort(stream, Some(job.generation)).await {
            // Somebody else ended it: it goes all the same.
            Ok(_) | Err(Failure::Refused(_)) => {}
            // What cannot be opened was ended by the attempt.
            Err(_) if known(app, stream).await?.status.is_terminal() => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    let store = &app.sessions.store;
    let removed = app.sessions.patiently(async || store.remove(stream, job.generation).await).await?;
    wake::written(stream);
    if !removed && let Some(newer) = app.sessions.job(stream).await? {
        return Err(Failure::Refused(Refusal::GenerationReplaced(newer.generation)).into());
    }
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Complete<'a> {
    #[serde(borrow)]
    final_event: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
    generation: Option<u64>,
}

/// `POST …/complete`: `complete`, or `error` when the body has one.
pub(super) async fn complete(app: &App, stream: &StreamId, request: &Request) -> Result<Response, Problem> {
    let end = End::of(request)?;
    let text = body::command(app, request).await?;
    let command: Complete<'_> = body::parse(&text)?;
    let generation = command.generation.or(end.generation);
    let job = match (command.error, command.final_event) {
        (Some(_), Some(_)) => return Err(Problem::invalid_request("give finalEvent or error, not both")),
        (Some(reason), None) => app.sessions.fail(stream, generation, &reason).await?,
        (None, event) => app.sessions.complete(stream, generation, event.map(RawValue::get)).await?,
    };
    end.shorten(app, stream, &job).await;
    Ok(answer::job_changed(StatusCode::OK, stream, &job))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Abort {
    generation: Option<u64>,
}

/// `POST …/abort`: the winner gets everything there is.
pub(super) async fn abort(app: &App, stream: &StreamId, request: &Request) -> Result<Response, Problem> {
    let end = End::of(request)?;
    let text = body::command(app, request).await?;
    let command: Abort = body::parse(&text)?;
    let aborted = app.sessions.abort(stream, command.generation.or(end.generation)).await;
    let aborted = aborted.map_err(|failure| match failure {
        Failure::Refused(Refusal::NotActive(status)) => Problem::settled("already_settled", Status::from(status)),
        other => other.into(),
    })?;
    end.shorten(app, stream, &aborted.job).await;
    let mut object = Object::new();
    object
        .bool("success", true)
        .raw("job", &answer::job_json(stream, &aborted.job))
        .raw("content", &aborted.content)
        .raw("text", &aborted.text)
        .raw("finalEvent", &aborted.final_event);
    Ok(answer::json(StatusCode::OK, object.end()))
}

/// What the query says about the end of a generation: which one, and how long it stays readable.
struct End {
    generation: Option<u64>,
    retention_s: Option<u64>,
}

impl End {
    fn of(request: &Request) -> Result<Self, Problem> {
        let query = Query::of(&request.uri)?;
        let retention_s = query.number("retention")?;
        if retention_s.is_some_and(|seconds| seconds > RETENTION_S_MAX) {
            return Err(invalid("retention", "is at most 86400 seconds"));
        }
        Ok(End { generation: query.number("generation")?, retention_s })
    }

    /// Whoever has ended the generation is told so, whatever becomes of this.
    async fn shorten(&self, app: &App, stream: &StreamId, job: &Job) {
        let Some(seconds) = self.retention_s else { return };
        let expires_ms = now_ms() + (seconds * 1000).max(FAREWELL_MS);
        let store = &app.sessions.store;
        let _ = app.sessions.patiently(async || store.expire_at(stream, job.generation, expires_ms).await).await;
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Action<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    action: Option<&'a RawValue>,
    #[serde(borrow)]
    action_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    decision: Option<&'a RawValue>,
    generation: Option<u64>,
}

/// `POST …/action`: pauses for a person, or continues with the answer.
pub(super) async fn action(app: &App, stream: &StreamId, request: &Request, scope: Scope) -> Result<Response, Problem> {
    let fence = Query::of(&request.uri)?.number("generation")?;
    let text = body::command(app, request).await?;
    let command: Action<'_> = body::parse(&text)?;
    let generation = command.generation.or(fence);
    if command.kind == "request" && scope != Scope::Produce {
        return Err(Problem::insufficient_scope(&[Scope::Produce]));
    }
    let job = match (&*command.kind, command.action, command.action_id) {
        ("request", Some(action), None) => app.sessions.pause(stream, generation, action.get()).await?,
        ("resolve", None, Some(id)) => {
            let decision = command.decision.map_or("null", RawValue::get);
            app.sessions.resolve(stream, generation, &id, decision).await?
        }
        _ => {
            let shapes = r#"{"type":"request","action":{…}} or {"type":"resolve","actionId":"…","decision":…}"#;
            return Err(Problem::invalid_request(format!("an action is {shapes}")));
        }
    };
    Ok(answer::job_changed(StatusCode::OK, stream, &job))
}

/// `GET …/resume`: the whole state, and the cursor it covers.
pub(super) async fn resume(app: &App, stream: &StreamId) -> Result<Response, Problem> {
    let snapshot = app.sessions.snapshot(stream).await?;
    let mut object = Object::new();
    object.string("cursor", &snapshot.at.to_string()).number("generation", snapshot.at.generation);
    let json = object.members_of(&snapshot.state).end();
    Ok(answer::json(StatusCode::OK, json))
}
