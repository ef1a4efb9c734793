//! The inspector: its files, and the sample that it can ask the host to play.

mod files;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::MissedTickBehavior;

pub(super) use self::files::File;
use super::answer::{self, Object};
use super::{Problem, Response};
use crate::app::{App, SAMPLES_MAX};
use crate::auth::Identity;
use crate::engine::{Failure, Framing};
use crate::types::{StreamId, now_ms};

/// One record a line.
const SAMPLE: &str = include_str!("inspector/sample.jsonl");
/// 50 records a second: how fast a model writes.
const SAMPLE_EVERY: Duration = Duration::from_millis(20);
const SAMPLE_JOB: &str = r#"{"conversationId":"sample-conversation","sender":"Sample"}"#;
/// `POST /inspector/sample`: 201 `{"streamId","generation"}` of a stream that now plays. Errors: 429 `too_many_samples`.
///
/// It is the stream of whoever asks. Errors: 403 for a token that is for other streams.
pub(super) async fn sample(app: &Arc<App>, identity: &Identity) -> Result<Response, Problem> {
    let permit = app.samples.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{SAMPLES_MAX} samples play already: wait for the end of one, or abort it");
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_samples", detail).retry_after(5)
    })?;
    let name = format!("sample-{}", number());
    let stream = StreamId::parse(&name).map_err(|rule| Problem::bad_request("invalid_stream_id", rule))?;
    if !identity.fits(&stream) {
        return Err(Problem::forbidden(
            "forbidden",
            "samples are named sample-…, and the access token is for other streams",
        ));
    }
    let owner = identity.subject().unwrap_or("inspector");
    let (_, job) = app.sessions.create(&stream, Some(owner), None, SAMPLE_JOB).await?;
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
}
