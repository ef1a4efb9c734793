//! Whole answers: a status, its headers, a body.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Empty, Full};

pub use super::json::{Object, job_json};
use super::line::Generation;
use super::{Body, Response};
use crate::types::{Job, StreamId};

/// A body of this type. Nothing that is answered here may be kept by a cache.
pub fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A JSON body.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response {
    text(status, "application/json", body)
}

/// No body.
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.status_mut() = status;
    response
}

/// The same headers without the body: the answer to HEAD.
pub fn head_of(mut response: Response) -> Response {
    if let Some(bytes) = response.body().size_hint().exact().filter(|bytes| *bytes > 0) {
        response.headers_mut().insert(CONTENT_LENGTH, bytes.into());
    }
    response.map(|_| Empty::new().boxed_unsync())
}

fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).boxed_unsync()
}

/// `{"job":{…},"generation":n,"streamId":"…"}`: what every command that changes a job answers.
pub fn job_changed(status: StatusCode, stream: &StreamId, job: &Job) -> Response {
    let mut object = Object::new();
    object.raw("job", &job_json(stream, job)).number("generation", job.generation).string("streamId", stream.as_str());
    of_generation(job.generation, json(status, object.end()))
}

/// Tells the request's line in the log what the answer is about.
pub(super) fn of_generation(generation: u64, mut response: Response) -> Response {
    response.extensions_mut().insert(Generation(generation));
    response
}
