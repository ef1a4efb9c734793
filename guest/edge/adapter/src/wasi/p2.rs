//! `wasi:http` 0.2: every call returns when it has its answer, so a future of this adapter is ready when it is first polled.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::{Gone, Head, Read, method_text, nanoseconds};
use crate::bindings::exports::wasi::http0_2_12::incoming_handler::Guest;
pub(crate) use crate::bindings::wasi::cli0_2_12::environment::get_environment;
use crate::bindings::wasi::clocks0_2_12::{monotonic_clock, wall_clock};
use crate::bindings::wasi::http0_2_12::outgoing_handler::handle;
use crate::bindings::wasi::http0_2_12::types::{
    Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingRequest, OutgoingResponse, RequestOptions,
    ResponseOutparam, Scheme,
};
use crate::bindings::wasi::io::poll::{Pollable, poll};
use crate::bindings::wasi::io::streams::{InputStream, OutputStream, StreamError};
pub(crate) use crate::bindings::wasi::random0_2_12::random::get_random_u64;
use crate::clock::Deadline;
use crate::config::Endpoint;

/// What the export hangs on.
pub(crate) struct Adapter;

impl Guest for Adapter {
    fn handle(request: IncomingRequest, response: ResponseOutparam) {
        let head = Head {
            method: method_text!(request.method(), Method),
            path: request.path_with_query().unwrap_or_else(|| "/".to_owned()),
            authority: request.authority(),
            headers: request.headers().entries(),
        };
        let body = request.consume().expect("the body of a request is there the first time");
        let answered = pin!(async {
            let answer = crate::http::answer(head, Body::of(body)).await;
            if let Some(out) = Out::begin(answer.status, &answer.headers, response) {
                answer.send(out).await;
            }
        });
        match answered.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(()) => {}
            Poll::Pending => unreachable!("what is awaited here waits by itself"),
        }
    }
}

/// A body or a state in memory: here nobody else's is.
pub(crate) struct Held;

impl Held {
    pub(crate) fn take() -> Self {
        Held
    }
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let now = wall_clock::now();
    now.seconds.saturating_mul(1000).saturating_add(u64::from(now.nanoseconds / 1_000_000))
}

/// Of a clock that only goes on.
pub(crate) fn now_ns() -> u64 {
    monotonic_clock::now()
}

/// Waits.
pub(crate) async fn sleep(time: Duration) {
    monotonic_clock::subscribe_duration(nanoseconds(time)).block();
}

/// Waits for `event`. False: the deadline has come first.
fn wait(event: &Pollable, deadline: Deadline) -> bool {
    let end = monotonic_clock::subscribe_duration(nanoseconds(deadline.left()));
    poll(&[event, &end]).contains(&0)
}

/// What comes after a head.
pub(crate) struct Body {
    // Dropped before what it is a part of.
    stream: InputStream,
    _whole: IncomingBody,
}

impl Body {
    fn of(whole: IncomingBody) -> Self {
        let stream = whole.stream().expect("the stream of a body is there the first time");
        Body { stream, _whole: whole }
    }

    /// The next bytes, as many as are there.
    pub(crate) async fn next(&self, deadline: Deadline) -> Read {
        loop {
            match self.stream.read(64 * 1024) {
                Ok(bytes) if bytes.is_empty() => {
                    if !wait(&self.stream.subscribe(), deadline) {
                        return Read::Late;
                    }
                }
                Ok(bytes) => return Read::Bytes(bytes),
                Err(StreamError::Closed) => return Read::End,
                Err(StreamError::LastOperationFailed(_)) => return Read::BrokeOff,
            }
        }
    }

    /// The bytes that are there already: `Late` when there are none now. A host tells only once that a body broke off,
    /// so its answer must not be passed over here.
    pub(crate) async fn ready(&self) -> Read {
        self.next(Deadline::after(Duration::ZERO)).await
    }
}

/// An answer on its way.
pub(crate) struct Out {
    // Dropped before what it is a part of.
    stream: OutputStream,
    body: OutgoingBody,
}

impl Out {
    /// None when the host does not take it.
    fn begin(status: StatusCode, headers: &HeaderMap, outparam: ResponseOutparam) -> Option<Self> {
        let list: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
        // A header that this host keeps for itself is none that an answer must have.
        let fields = Fields::from_list(&list).unwrap_or_else(|_| Fields::new());
        let response = OutgoingResponse::new(fields);
        response.set_status_code(status.as_u16()).ok()?;
        let body = response.body().ok()?;
        ResponseOutparam::set(outparam, Ok(response));
        Some(Out { stream: body.write().ok()?, body })
    }

    /// Writes all of it.
    pub(crate) async fn write(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), Gone> {
        write(&self.stream, bytes, deadline)
    }

    /// Whether the client is still there, as far as this host tells.
    pub(crate) fn check(&self) -> Result<(), Gone> {
        self.stream.check_write().map(drop).map_err(|_| Gone)
    }

    /// Ends it. Dropped unfinished it tells the client that something went wrong.
    pub(crate) async fn finish(self, _deadline: Deadline) {
        drop(self.stream);
        let _ = OutgoingBody::finish(self.body, None);
    }
}

/// Writes as much as there is room for, then waits for more room.
fn write(stream: &OutputStream, mut bytes: &[u8], deadline: Deadline) -> Result<(), Gone> {
    while !bytes.is_empty() {
        match stream.check_write() {
            Err(_) => return Err(Gone),
            Ok(0) => {
                if !wait(&stream.subscribe(), deadline) {
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

/// Sends a request and waits for the head of its answer.
pub(crate) async fn exchange(
    endpoint: &Endpoint,
    headers: &[(String, Vec<u8>)],
    body: &[u8],
    deadline: Deadline,
) -> Result<(u16, Body), String> {
    let refused = |what: &str| format!("this host refuses the {what} of a request to REJOIN_REST_URL");
    let headers = Fields::from_list(headers).map_err(|_| refused("headers"))?;
    let request = OutgoingRequest::new(headers);
    let scheme = if endpoint.is_https { Scheme::Https } else { Scheme::Http };
    request.set_method(&Method::Post).map_err(|()| refused("method"))?;
    request.set_scheme(Some(&scheme)).map_err(|()| refused("scheme"))?;
    request.set_authority(Some(&endpoint.authority)).map_err(|()| refused("authority"))?;
    request.set_path_with_query(Some(&endpoint.path)).map_err(|()| refused("path"))?;
    let outgoing = request.body().map_err(|()| refused("body"))?;
    let options = RequestOptions::new();
    // Not every host knows them: the deadline holds anyway.
    let _ = options.set_connect_timeout(Some(nanoseconds(deadline.left())));
    let _ = options.set_first_byte_timeout(Some(nanoseconds(deadline.left())));
    let future = handle(request, Some(options)).map_err(|error| error.to_string())?;
    let stream = outgoing.write().map_err(|()| refused("body"))?;
    // This host closes the stream as soon as it has all of it, and when the answer comes before: both may be told here as
    // if nobody took it, so what became of the request its answer says.
    let _ = write(&stream, body, deadline);
    drop(stream);
    // Cut off by the deadline it is not whole, and the host, which knows its length, does not let it pass for that.
    let _ = OutgoingBody::finish(outgoing, None);
    loop {
        match future.get() {
            Some(Ok(Ok(response))) => {
                let body = response.consume().expect("the body of an answer is there the first time");
                return Ok((response.status(), Body::of(body)));
            }
            Some(Ok(Err(error))) => return Err(error.to_string()),
            Some(Err(())) => return Err("an answer was taken twice".to_owned()),
            None if !wait(&future.subscribe(), deadline) => return Err("no answer in time".to_owned()),
            None => {}
        }
    }
}
