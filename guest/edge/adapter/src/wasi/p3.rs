//! `wasi:http` 0.3: what takes time is a future, and the host calls this instance for other requests meanwhile.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::future::{Either, pending, poll_immediate, select};
use http::{HeaderMap, StatusCode};
use wit_bindgen::{
    FutureReader, FutureWriter, StreamReader, StreamResult, StreamWriter, backpressure_dec, backpressure_inc,
    spawn_local,
};

use super::{Gone, Head, Read, method_text, nanoseconds};
use crate::bindings::exports::wasi::http0_3_0::handler::Guest;
pub(crate) use crate::bindings::wasi::cli0_3_0::environment::get_environment;
use crate::bindings::wasi::clocks0_3_0::{monotonic_clock, system_clock};
use crate::bindings::wasi::http0_3_0::client;
use crate::bindings::wasi::http0_3_0::types::{
    ErrorCode, Fields, Method, Request, RequestOptions, Response, Scheme, Trailers,
};
pub(crate) use crate::bindings::wasi::random0_3_0::random::get_random_u64;
use crate::bindings::{wit_future, wit_stream};
use crate::clock::Deadline;
use crate::config::Endpoint;

/// What the export hangs on.
pub(crate) struct Adapter;

impl Guest for Adapter {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let head = Head {
            method: method_text!(request.get_method(), Method),
            path: request.get_path_with_query().unwrap_or_else(|| "/".to_owned()),
            authority: request.get_authority(),
            headers: request.get_headers().copy_all(),
        };
        let (stream, trailers) = Request::consume_body(request, wit_future::new(|| Ok(())).1);
        let answer = crate::http::answer(head, Body::of(stream, trailers)).await;
        let (out, response) = Out::begin(answer.status, &answer.headers);
        spawn_local(answer.send(out));
        Ok(response)
    }
}

/// All requests of an instance share 4 GiB: so many bodies and states have room, each a few times REJOIN_LOG_BYTES_MAX.
const HELD_MAX: usize = 16;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// A body or a state in memory. While there are [`HELD_MAX`] of them the host brings no new request to this instance;
/// those that are here go on, so nobody waits for itself.
pub(crate) struct Held(());

impl Held {
    pub(crate) fn take() -> Self {
        let count = HELD.get() + 1;
        HELD.set(count);
        if count == HELD_MAX {
            backpressure_inc();
        }
        Held(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let count = HELD.get();
        HELD.set(count - 1);
        if count == HELD_MAX {
            backpressure_dec();
        }
    }
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let now = system_clock::now();
    let seconds = u64::try_from(now.seconds).unwrap_or_default();
    seconds.saturating_mul(1000).saturating_add(u64::from(now.nanoseconds / 1_000_000))
}

/// Of a clock that only goes on.
pub(crate) fn now_ns() -> u64 {
    monotonic_clock::now()
}

/// Waits.
pub(crate) async fn sleep(time: Duration) {
    monotonic_clock::wait_for(nanoseconds(time)).await;
}

/// The outcome of `event`; none when the deadline has come first.
async fn within<T>(deadline: Deadline, event: impl Future<Output = T>) -> Option<T> {
    match select(pin!(event), pin!(sleep(deadline.left()))).await {
        Either::Left((outcome, _)) => Some(outcome),
        Either::Right(_) => None,
    }
}

/// A body that is there, with what tells at its end whether it was whole.
type Incoming = (StreamReader<u8>, FutureReader<Result<Option<Trailers>, ErrorCode>>);
/// One read, and where the next one begins; none after the last.
type Reading = Pin<Box<dyn Future<Output = (Read, Option<Incoming>)>>>;

/// What comes after a head.
pub(crate) struct Body {
    /// Kept when the deadline comes first: a read that is given up may lose what it has read.
    reading: Cell<Option<Reading>>,
}

impl Body {
    fn of(stream: StreamReader<u8>, trailers: FutureReader<Result<Option<Trailers>, ErrorCode>>) -> Self {
        Body { reading: Cell::new(Some(Box::pin(read((stream, trailers))))) }
    }

    /// The next bytes, as many as are there.
    pub(crate) async fn next(&self, deadline: Deadline) -> Read {
        let Some(mut reading) = self.reading.take() else { return Read::End };
        let outcome = within(deadline, &mut reading).await;
        self.keep(outcome, reading)
    }

    /// The bytes that are there already: `Late` when there are none now.
    pub(crate) async fn ready(&self) -> Read {
        let Some(mut reading) = self.reading.take() else { return Read::End };
        let outcome = poll_immediate(&mut reading).await;
        self.keep(outcome, reading)
    }

    fn keep(&self, outcome: Option<(Read, Option<Incoming>)>, reading: Reading) -> Read {
        let Some((read_now, rest)) = outcome else {
            self.reading.set(Some(reading));
            return Read::Late;
        };
        self.reading.set(rest.map(|rest| -> Reading { Box::pin(read(rest)) }));
        read_now
    }
}

async fn read((mut stream, trailers): Incoming) -> (Read, Option<Incoming>) {
    loop {
        match stream.read(Vec::with_capacity(64 * 1024)).await {
            (StreamResult::Complete(_), bytes) if bytes.is_empty() => {}
            (StreamResult::Complete(_), bytes) => return (Read::Bytes(bytes), Some((stream, trailers))),
            (StreamResult::Dropped | StreamResult::Cancelled, _) => {
                let whole = trailers.await.is_ok();
                return (if whole { Read::End } else { Read::BrokeOff }, None);
            }
        }
    }
}

/// An answer on its way.
pub(crate) struct Out {
    stream: StreamWriter<u8>,
    /// Dropped before it is written to, it says that something went wrong.
    trailers: FutureWriter<Result<Option<Trailers>, ErrorCode>>,
}

impl Out {
    fn begin(status: StatusCode, headers: &HeaderMap) -> (Self, Response) {
        let list: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
        // A header that this host keeps for itself is none that an answer must have.
        let fields = Fields::from_list(&list).unwrap_or_else(|_| Fields::new());
        let (stream, contents) = wit_stream::new();
        let (trailers, ends) = wit_future::new(|| Err(ErrorCode::HttpResponseIncomplete));
        let (response, _sent) = Response::new(fields, Some(contents), ends);
        // The statuses of this house are all ones that HTTP knows.
        let _ = response.set_status_code(status.as_u16());
        (Out { stream, trailers }, response)
    }

    /// Writes all of it.
    pub(crate) async fn write(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), Gone> {
        if bytes.is_empty() {
            return Ok(());
        }
        let left = within(deadline, self.stream.write_all(bytes.to_vec())).await;
        left.filter(Vec::is_empty).map(drop).ok_or(Gone)
    }

    /// This host tells it at the next write.
    pub(crate) fn check(&self) -> Result<(), Gone> {
        Ok(())
    }

    /// Ends it. Dropped unfinished it tells the client that something went wrong.
    pub(crate) async fn finish(self, deadline: Deadline) {
        drop(self.stream);
        let _ = within(deadline, self.trailers.write(Ok(None))).await;
    }
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
    let options = RequestOptions::new();
    // Not every host knows them: the deadline holds anyway.
    let _ = options.set_connect_timeout(Some(nanoseconds(deadline.left())));
    let _ = options.set_first_byte_timeout(Some(nanoseconds(deadline.left())));
    let (mut stream, contents) = wit_stream::new();
    // Cut off by the deadline it must not pass for whole.
    let (whole, ends) = wit_future::new(|| Err(ErrorCode::HttpRequestBodySize(None)));
    let (request, _sent) = Request::new(headers, Some(contents), ends, Some(options));
    let scheme = if endpoint.is_https { Scheme::Https } else { Scheme::Http };
    request.set_method(&Method::Post).map_err(|()| refused("method"))?;
    request.set_scheme(Some(&scheme)).map_err(|()| refused("scheme"))?;
    request.set_authority(Some(&endpoint.authority)).map_err(|()| refused("authority"))?;
    request.set_path_with_query(Some(&endpoint.path)).map_err(|()| refused("path"))?;
    // The host takes the body while it waits for the answer; what it does not take, its answer explains.
    let upload = async move {
        let left = stream.write_all(body.to_vec()).await;
        drop(stream);
        if left.is_empty() {
            let _ = whole.write(Ok(None)).await;
        }
        pending::<()>().await;
    };
    let (upload, call) = (pin!(upload), pin!(client::send(request)));
    match within(deadline, select(upload, call)).await {
        Some(Either::Right((Ok(response), _))) => {
            let status = response.get_status_code();
            let (stream, trailers) = Response::consume_body(response, wit_future::new(|| Ok(())).1);
            Ok((status, Body::of(stream, trailers)))
        }
        Some(Either::Right((Err(error), _))) => Err(error.to_string()),
        Some(Either::Left(_)) => unreachable!("the upload never ends"),
        None => Err("no answer in time".to_owned()),
    }
}
