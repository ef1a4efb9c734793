//! One line in the log for each request, written when all of it is over: a live stream's comes at its end, and says how it
//! ended and what it brought.
//!
//! Law: a line is made of the route's template, the stream's name and numbers. Paths, queries, headers and bodies never
//! get here.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::Method;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tracing::Span;
use tracing::field::Empty;

use super::{Body, Request, Response};
use crate::app::App;
use crate::trace::{self, Context};
use crate::types::StreamId;

/// What a request has moved so far: its handler notes it, its line tells it, whenever it ends.
#[derive(Debug, Default)]
pub(super) struct Moved {
    generation: AtomicU64,
    records: AtomicU64,
    bytes_in: AtomicU64,
    ended: AtomicU8,
}

impl Moved {
    /// What the handler of this request is to note it in.
    pub(super) fn of(request: &Request) -> Arc<Moved> {
        request.extensions().get::<Arc<Moved>>().cloned().unwrap_or_default()
    }

    /// Which generation it is about.
    pub(super) fn generation(&self, generation: u64) {
        self.generation.store(generation, Ordering::Relaxed);
    }

    /// So many records were appended, or delivered.
    pub(super) fn records(&self, count: u64) {
        self.records.fetch_add(count, Ordering::Relaxed);
    }

    /// So many bytes of a body came.
    pub(super) fn bytes_in(&self, count: usize) {
        self.bytes_in.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// The response ends now because the server stops.
    pub(super) fn shutdown(&self) {
        self.ended.store(Ended::Shutdown as u8, Ordering::Relaxed);
    }
}

/// A short answer is about this generation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Generation(pub(super) u64);

/// The connection was cut because its peer took nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Stalled(Arc<AtomicBool>);

impl Stalled {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// All of it was handed to the connection.
    Finished = 0,
    /// The server stops: the client is to come back elsewhere.
    Shutdown = 1,
    /// The client went away, or was lost.
    ClientLeft,
    /// By this server: the client took nothing, or the time for a shutdown was over.
    Cut,
}

impl Ended {
    fn as_str(self) -> &'static str {
        match self {
            Ended::Finished => "finished",
            Ended::Shutdown => "shutdown",
            Ended::ClientLeft => "client_left",
            Ended::Cut => "cut",
        }
    }
}

/// The line of one request. Dropped: written.
pub(super) struct Line {
    app: Arc<App>,
    began: Instant,
    method: Method,
    route: &'static str,
    stream: Option<StreamId>,
    context: Context,
    span: Span,
    stalled: Option<Stalled>,
    moved: Arc<Moved>,
    status: Option<u16>,
    code: Option<&'static str>,
    bytes_out: u64,
    is_whole: bool,
}

impl Line {
    /// A request begins.
    pub(super) fn new(app: &Arc<App>, route: &'static str, stream: Option<StreamId>, request: &mut Request) -> Self {
        let moved = Arc::new(Moved::default());
        moved.bytes_in.store(request.body().size_hint().exact().unwrap_or_default(), Ordering::Relaxed);
        request.extensions_mut().insert(moved.clone());
        let span = span(request.method(), route, stream.as_ref());
        let given = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
        let context = trace::adopt(&span, given.and_then(Context::parse));
        Line {
            app: app.clone(),
            began: Instant::now(),
            method: request.method().clone(),
            route,
            stream,
            context,
            span,
            stalled: request.extensions().get::<Stalled>().cloned(),
            moved,
            status: None,
            code: None,
            bytes_out: 0,
            is_whole: false,
        }
    }

    /// What is done for it belongs to this span.
    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Where it stands in its trace.
    pub(super) fn context(&self) -> Context {
        self.context
    }

    /// It is answered with a problem of this code.
    pub(super) fn problem(&mut self, code: &'static str) {
        self.code = Some(code);
        self.app.metrics.http.problem(code);
    }

    /// It is answered. A short answer is over with that; the line of a long one goes with its body.
    pub(super) fn answered(mut self, response: Response) -> Response {
        self.status = Some(response.status().as_u16());
        if let Some(Generation(generation)) = response.extensions().get() {
            self.moved.generation(*generation);
        }
        if let Some(bytes) = response.body().size_hint().exact() {
            (self.bytes_out, self.is_whole) = (bytes, true);
            return response;
        }
        tracing::debug!(
            target: "rejoin::request",
            method = %self.method,
            route = self.route,
            stream = self.stream.as_ref().map(tracing::field::display),
            trace = %self.context.trace_id(),
            "response begins"
        );
        response.map(|body| Told { body, line: self }.boxed_unsync())
    }

    fn close_span(&self) {
        self.span.record("http.response.status_code", self.status);
        self.span.record("rejoin.generation", self.moved.generation.load(Ordering::Relaxed));
        self.span.record("rejoin.records", self.moved.records.load(Ordering::Relaxed));
        self.span.record("rejoin.ended", self.ended().as_str());
        if self.status.is_some_and(|status| status >= 500) {
            self.span.record("otel.status_code", "ERROR");
        }
    }

    fn ended(&self) -> Ended {
        if self.is_whole {
            let shutdown = self.moved.ended.load(Ordering::Relaxed) == Ended::Shutdown as u8;
            return if shutdown { Ended::Shutdown } else { Ended::Finished };
        }
        let stalled = self.stalled.as_ref().is_some_and(Stalled::is_set);
        if stalled || self.app.shutdown.has_cut() { Ended::Cut } else { Ended::ClientLeft }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.app.metrics.http.answered(self.route, self.status.unwrap_or(CLIENT_CLOSED));
        if !self.span.is_disabled() {
            self.close_span();
        }
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "rejoin::request",
                    method = %self.method,
                    route = self.route,
                    stream = self.stream.as_ref().map(tracing::field::display),
                    generation = Some(self.moved.generation.load(Ordering::Relaxed)).filter(|known| *known > 0),
                    status = self.status,
                    code = self.code,
                    ms = (self.began.elapsed().as_secs_f64() * 1e6).round() / 1e3,
                    bytes_in = self.moved.bytes_in.load(Ordering::Relaxed),
                    bytes_out = self.bytes_out,
                    records = Some(self.moved.records.load(Ordering::Relaxed)).filter(|count| *count > 0),
                    ended = self.ended().as_str(),
                    trace = %self.context.trace_id(),
                    "request"
                )
            };
        }
        match self.status {
            Some(500..) => line!(error),
            _ => line!(info),
        }
    }
}

/// What a request whose client did not wait for the answer counts as: there is no status for it, this one is nginx's.
const CLIENT_CLOSED: u16 = 499;

fn span(method: &Method, route: &'static str, stream: Option<&StreamId>) -> Span {
    tracing::trace_span!(
        target: trace::SPANS,
        "request",
        otel.name = format_args!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = %method,
        http.route = route,
        http.response.status_code = Empty,
        rejoin.stream = stream.map(tracing::field::display),
        rejoin.generation = Empty,
        rejoin.records = Empty,
        rejoin.ended = Empty,
    )
}

/// A long body and the line that is written when it ends.
struct Told {
    body: Body,
    line: Line,
}

impl http_body::Body for Told {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => self.line.bytes_out += frame.data_ref().map_or(0, |data| data.len() as u64),
            Poll::Ready(None) => self.line.is_whole = true,
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
