//! `POST …/events`: the append body, which may stay open for as long as the answer takes.
//!
//! Whole lines go to the session as they come, many at once when many are there: while they are appended the next ones
//! gather at the host, so a body is never read faster than it can be stored.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::answer::{self, Object};
use super::done::Done;
use super::error::record_too_large;
use super::lines::{self, Batch, Broken, LineSplitter, Why};
use super::negotiate::ContentType;
use super::request::Request;
use super::{App, Problem, Query, Response, body};
use crate::bindings::rejoin::streams::session::{Framing, Producer};
use crate::bindings::rejoin::streams::translate::{Dialect, Translated, Translator};
use crate::clock::Deadline;
use crate::engine::Place;
use crate::types::StreamId;
use crate::wasi::Read;

/// Bytes of one line of a model provider's body.
const PROVIDER_LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
const PRODUCER_ID_BYTES_MAX: usize = 128;
/// Bytes of one batch, or one line.
const BATCH_BYTES_MAX: usize = 64 * 1024;

/// Every dialect with its name on the wire.
const DIALECTS: [(&str, Dialect); 4] = [
    ("events", Dialect::Events),
    ("openai-chat", Dialect::OpenaiChat),
    ("openai-responses", Dialect::OpenaiResponses),
    ("anthropic-messages", Dialect::AnthropicMessages),
];

/// Appends the body. Answers 200 `{"first","last","appended","duplicate"}`, summed over all of it.
///
/// Errors: what stopped it, with the same members and `line`: everything before is kept, nothing from there on.
pub(super) async fn handle(app: &App, stream: &StreamId, request: &Request) -> Result<Response, Problem> {
    let generation = Query::of(&request.uri)?.number("generation")?;
    let producer = producer(&request.headers)?;
    let format = Format::of(&request.headers)?;
    let mut upload =
        Upload { app, stream, generation, producer, place: None, done: Done::default(), has_pushed: false };
    match format {
        Format::Json => {
            let text = body::text(app, request, app.config.body_bytes_max).await?;
            upload.push(Framing::Json, &text, u64::from).await?;
        }
        Format::Ndjson => upload.lines(request).await?,
        Format::Provider(dialect) => upload.provider(request, &Translator::new(dialect)).await?,
    }
    Ok(answer::json(StatusCode::OK, upload.done.members(&mut Object::new()).end()))
}

/// How a body is read.
enum Format {
    Ndjson,
    Json,
    Provider(Dialect),
}

impl Format {
    /// A body without a content type is NDJSON. Errors: 415.
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(content_type) = ContentType::of(headers)? else { return Ok(Format::Ndjson) };
        match content_type.essence.as_str() {
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Format::Ndjson),
            "application/json" => Ok(Format::Json),
            "text/event-stream" => {
                let name = content_type.parameter("dialect").unwrap_or_default();
                let known = DIALECTS.into_iter().find(|(known, _)| *known == name);
                known.map(|(_, dialect)| Format::Provider(dialect)).ok_or_else(|| {
                    let known: Vec<_> = DIALECTS.iter().map(|(name, _)| *name).collect();
                    let detail = format!("text/event-stream needs a dialect: one of {}", known.join(", "));
                    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unknown_dialect", detail).with("dialects", known)
                })
            }
            _ => Err(Problem::unsupported_media_type(
                "events are application/x-ndjson (one a line), application/json (one, or a list), or \
                 text/event-stream; dialect=… (a model provider's body); without a content type: NDJSON",
            )),
        }
    }
}

/// `Producer-Id` and `Producer-Seq`: both or neither. Errors: 400 `invalid_header`.
fn producer(headers: &HeaderMap) -> Result<Option<(String, u64)>, Problem> {
    let id = body::header(headers, "producer-id", PRODUCER_ID_BYTES_MAX)?;
    let seq = body::header(headers, "producer-seq", 20)?;
    let number = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (id, seq.map(number)) {
        (None, None) => Ok(None),
        (Some(id), Some(Some(seq))) => Ok(Some((id.to_owned(), seq))),
        _ => {
            let detail = "Producer-Id and Producer-Seq (a whole number, growing by one) come together";
            Err(Problem::bad_request("invalid_header", detail))
        }
    }
}

/// Whole lines of a body, as many at a time as are there.
struct Gather<'a> {
    request: &'a Request,
    splitter: LineSplitter,
    idle: Duration,
    ended: bool,
    /// Why no more comes although the body has not ended.
    cut: Option<Problem>,
}

impl<'a> Gather<'a> {
    fn new(app: &App, request: &'a Request, line_bytes_max: usize) -> Self {
        let splitter = LineSplitter::new(line_bytes_max, BATCH_BYTES_MAX);
        Gather { request, splitter, idle: app.config.append_idle, ended: false, cut: None }
    }

    /// The next whole lines; none at the end. Errors: a line that cannot be taken.
    async fn next(&mut self) -> Result<Option<Batch>, Broken> {
        let deadline = Deadline::after(self.idle);
        while !self.ended && !self.splitter.is_full() {
            let waits = !self.splitter.has_lines();
            match if waits { self.request.body.next(deadline).await } else { self.request.body.ready().await } {
                Read::Bytes(bytes) => self.splitter.feed(&bytes),
                Read::End => {
                    self.ended = true;
                    self.splitter.finish();
                }
                Read::BrokeOff => (self.ended, self.cut) = (true, Some(body::incomplete())),
                Read::Late if waits => (self.ended, self.cut) = (true, Some(idle(self.idle))),
                Read::Late => break,
            }
        }
        self.splitter.take()
    }
}

/// One request on its way into the log.
struct Upload<'a> {
    app: &'a App,
    stream: &'a StreamId,
    /// What the request says; else that of its first record: one body never feeds two generations.
    generation: Option<u64>,
    producer: Option<(String, u64)>,
    place: Place,
    done: Done,
    has_pushed: bool,
}

impl Upload<'_> {
    async fn lines(&mut self, request: &Request) -> Result<(), Problem> {
        // The core counts the bytes of the record; the line may end with \r\n.
        let record_bytes_max = self.app.config.limits.record_bytes_max;
        let line_bytes_max = usize::try_from(record_bytes_max).unwrap_or(usize::MAX).saturating_add(1);
        let mut gather = Gather::new(self.app, request, line_bytes_max);
        loop {
            match gather.next().await {
                Ok(Some(batch)) if lines::is_blank(&batch.text) => {}
                Ok(Some(batch)) => {
                    self.push(Framing::Ndjson, &batch.text, |line| batch.lines_before + u64::from(line)).await?;
                }
                Ok(None) => break,
                Err(broken) => {
                    let problem = unreadable(broken, || record_too_large(record_bytes_max));
                    return Err(self.stopped(problem, broken.line));
                }
            }
        }
        self.finish(gather).await
    }

    async fn provider(&mut self, request: &Request, translator: &Translator) -> Result<(), Problem> {
        let mut gather = Gather::new(self.app, request, PROVIDER_LINE_BYTES_MAX);
        loop {
            match gather.next().await {
                Ok(Some(batch)) => {
                    let line = batch.lines_before + 1;
                    let index = self.next_index(line).await?;
                    self.translated(translator.push(&batch.text, index), line).await?;
                }
                Ok(None) => break,
                Err(broken) => return Err(self.stopped(unreadable(broken, line_too_large), broken.line)),
            }
        }
        // A body that broke off is not at its end: what it still owes may come with the next request.
        if gather.cut.is_none() {
            let line = gather.splitter.taken() + 1;
            let index = self.next_index(line).await?;
            self.translated(translator.finish(index), line).await?;
        }
        self.finish(gather).await
    }

    /// Where the run steps of this body go on: after those of every other body of the generation.
    async fn next_index(&mut self, line: u64) -> Result<u64, Problem> {
        let next = self.app.sessions.next_index(&mut self.place, self.stream);
        next.await.map_err(|failure| self.stopped(failure.into(), line))
    }

    async fn translated(&mut self, translated: Translated, line: u64) -> Result<(), Problem> {
        if !translated.records.is_empty() {
            self.push(Framing::Ndjson, &translated.records, |_| line).await?;
        }
        match translated.bad {
            None => Ok(()),
            Some(bad) => {
                let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_chunk", bad.reason);
                Err(self.stopped(problem, bad.line))
            }
        }
    }

    /// The body has ended. One without records still asks whether the job would take any.
    async fn finish(&mut self, gather: Gather<'_>) -> Result<(), Problem> {
        if let Some(problem) = gather.cut {
            return Err(self.stopped(problem, gather.splitter.taken() + 1));
        }
        if !self.has_pushed {
            self.push(Framing::Ndjson, "", u64::from).await?;
        }
        Ok(())
    }

    /// Appends `text`. `line_of` makes a line of the body from one of the text.
    async fn push(&mut self, framing: Framing, text: &str, line_of: impl Fn(u32) -> u64) -> Result<(), Problem> {
        let offset = self.done.appended + self.done.duplicate;
        let producer = self.producer.as_ref().map(|(id, seq)| Producer { id: id.clone(), seq: *seq, offset });
        let sessions = &self.app.sessions;
        let pushed = sessions.push(&mut self.place, self.stream, self.generation, framing, text, producer.as_ref());
        let pushed = pushed.await.map_err(|failure| self.stopped(Problem::of_push(failure), line_of(1)))?;
        self.has_pushed = true;
        self.done.first = self.done.first.or(pushed.first);
        self.done.last = pushed.last.or(self.done.last);
        self.done.appended += pushed.appended;
        self.done.duplicate += pushed.duplicate;
        self.generation = self.generation.or(pushed.first.map(|first| first.generation));
        match pushed.stopped {
            None => Ok(()),
            Some((line, refusal)) => Err(self.stopped(Problem::of_push(refusal.into()), line_of(line))),
        }
    }

    fn stopped(&self, problem: Problem, line: u64) -> Problem {
        self.done.stopped(problem, line)
    }
}

/// 408: the producer is there and sends nothing.
fn idle(idle_max: Duration) -> Problem {
    let detail = format!(
        "no whole line came for {idle_max:?} (REJOIN_APPEND_IDLE): what came is kept; go on with another request, and \
         send an empty line now and then"
    );
    Problem::new(StatusCode::REQUEST_TIMEOUT, "body_idle", detail)
}

fn unreadable(broken: Broken, too_long: impl FnOnce() -> Problem) -> Problem {
    match broken.why {
        Why::TooLong => too_long(),
        Why::NotUtf8 => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_utf8", "the line is not UTF-8"),
    }
}

fn line_too_large() -> Problem {
    let detail = format!("a line of a provider's body has at most {PROVIDER_LINE_BYTES_MAX} bytes");
    let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "line_too_large", detail);
    problem.with("bytesMax", PROVIDER_LINE_BYTES_MAX)
}
