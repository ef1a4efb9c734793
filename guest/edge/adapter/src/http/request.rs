//! A request as `wasi:http` gives it, in the words of the `http` crate.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use super::Problem;
use crate::bindings::wasi::http::types::{IncomingBody, IncomingRequest, Method as WasiMethod};
use crate::bindings::wasi::io::streams::InputStream;
use crate::clock::Deadline;
use crate::store::{Read, read_some};

/// Bytes of all headers together.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// One request.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

impl Request {
    /// Errors: 400 for what cannot be read, 431.
    pub(super) fn of(incoming: &IncomingRequest) -> Result<Self, Problem> {
        let unreadable =
            |what: &str| Problem::bad_request("invalid_request_head", format!("the {what} cannot be read"));
        let method = match incoming.method() {
            WasiMethod::Get => Method::GET,
            WasiMethod::Head => Method::HEAD,
            WasiMethod::Post => Method::POST,
            WasiMethod::Put => Method::PUT,
            WasiMethod::Delete => Method::DELETE,
            WasiMethod::Connect => Method::CONNECT,
            WasiMethod::Options => Method::OPTIONS,
            WasiMethod::Trace => Method::TRACE,
            WasiMethod::Patch => Method::PATCH,
            WasiMethod::Other(name) => name.parse().map_err(|_| unreadable("method"))?,
        };
        let path = incoming.path_with_query().unwrap_or_else(|| "/".to_owned());
        let uri = path.parse().map_err(|_| unreadable("path"))?;
        let mut headers = HeaderMap::new();
        let mut bytes = path.len();
        for (name, value) in incoming.headers().entries() {
            bytes += name.len() + value.len();
            let name: HeaderName = name.parse().map_err(|_| unreadable("headers"))?;
            headers.append(name, HeaderValue::from_bytes(&value).map_err(|_| unreadable("headers"))?);
        }
        if bytes > HEAD_BYTES_MAX {
            let detail = format!("the head of a request has at most {HEAD_BYTES_MAX} bytes: send less");
            return Err(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", detail));
        }
        // Some hosts name the host apart from the headers.
        if let Some(authority) = incoming.authority()
            && let Ok(host) = HeaderValue::try_from(authority)
            && !headers.contains_key(http::header::HOST)
        {
            headers.insert(http::header::HOST, host);
        }
        let body = incoming.consume().map_err(|()| unreadable("body"))?;
        let stream = body.stream().map_err(|()| unreadable("body"))?;
        Ok(Request { method, uri, headers, body: Body { stream, _whole: body } })
    }
}

/// What comes after the head.
pub(super) struct Body {
    // Dropped before what it is a part of.
    stream: InputStream,
    _whole: IncomingBody,
}

impl Body {
    /// The next bytes.
    pub(super) fn next(&self, deadline: Deadline) -> Read {
        read_some(&self.stream, deadline)
    }

    /// The bytes that are there already: `Late` when there are none now. A host tells only once that a body broke off,
    /// so its answer must not be passed over here.
    pub(super) fn ready(&self) -> Read {
        read_some(&self.stream, Deadline::after(Duration::ZERO))
    }
}
