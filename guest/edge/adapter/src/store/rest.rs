//! One command, one HTTP request. Everything is waited for until one point in time.

use std::time::Duration;

use serde_json::Value;

use super::StoreError;
use super::dialect::{self, Failed};
use crate::bindings::wasi::http::outgoing_handler::handle;
use crate::bindings::wasi::http::types::{
    Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};
use crate::bindings::wasi::io::streams::{InputStream, OutputStream, StreamError};
use crate::clock::{Deadline, nanoseconds};
use crate::config::Endpoint;

/// One request: a store that takes longer is asked again.
const REQUEST_MAX: Duration = Duration::from_secs(5);
/// Bytes of an answer. A page of the log is asked for by size, but holds one append at least.
const ANSWER_BYTES_MAX: usize = 96 * 1024 * 1024;

/// What became of a command.
pub(super) enum Answer {
    /// It was carried out.
    Value(Value),
    /// Redis refused it: what it said.
    Refused(String),
}

/// Sends one command. Errors: whether it was carried out is not known.
pub(super) fn command(endpoint: &Endpoint, words: &[&str]) -> Result<Answer, StoreError> {
    let (status, body) = exchange(endpoint, words).map_err(StoreError::Unavailable)?;
    match dialect::decode(endpoint.dialect, words.first().copied().unwrap_or_default(), &body) {
        Ok(value) if status == 200 => Ok(Answer::Value(value)),
        Err(Failed::Refused(said)) if status < 500 => Ok(Answer::Refused(said)),
        Ok(_) | Err(Failed::Refused(_)) => Err(StoreError::Unavailable(format!("the REST endpoint answers {status}"))),
        Err(Failed::Unreadable(why)) if status == 200 => Err(StoreError::Unavailable(why.to_owned())),
        Err(Failed::Unreadable(_)) => Err(StoreError::Unavailable(format!("the REST endpoint answers {status}"))),
    }
}

fn exchange(endpoint: &Endpoint, words: &[&str]) -> Result<(u16, Vec<u8>), String> {
    let deadline = Deadline::after(REQUEST_MAX);
    let (content_type, text) = dialect::encode(endpoint.dialect, words);
    let late = || format!("no answer in {REQUEST_MAX:?}");
    let future = send(endpoint, content_type, text.as_bytes(), deadline)?;
    let response = loop {
        match future.get() {
            Some(Ok(Ok(response))) => break response,
            Some(Ok(Err(error))) => return Err(error.to_string()),
            Some(Err(())) => return Err("an answer was taken twice".to_owned()),
            None if !deadline.wait(&future.subscribe()) => return Err(late()),
            None => {}
        }
    };
    let status = response.status();
    read(&response, deadline).map(|body| (status, body))
}

fn send(
    endpoint: &Endpoint,
    content_type: &str,
    body: &[u8],
    deadline: Deadline,
) -> Result<FutureIncomingResponse, String> {
    let refused = |what: &str| format!("this host refuses the {what} of a request to REJOIN_REST_URL");
    let mut headers = vec![
        ("content-type".to_owned(), content_type.as_bytes().to_vec()),
        ("content-length".to_owned(), body.len().to_string().into_bytes()),
    ];
    if let Some(token) = &endpoint.token {
        headers.push(("authorization".to_owned(), format!("Bearer {}", token.0).into_bytes()));
    }
    let headers = Fields::from_list(&headers).map_err(|_| refused("headers"))?;
    let request = OutgoingRequest::new(headers);
    let scheme = if endpoint.is_https { Scheme::Https } else { Scheme::Http };
    request.set_method(&Method::Post).map_err(|()| refused("method"))?;
    request.set_scheme(Some(&scheme)).map_err(|()| refused("scheme"))?;
    request.set_authority(Some(&endpoint.authority)).map_err(|()| refused("authority"))?;
    request.set_path_with_query(Some(&endpoint.path)).map_err(|()| refused("path"))?;
    let outgoing = request.body().map_err(|()| refused("body"))?;
    let options = RequestOptions::new();
    // Not every host knows them: the deadline holds anyway.
    let _ = options.set_connect_timeout(Some(nanoseconds(REQUEST_MAX)));
    let _ = options.set_first_byte_timeout(Some(nanoseconds(REQUEST_MAX)));
    let future = handle(request, Some(options)).map_err(|error| error.to_string())?;
    let stream = outgoing.write().map_err(|()| refused("body"))?;
    write(&stream, body, deadline).map_err(|_| "the REST endpoint took no request".to_owned())?;
    drop(stream);
    OutgoingBody::finish(outgoing, None).map_err(|error| error.to_string())?;
    Ok(future)
}

/// Whoever was written to takes no more, or not in time.
#[derive(Debug)]
pub(crate) struct Gone;

/// Writes as much as there is room for, then waits for more room.
pub(crate) fn write(stream: &OutputStream, mut bytes: &[u8], deadline: Deadline) -> Result<(), Gone> {
    while !bytes.is_empty() {
        match stream.check_write() {
            Err(_) => return Err(Gone),
            Ok(0) => {
                if !deadline.wait(&stream.subscribe()) {
                    return Err(Gone);
                }
            }
            Ok(room) => {
                let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
                stream.write(now).map_err(|_| Gone)?;
                bytes = later;
            }
        }
    }
    stream.flush().map_err(|_| Gone)
}

fn read(response: &IncomingResponse, deadline: Deadline) -> Result<Vec<u8>, String> {
    let taken = |()| "an answer was taken twice".to_owned();
    let body = response.consume().map_err(taken)?;
    let stream = body.stream().map_err(taken)?;
    let mut bytes = Vec::new();
    loop {
        match read_some(&stream, deadline) {
            Read::Bytes(more) if bytes.len() + more.len() > ANSWER_BYTES_MAX => {
                return Err(format!("an answer has more than {ANSWER_BYTES_MAX} bytes"));
            }
            Read::Bytes(more) => bytes.extend_from_slice(&more),
            Read::End => return Ok(bytes),
            Read::BrokeOff => return Err("the answer broke off".to_owned()),
            Read::Late => return Err(format!("no answer in {REQUEST_MAX:?}")),
        }
    }
}

/// What came of a stream.
pub(crate) enum Read {
    /// At least one.
    Bytes(Vec<u8>),
    /// No more come.
    End,
    /// It failed.
    BrokeOff,
    /// Nothing came in time.
    Late,
}

/// The next bytes, as many as are there.
pub(crate) fn read_some(stream: &InputStream, deadline: Deadline) -> Read {
    loop {
        match stream.read(64 * 1024) {
            Ok(bytes) if bytes.is_empty() => {
                if !deadline.wait(&stream.subscribe()) {
                    return Read::Late;
                }
            }
            Ok(bytes) => return Read::Bytes(bytes),
            Err(StreamError::Closed) => return Read::End,
            Err(StreamError::LastOperationFailed(_)) => return Read::BrokeOff,
        }
    }
}
