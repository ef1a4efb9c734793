//! The inspector page, and the sample that it can ask the host to play.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use http::{HeaderValue, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::MissedTickBehavior;

use super::answer::{self, Object};
use super::{Problem, Response};
use crate::app::App;
use crate::engine::{Failure, Framing};
use crate::types::{StreamId, now_ms};

/// Samples that play at a time.
pub(crate) const SAMPLES_MAX: usize = 8;

const PAGE: &str = include_str!("inspector/page.html");
/// One record a line.
const SAMPLE: &str = include_str!("inspector/sample.jsonl");
/// 50 records a second: how fast a model writes.
const SAMPLE_EVERY: Duration = Duration::from_millis(20);
const SAMPLE_JOB: &str = r#"{"conversationId":"sample-conversation","sender":"Sample"}"#;
/// The page is one file: its own script and style, and this server, nothing else.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /`.
pub(super) fn page() -> Response {
    let mut response = answer::text(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// `POST /inspector/sample`: 201 `{"streamId","generation"}` of a stream that now plays. Errors: 429 `too_many_samples`.
pub(super) async fn sample(app: &Arc<App>) -> Result<Response, Problem> {
    let permit = app.samples.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{SAMPLES_MAX} samples play already: wait for the end of one, or abort it");
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_samples", detail).retry_after(5)
    })?;
    let name = format!("sample-{}", number());
    let stream = StreamId::parse(&name).map_err(|rule| Problem::bad_request("invalid_stream_id", rule))?;
    let (_, job) = app.sessions.create(&stream, Some("inspector"), None, SAMPLE_JOB).await?;
    let mut object = Object::new();
    object.string("streamId", stream.as_str()).number("generation", job.generation);
    app.shutdown.spawn(play(app.clone(), stream, job.generation, permit));
    Ok(answer::json(StatusCode::CREATED, object.end()))
}

/// Never the same twice, in this process or in an earlier one.
fn number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = now_ms();
    let next = |last: u64| now.max(last + 1);
    match LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last))) {
        Ok(last) | Err(last) => next(last),
    }
}

/// A producer like every other one: it stops when it is refused, and when the server ends.
async fn play(app: Arc<App>, stream: StreamId, generation: u64, permit: OwnedSemaphorePermit) {
    let ended = app.shutdown.token();
    tokio::select! {
        played = push_all(&app, &stream, generation) => if let Err(failure) = played {
            let problem = Problem::from(failure);
            tracing::debug!(%stream, code = problem.code, "sample stopped");
        },
        () = ended.cancelled() => {}
    }
    drop(permit);
}

async fn push_all(app: &App, stream: &StreamId, generation: u64) -> Result<(), Failure> {
    let mut every = tokio::time::interval(SAMPLE_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for line in SAMPLE.lines() {
        every.tick().await;
        let pushed = app.sessions.push(stream, Some(generation), Framing::Ndjson, line, None).await?;
        if let Some((_, refusal)) = pushed.stopped {
            return Err(refusal.into());
        }
    }
    app.sessions.complete(stream, Some(generation), None).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_one_json_object_a_line() {
        for (line, at) in SAMPLE.lines().zip(1..) {
            let parsed = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line);
            assert!(parsed.is_ok_and(|record| !record.contains_key("final")), "line {at}");
        }
    }

    #[test]
    fn sample_numbers_are_never_the_same() {
        let numbers: Vec<_> = (0..100).map(|_| number()).collect();
        let mut unique = numbers.clone();
        unique.dedup();
        assert_eq!((unique.len(), numbers.is_sorted()), (100, true));
    }

    #[test]
    fn the_page_may_talk_to_this_server_only() {
        let policy = page().headers()[CONTENT_SECURITY_POLICY].to_str().expect("ASCII").to_owned();
        assert!(policy.starts_with("default-src 'none'") && policy.contains("connect-src 'self'"), "{policy}");
    }
}
