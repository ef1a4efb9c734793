//! Logs and traces: how they leave the process, and what ties the lines of one request together.
//!
//! | file | what it knows |
//! |---|---|
//! | this one | which lines are written, and how they look |
//! | `lines` | the way to stderr: bounded, and nobody waits for it |
//! | [`context`] | `traceparent` |
//! | `otlp` | the way of traces to a collector |
//!
//! Law: what a client sent or got never reaches a line, but for the name of a stream. Whoever logs has templates, names
//! and numbers at hand, and neither paths with queries, headers nor bodies.

pub mod context;
mod lines;
mod otlp;

use std::io::IsTerminal as _;
use std::time::Duration;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tokio::runtime::Handle;
use tracing::Span;
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::{LogFormat, Watch};
use lines::Lines;
use otlp::Traces;

pub use context::Context;

/// What spans of traces are written with, at level `trace`: nobody makes them while there is no collector, and log lines do
/// not show them.
pub const SPANS: &str = "rejoin::span";

/// Logs and traces of the process. Dropped: what waits is written and sent, each with a bound.
pub struct Guard {
    // In this order: the traces may have something to say about their end.
    traces: Option<Traces>,
    _lines: Lines,
}

impl Guard {
    /// Writes and sends what waits: traces for no longer than `at_most`, which is what is left of the time to stop.
    pub fn end(mut self, at_most: Duration) {
        if let Some(traces) = &mut self.traces {
            traces.hurry(at_most);
        }
    }
}

/// Writes what is logged from now on to stderr, and sends traces where there is a collector. `RUST_LOG` says what is
/// logged: without it everything from `info` on. To be called once; what it returns is to be dropped while `runtime` lives.
///
/// Errors: the collector's address is none.
pub fn start(config: &Watch, runtime: &Handle) -> anyhow::Result<Guard> {
    let traces = config.otlp_endpoint.as_deref().map(|endpoint| Traces::start(endpoint, runtime)).transpose()?;
    let lines = Lines::start(config.log_format, std::io::stderr());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let layer = tracing_subscriber::fmt::layer().with_writer(lines.writer());
    let layer = match config.log_format {
        LogFormat::Text => layer.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    let spans = traces.as_ref().map(|traces| {
        let layer = tracing_opentelemetry::layer().with_tracer(traces.tracer());
        let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false).with_target(false);
        layer.with_filter(Targets::new().with_target(SPANS, LevelFilter::TRACE))
    });
    tracing_subscriber::registry().with(layer.with_filter(filter)).with(spans).init();
    Ok(Guard { traces, _lines: lines })
}

/// Makes the span a part of the trace that the client gave, if it gave one, and says where it stands. Without a collector
/// the span is none: then the place is made here, for the logs.
pub fn adopt(span: &Span, given: Option<Context>) -> Context {
    if !span.is_disabled() {
        if let Some(parent) = given {
            let parent = SpanContext::new(
                TraceId::from(parent.trace),
                SpanId::from(parent.span),
                if parent.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() },
                true,
                TraceState::default(),
            );
            // An error says that there is no collector.
            let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(parent));
        }
        let context = span.context();
        let here = context.span().span_context().clone();
        if here.is_valid() {
            return Context {
                trace: u128::from_be_bytes(here.trace_id().to_bytes()),
                span: u64::from_be_bytes(here.span_id().to_bytes()),
                sampled: here.is_sampled(),
            };
        }
    }
    given.map_or_else(Context::new, Context::child)
}
