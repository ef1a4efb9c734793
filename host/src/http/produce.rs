//! `POST …/events`: the append body, which may stay open for as long as the answer takes.
//!
//! Whole lines go to the session as they come, many at once when many are there. While they are appended the next ones
//! gather in the connection, so a body is never read faster than it can be stored, and a lone line waits for nothing.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;

use super::answer::{self, Object};
use super::done::Done;
use super::error::record_too_large;
use super::gather::{Cut, Gather};
use super::line::Moved;
use super::lines::{self, Batch, Broken, Why};
use super::negotiate::ContentType;
use super::{Problem, Query, Request, Response, admitted, body};
use crate::app::App;
use crate::engine::{Dialect, Failure, Framing, Producer, Translated, Translator};
use crate::types::StreamId;

/// Bytes of one line of a model provider's body.
const PROVIDER_LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
const PRODUCER_ID_BYTES_MAX: usize = 128;

/// Appends the body. Answers 200 `{"first","last","appended","duplicate"}`, summed over all of it.
///
/// Errors: what stopped it, with the same members and `line`: everything before is kept, nothing from there on.
pub(super) async fn handle(app: &Arc<App>, stream: &StreamId, request: &mut Request) -> Result<Response, Problem> {
    let generation = admitted::Fence::of(request).bind(Query::of(request.uri())?.number("generation")?)?;
    let producer = producer(request.headers())?;
    let format = Format::of(request.headers())?;
    let (moved, is_open) = (Moved::of(request), request.body().size_hint().exact().is_none());
    let mut upload =
        Upload { app, stream, generation, producer, moved, is_open, done: Done::default(), has_pushed: false };
    let body = request.body_mut();
    match format {
        Format::Json => {
            let text = body::text(app, body, app.config.body_bytes_max).await?;
            upload.push(Framing::Json, &text, u64::from).await?;
        }
        Format::Ndjson => upload.lines(body).await?,
        Format::Provider(dialect) => upload.provider(body, app.sessions.translator(dialect)?).await?,
    }
    Ok(answer::json(StatusCode::OK, upload.done.members(&mut Object::new()).end()))
}

/// How a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
            "text/event-stream" => match content_type.parameter("dialect").and_then(Dialect::parse) {
                Some(dialect) => Ok(Format::Provider(dialect)),
                None => {
                    let known: Vec<_> = Dialect::ALL.iter().map(|(name, _)| *name).collect();
                    let detail = format!("text/event-stream needs a dialect: one of {}", known.join(", "));
                    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unknown_dialect", detail)
                        .with("dialects", known))
                }
            },
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

/// What a head says about the body and its producer, for `probe`.
pub(super) fn probe(headers: &HeaderMap) -> Result<(), Problem> {
    producer(headers)?;
    Format::of(headers).map(drop)
}

/// One request on its way into the log.
struct Upload<'a> {
    app: &'a App,
    stream: &'a StreamId,
    /// What the request says; else that of its first record: one body never feeds two generations.
    generation: Option<u64>,
    producer: Option<(String, u64)>,
    moved: Arc<Moved>,
    /// Nobody knows yet how long the body is.
    is_open: bool,
    done: Done,
    has_pushed: bool,
}

impl Upload<'_> {
    /// Whole lines came.
    fn came(&self, batch: &Batch) {
        if self.is_open {
            self.moved.bytes_in(batch.text.len());
        }
    }

    async fn lines(&mut self, body: &mut Incoming) -> Result<(), Problem> {
        // The component counts the bytes of the record; the line may end with \r\n.
        let record_bytes_max = self.app.config.record_bytes_max;
        let mut gather = Gather::new(body, record_bytes_max.saturating_add(1), self.app.config.door.append_idle);
        loop {
            match gather.next().await {
                Ok(Some(batch)) if lines::is_blank(&batch.text) => {}
                Ok(Some(batch)) => {
                    self.came(&batch);
                    self.push(Framing::Ndjson, &batch.text, |line| batch.lines_before + u64::from(line)).await?;
                }
                Ok(None) => break,
                Err(broken) => {
                    return Err(
                        self.stopped(unreadable(broken, || record_too_large(record_bytes_max as u64)), broken.line)
                    );
                }
            }
        }
        self.finish(&gather).await
    }

    async fn provider(&mut self, body: &mut Incoming, mut translator: Translator) -> Result<(), Problem> {
        let mut gather = Gather::new(body, PROVIDER_LINE_BYTES_MAX, self.app.config.door.append_idle);
        loop {
            match gather.next().await {
                Ok(Some(batch)) => {
                    self.came(&batch);
                    let line = batch.lines_before + 1;
                    let _turn = self.turn(line).await?;
                    let index = self.next_index(line).await?;
                    self.translated(translator.push(&batch.text, index), line).await?;
                }
                Ok(None) => break,
                Err(broken) => return Err(self.stopped(unreadable(broken, line_too_large), broken.line)),
            }
        }
        // A body that broke off is not at its end: what it still owes may come with the next request.
        if gather.cut.is_none() {
            let line = gather.lines() + 1;
            let _turn = self.turn(line).await?;
            let index = self.next_index(line).await?;
            self.translated(translator.finish(index), line).await?;
        }
        self.finish(&gather).await
    }

    /// Other bodies of the stream wait: two that were told the same index would share a place in the content.
    async fn turn(&self, line: u64) -> Result<tokio::sync::OwnedMutexGuard<()>, Problem> {
        self.app.sessions.turn(self.stream).await.map_err(|failure| self.stopped(failure.into(), line))
    }

    /// Where the run steps of this body go on: after those of every other body of the generation.
    async fn next_index(&self, line: u64) -> Result<u64, Problem> {
        let next = self.app.sessions.next_index(self.stream).await;
        next.map_err(|failure| self.stopped(failure.into(), line))
    }

    /// Appends what the lines from `line` on gave; where the append stops in them is known to the batch only.
    async fn translated(&mut self, translated: Result<Translated, Failure>, line: u64) -> Result<(), Problem> {
        let translated = translated.map_err(|failure| self.stopped(failure.into(), line))?;
        if !translated.records.is_empty() {
            self.push(Framing::Ndjson, &translated.records, |_| line).await?;
        }
        match translated.bad {
            None => Ok(()),
            Some((line, reason)) => {
                let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_chunk", reason);
                Err(self.stopped(problem, line))
            }
        }
    }

    /// The body has ended. One without records still asks whether the job would take any.
    async fn finish(&mut self, gather: &Gather<'_>) -> Result<(), Problem> {
        if let Some(cut) = gather.cut {
            let problem = match cut {
                Cut::BrokeOff => body::incomplete(),
                Cut::Idle => idle(self.app.config.door.append_idle),
            };
            return Err(self.stopped(problem, gather.lines() + 1));
        }
        if !self.has_pushed {
            self.push(Framing::Ndjson, "", u64::from).await?;
        }
        Ok(())
    }

    /// Appends `text`. `line_of` makes a line of the body from one of the text.
    async fn push(&mut self, framing: Framing, text: &str, line_of: impl Fn(u32) -> u64) -> Result<(), Problem> {
        let offset = self.done.appended + self.done.duplicate;
        let producer = self.producer.as_ref().map(|(id, seq)| Producer { id, seq: *seq, offset });
        let pushed = self.app.sessions.push(self.stream, self.generation, framing, text, producer).await;
        let pushed = pushed.map_err(|failure| self.stopped(Problem::of_push(failure), line_of(1)))?;
        self.has_pushed = true;
        self.done.first = self.done.first.or(pushed.first);
        self.done.last = pushed.last.or(self.done.last);
        self.done.appended += pushed.appended;
        self.moved.records(pushed.appended);
        if let Some(first) = pushed.first.or(pushed.last) {
            self.moved.generation(first.generation);
        }
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
        "no whole line came for {idle_max:?} (--append-idle): what came is kept; go on with another request, and send an \
         empty line now and then"
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{CONTENT_TYPE, HeaderName};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn the_content_type_says_how_a_body_is_read() {
        let format = |value| Format::of(&headers(&[(CONTENT_TYPE.as_str(), value)])).map_err(|problem| problem.code);
        assert_eq!(format("application/x-ndjson; charset=utf-8"), Ok(Format::Ndjson));
        assert_eq!(format("application/jsonl"), Ok(Format::Ndjson));
        assert_eq!(format("Application/JSON"), Ok(Format::Json));
        assert_eq!(format("text/event-stream;dialect=openai-chat"), Ok(Format::Provider(Dialect::OpenaiChat)));
        assert_eq!(format("text/event-stream"), Err("unknown_dialect"));
        assert_eq!(format("text/event-stream; dialect=klingon"), Err("unknown_dialect"));
        assert_eq!(format("application/x-www-form-urlencoded"), Err("unsupported_media_type"));
        assert_eq!(Format::of(&HeaderMap::new()).expect("NDJSON"), Format::Ndjson);
    }

    #[test]
    fn a_producer_has_an_id_and_a_number_or_neither() {
        let read = |pairs: &[_]| producer(&headers(pairs)).map_err(|problem| problem.code);
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("producer-id", "p"), ("producer-seq", "7")]), Ok(Some(("p".into(), 7))));
        for bad in [
            &[("producer-id", "p")][..],
            &[("producer-seq", "7")],
            &[("producer-id", "p"), ("producer-seq", "+7")],
            &[("producer-id", "p"), ("producer-seq", "99999999999999999999")],
            &[("producer-id", ""), ("producer-seq", "7")],
        ] {
            assert_eq!(read(bad), Err("invalid_header"), "{bad:?}");
        }
    }
}
