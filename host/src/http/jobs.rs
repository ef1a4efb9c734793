//! Jobs: the commands on a stream that are one short request each. What they mean, the component decides.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{self, Object};
use super::query::invalid;
use super::{Problem, Query, Request, Response, admitted, body, theirs};
use crate::app::App;
use crate::auth::{Identity, Scope};
use crate::engine::{Failure, Refusal};
use crate::types::{Job, Status, StreamId, now_ms};

/// Bytes of an `Idempotency-Key`.
const KEY_BYTES_MAX: usize = 256;
/// The longest retention that a request may ask for: one day.
const RETENTION_S_MAX: u64 = 86_400;
/// What present subscribers get to read the end of a job that is to be forgotten at once.
const FAREWELL_MS: u64 = 2000;

/// The owner of what is about to be created, where it is not the body that says so. Errors: 403 `forbidden`.
fn owner<'a>(identity: &'a Identity, text: &str) -> Result<Option<&'a str>, Problem> {
    // As the component reads it: the last of two members counts, and what is no text it refuses by itself.
    let members: HashMap<String, &RawValue> = body::parse(text)?;
    let named = members.get("userId").and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    match (identity.user(), named) {
        (Some(user), Some(named)) if *user != named => {
            let detail = "userId is not the access token's `sub`: leave it out, or create it with a token of that user";
            Err(Problem::forbidden("forbidden", detail))
        }
        (Some(user), _) => Ok(Some(user)),
        (None, Some(_)) => Ok(None),
        (None, None) => Ok(identity.subject()),
    }
}

/// `POST /v1/streams/{id}`: 201 for a new generation, 200 for a repeated key.
pub(super) async fn create(app: &Arc<App>, stream: &StreamId, request: &mut Request) -> Result<Response, Problem> {
    let text = body::command(app, request).await?;
    let key = body::header(request.headers(), "idempotency-key", KEY_BYTES_MAX)?;
    let identity = admitted::identity(request);
    let (made, job) = app.sessions.create(stream, owner(&identity, &text)?, key, &text).await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer::job_changed(status, stream, &job))
}

/// `HEAD` of anything below a stream: whether it exists.
pub(super) async fn exists(app: &App, stream: &StreamId, request: &Request) -> Result<Response, Problem> {
    known(app, stream, &admitted::identity(request)).await.map(|_| answer::json(StatusCode::OK, ""))
}

async fn known(app: &App, stream: &StreamId, identity: &Identity) -> Result<Job, Problem> {
    app.job(stream).await?.filter(|job| identity.sees(&job.user_id)).ok_or_else(Problem::not_found)
}

/// `GET /v1/streams/{id}`: with `?content=false` only the row, which opens no session.
pub(super) async fn read(app: &Arc<App>, stream: &StreamId, request: &Request) -> Result<Response, Problem> {
    let (query, identity) = (Query::of(request.uri())?, admitted::identity(request));
    let mut job = known(app, stream, &identity).await?;
    let (mut at, mut parts) = (job.cursor(), None);
    if query.flag("content")?.unwrap_or(true) {
        let content = theirs::source(app, identity).content(stream).await?;
        (job, at, parts) = (content.job, content.at, Some(content.parts));
    }
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
    Ok(answer::of_generation(job.generation, answer::json(StatusCode::OK, object.end())))
}

/// `PATCH /v1/streams/{id}`: metadata.
pub(super) async fn update(app: &App, stream: &StreamId, request: &mut Request) -> Result<Response, Problem> {
    let text = body::command(app, request).await?;
    let job = app.sessions.update(stream, admitted::Fence::of(request).bind(None)?, &text).await?;
    Ok(answer::job_changed(StatusCode::OK, stream, &job))
}

/// `DELETE /v1/streams/{id}`: aborts an active job, then forgets it all.
pub(super) async fn delete(app: &App, stream: &StreamId, request: &Request) -> Result<Response, Problem> {
    let job = known(app, stream, &admitted::identity(request)).await?;
    if !job.status.is_terminal() {
        match app.sessions.abort(stream, Some(job.generation)).await {
            // Somebody else ended it, or its content cannot be had any more: it goes all the same.
            Ok(_) | Err(Failure::Refused(_) | Failure::Trapped(_) | Failure::LimitExceeded(_)) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    if !app.sessions.remove(stream, job.generation).await?
        && let Some(newer) = app.store.job(stream).await?
    {
        return Err(Failure::Refused(Refusal::GenerationReplaced(newer.generation)).into());
    }
    app.sessions.forget(stream);
    app.hub.gone(stream, job.generation);
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
pub(super) async fn complete(app: &App, stream: &StreamId, request: &mut Request) -> Result<Response, Problem> {
    let end = End::of(request)?;
    let text = body::command(app, request).await?;
    let command: Complete<'_> = body::parse(&text)?;
    let generation = admitted::Fence::of(request).bind(command.generation.or(end.generation))?;
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
pub(super) async fn abort(app: &App, stream: &StreamId, request: &mut Request) -> Result<Response, Problem> {
    let end = End::of(request)?;
    let text = body::command(app, request).await?;
    let command: Abort = body::parse(&text)?;
    let generation = admitted::Fence::of(request).bind(command.generation.or(end.generation))?;
    let aborted = app.sessions.abort(stream, generation).await.map_err(|failure| match failure {
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
    Ok(answer::of_generation(aborted.job.generation, answer::json(StatusCode::OK, object.end())))
}

/// What the query says about the end of a generation: which one, and how long it stays readable.
struct End {
    generation: Option<u64>,
    retention_s: Option<u64>,
}

impl End {
    fn of(request: &Request) -> Result<Self, Problem> {
        let query = Query::of(request.uri())?;
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
        if let Err(error) = app.patience().ask(|| app.store.expire_at(stream, job.generation, expires_ms)).await {
            tracing::warn!(%stream, %error, "the generation stays readable for the usual time");
        }
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
pub(super) async fn action(app: &App, stream: &StreamId, request: &mut Request) -> Result<Response, Problem> {
    let fence = Query::of(request.uri())?.number("generation")?;
    let text = body::command(app, request).await?;
    let command: Action<'_> = body::parse(&text)?;
    let generation = admitted::Fence::of(request).bind(command.generation.or(fence))?;
    if command.kind == "request" && !admitted::identity(request).may(Scope::Produce) {
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
pub(super) async fn resume(app: &Arc<App>, stream: &StreamId, request: &Request) -> Result<Response, Problem> {
    let identity = admitted::identity(request);
    // A session may outlive its stream by some seconds: the store says what exists.
    known(app, stream, &identity).await?;
    let snapshot = theirs::source(app, identity).snapshot(stream).await?;
    let mut object = Object::new();
    object.string("cursor", &snapshot.at.to_string()).number("generation", snapshot.at.generation);
    let json = object.members_of(&snapshot.state).end();
    Ok(answer::of_generation(snapshot.at.generation, answer::json(StatusCode::OK, json)))
}
