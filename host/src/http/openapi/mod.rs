//! The API document: `GET /openapi.json`, which a page of the inspector shows to people.
//!
//! It is written by hand, in `parts/`: the frame (`document.json`), the paths by tag, the schemas, and `problems.json`, the
//! one list of every error code. An operation there says `"problems": ["@stream", "409 not_active"]`: a name with `@` is a
//! set of that list; here each becomes what OpenAPI wants, a response with a schema, headers and examples.

mod join;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Response, answer, etag};

/// Joined once, when it is asked for first.
static DOCUMENT: LazyLock<Document> = LazyLock::new(|| {
    let json = join::document().to_string();
    Document { etag: etag::of(json.as_bytes()), json: json.into() }
});

struct Document {
    json: Bytes,
    etag: HeaderValue,
}

/// `GET /openapi.json`: 304 for who has it already.
pub(super) fn document(headers: &HeaderMap) -> Response {
    let document = &*DOCUMENT;
    let mut response = match etag::matches(headers, &document.etag) {
        true => answer::empty(StatusCode::NOT_MODIFIED),
        false => answer::json(StatusCode::OK, document.json.clone()),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response.headers_mut().insert(ETAG, document.etag.clone());
    response
}
