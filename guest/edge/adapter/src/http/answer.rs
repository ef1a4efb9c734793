//! Whole answers: a status, its headers, a body. And how they leave.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::Response;
pub(super) use super::json::{Object, job_json};
use super::live::Live;
use crate::bindings::wasi::http::types::{Fields, OutgoingBody, OutgoingResponse, ResponseOutparam};
use crate::clock::Deadline;
use crate::store::write;
use crate::types::{Job, StreamId};

/// A client that does not take a whole answer is given up after this.
const TAKE_MAX: Duration = Duration::from_secs(60);

/// What a request is answered with.
pub(super) enum Reply {
    /// Everything at once.
    Whole(Response),
    /// A response that goes on.
    Live(Box<Live>),
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Reply::Whole(response)
    }
}

/// A body of this type. Nothing that is answered here may be kept by a cache.
pub(super) fn text(status: StatusCode, content_type: &'static str, body: impl Into<String>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A JSON body.
pub(super) fn json(status: StatusCode, body: impl Into<String>) -> Response {
    text(status, "application/json", body)
}

/// No body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(String::new());
    *response.status_mut() = status;
    response
}

/// `{"job":{…},"generation":n,"streamId":"…"}`: what every command that changes a job answers.
pub(super) fn job_changed(status: StatusCode, stream: &StreamId, job: &Job) -> Response {
    let mut object = Object::new();
    object.raw("job", &job_json(stream, job)).number("generation", job.generation).string("streamId", stream.as_str());
    json(status, object.end())
}

/// Head and body of an answer on its way; none when the host does not take it.
pub(super) fn begin(status: StatusCode, headers: &HeaderMap, outparam: ResponseOutparam) -> Option<OutgoingBody> {
    let list: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    // A header that this host keeps for itself is none that an answer must have.
    let fields = Fields::from_list(&list).unwrap_or_else(|_| Fields::new());
    let response = OutgoingResponse::new(fields);
    response.set_status_code(status.as_u16()).ok()?;
    let body = response.body().ok()?;
    ResponseOutparam::set(outparam, Ok(response));
    Some(body)
}

/// Sends a whole answer. Nobody is told when the client has left.
pub(super) fn send(response: Response, outparam: ResponseOutparam) {
    let Some(body) = begin(response.status(), response.headers(), outparam) else { return };
    if let Ok(stream) = body.write()
        && write(&stream, response.body().as_bytes(), Deadline::after(TAKE_MAX)).is_err()
    {
        return;
    }
    let _ = OutgoingBody::finish(body, None);
}
