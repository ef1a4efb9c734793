//! Whole answers: a status, its headers, a body.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::Response;
pub(super) use super::json::{Object, job_json};
use super::live::Live;
use crate::types::{Job, StreamId};

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
