//! A request in the words of the `http` crate.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use super::Problem;
use crate::wasi::{Body, Head};

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
    pub(super) fn of(head: Head, body: Body) -> Result<Self, Problem> {
        let unreadable =
            |what: &str| Problem::bad_request("invalid_request_head", format!("the {what} cannot be read"));
        let method = head.method.parse::<Method>().map_err(|_| unreadable("method"))?;
        let uri = head.path.parse().map_err(|_| unreadable("path"))?;
        let mut headers = HeaderMap::new();
        let mut bytes = head.path.len();
        for (name, value) in head.headers {
            bytes += name.len() + value.len();
            let name: HeaderName = name.parse().map_err(|_| unreadable("headers"))?;
            headers.append(name, HeaderValue::from_bytes(&value).map_err(|_| unreadable("headers"))?);
        }
        if bytes > HEAD_BYTES_MAX {
            let detail = format!("the head of a request has at most {HEAD_BYTES_MAX} bytes: send less");
            return Err(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", detail));
        }
        // Some hosts name the host apart from the headers.
        if let Some(authority) = head.authority
            && let Ok(host) = HeaderValue::try_from(authority)
            && !headers.contains_key(http::header::HOST)
        {
            headers.insert(http::header::HOST, host);
        }
        Ok(Request { method, uri, headers, body })
    }
}
