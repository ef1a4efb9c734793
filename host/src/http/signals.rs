//! Signals for producers: `GET …/signals`. Source: API.md sections 2 and 3.
//!
//! | event | besides `signal` and `generation` |
//! |---|---|
//! | `ready` | the first subscriber came, or one was there already; may come again |
//! | `subscribers_left` | `content`: the content parts so far; null when they cannot be computed now |
//! | `action_resolved` | `actionId`, `decision` |
//! | `abort` | the last one |
//! | `replaced` | `by`: the generation that has the stream now; the last one |
//! | `settled` | `status`: how it ended otherwise; the last one |
//!
//! A signal is a hint and may be lost; what it is about stands in the job row. So the row is read when a producer comes,
//! when it missed signals, and with every keep-alive. A resolved action that was missed stands in the log. Whether there are
//! subscribers is counted over all replicas, and told to each producer only when it changes from what it was told before.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::time::sleep;

use super::line::Moved;
use super::subscribe::clock::{Clock, Interrupted};
use super::subscribe::source::Source;
use super::subscribe::{response, too_many};
use super::{Problem, Query, Request, Response, admitted, theirs};
use crate::app::App;
use crate::engine::{Failure, Refusal};
use crate::sse::{Heard, Hub, Listener, Signal, frame};
use crate::types::{Job, Status, StreamId};

/// Answers with the signals of the current generation, or of `?generation=`.
pub async fn handle(app: &Arc<App>, stream: &StreamId, request: &Request) -> Result<Response, Problem> {
    let generation = Query::of(request.uri())?.number("generation")?;
    open(theirs::source(app, admitted::identity(request)), stream, generation, Moved::of(request)).await
}

async fn open(
    source: Arc<dyn Source>,
    stream: &StreamId,
    wanted: Option<u64>,
    moved: Arc<Moved>,
) -> Result<Response, Problem> {
    // Listen first, then read the row: the other order misses what happens in between.
    let listener = source.hub().listen(stream).map_err(too_many)?;
    let Some(job) = source.job(stream).await? else { return Err(Problem::not_found()) };
    let mut signals = Signals {
        clock: Clock::new(source.shutdown(), source.keep_alive()),
        generation: wanted.unwrap_or(job.generation),
        stream: stream.clone(),
        step: Step::Listen,
        first: None,
        ready: false,
        shared: false,
        source,
        listener,
        moved,
    };
    signals.moved.generation(signals.generation);
    // Asked after this one listens, so that a change in between is heard.
    let ready = match signals.source.readers(stream).await {
        Ok(Some(any)) => {
            signals.shared = true;
            any
        }
        Ok(None) => signals.listener.ready(),
        Err(error) => {
            tracing::debug!(%stream, %error, "cannot ask for readers");
            signals.shared = true;
            false
        }
    };
    signals.ready = ready;
    let state = signals.judge(&job, ready);
    signals.first = Some([frame::RETRY, &state].concat().into());
    Ok(response(signals.into_stream()))
}

/// A response body in the making.
struct Signals {
    source: Arc<dyn Source>,
    stream: StreamId,
    listener: Listener,
    clock: Clock,
    generation: u64,
    first: Option<Bytes>,
    /// Whether there are subscribers, as the producer was told.
    ready: bool,
    /// Other replicas may have subscribers.
    shared: bool,
    step: Step,
    moved: Arc<Moved>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Listen,
    /// Read the row: signals were missed, or one said that it has changed.
    Look,
    /// Tell that the last subscriber left.
    Left,
    End,
}

const PAUSE: Duration = Duration::from_secs(1);

impl Signals {
    fn into_stream(self) -> impl Stream<Item = Bytes> + Send + 'static {
        stream::unfold(self, |mut signals| async move {
            let bytes = signals.next().await?;
            Some((bytes, signals))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let frames = match self.step {
                Step::Listen => self.listen().await,
                Step::Look => self.look().await,
                Step::Left => self.left().await,
                Step::End => return None,
            };
            match frames {
                Ok(frames) if frames.is_empty() => {}
                Ok(frames) => {
                    self.clock.restart();
                    return Some(frames.into());
                }
                Err(Interrupted::KeepAlive) => {
                    if self.step == Step::Listen {
                        self.step = Step::Look;
                    }
                    return Some(Bytes::from_static(frame::KEEP_ALIVE));
                }
                Err(Interrupted::Shutdown) => {
                    self.moved.shutdown();
                    return None;
                }
            }
        }
    }

    async fn listen(&mut self) -> Result<Vec<u8>, Interrupted> {
        let (generation, signal) = match self.clock.race(self.listener.next()).await? {
            Heard::Signal(generation, signal) => (generation, signal),
            Heard::Lagged => {
                self.step = Step::Look;
                // The one signal that the row does not know of. Of other replicas it is repeated to all who listen.
                let here = self.source.hub().subscribers_of(&self.stream) > 0;
                return Ok(if self.shared && !here { Vec::new() } else { self.present(here) });
            }
            Heard::Gone => {
                self.step = Step::End;
                return Ok(Vec::new());
            }
        };
        let generation = match generation {
            Hub::EVERY_GENERATION => self.generation,
            generation => generation,
        };
        if generation < self.generation {
            return Ok(Vec::new());
        }
        if generation > self.generation {
            return Ok(self.replaced(generation));
        }
        match signal {
            Signal::Ready => Ok(self.present(true)),
            Signal::Abort => Ok(self.last("abort", "")),
            Signal::Replaced(by) => Ok(self.replaced(by)),
            Signal::Resolved(answer) => {
                let members = answer.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
                Ok(frame::signal("action_resolved", self.generation, members.unwrap_or_default()))
            }
            Signal::SubscribersLeft => Ok(self.present(false)),
            Signal::Settled => {
                self.step = Step::Look;
                Ok(Vec::new())
            }
        }
    }

    async fn look(&mut self) -> Result<Vec<u8>, Interrupted> {
        match self.clock.race(self.source.job(&self.stream)).await? {
            Ok(Some(job)) => {
                self.step = Step::Listen;
                Ok(self.judge(&job, false))
            }
            Ok(None) => {
                self.step = Step::End;
                Ok(Vec::new())
            }
            Err(error) => {
                tracing::debug!(stream = %self.stream, %error, "cannot read the job");
                self.clock.race(sleep(PAUSE)).await?;
                Ok(Vec::new())
            }
        }
    }

    async fn left(&mut self) -> Result<Vec<u8>, Interrupted> {
        let content = self.clock.race(self.source.content(&self.stream)).await?;
        // Signals may have been lost besides this one.
        self.step = Step::Look;
        let parts = match content {
            Ok(content) if content.job.generation != self.generation => {
                return Ok(self.replaced(content.job.generation));
            }
            Ok(content) => content.parts,
            Err(Failure::Refused(Refusal::NotFound)) => {
                self.step = Step::End;
                return Ok(Vec::new());
            }
            Err(failure) => {
                tracing::debug!(stream = %self.stream, %failure, "cannot compute the content");
                "null".to_owned()
            }
        };
        Ok(frame::signal("subscribers_left", self.generation, &format!("\"content\":{parts}")))
    }

    /// There are subscribers, or none any more.
    fn present(&mut self, ready: bool) -> Vec<u8> {
        if self.ready == ready {
            return Vec::new();
        }
        self.ready = ready;
        if ready {
            return frame::signal("ready", self.generation, "");
        }
        self.step = Step::Left;
        Vec::new()
    }

    /// What the row says, and whether somebody reads.
    fn judge(&mut self, job: &Job, ready: bool) -> Vec<u8> {
        if job.generation != self.generation {
            return self.replaced(job.generation);
        }
        match job.status {
            Status::Running | Status::RequiresAction if ready => frame::signal("ready", self.generation, ""),
            Status::Running | Status::RequiresAction => Vec::new(),
            Status::Aborted => self.last("abort", ""),
            Status::Complete | Status::Error => {
                self.last("settled", &format!("\"status\":\"{}\"", job.status.as_str()))
            }
        }
    }

    fn replaced(&mut self, by: u64) -> Vec<u8> {
        self.last("replaced", &format!("\"by\":{by}"))
    }

    fn last(&mut self, name: &str, members: &str) -> Vec<u8> {
        self.step = Step::End;
        frame::signal(name, self.generation, members)
    }
}
