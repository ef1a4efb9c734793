//! The live stream: `GET …/events` with `Accept: text/event-stream`. Source: API.md section 3.
//!
//! Only what this very instance writes wakes a reader (`wake`). For everything else the log is looked at again and again,
//! often while records come, less often while none do.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::answer::{self, Reply};
use super::request::Request;
use super::{App, Problem, Query, frame};
use crate::clock::Deadline;
use crate::engine::{Failure, Refusal};
use crate::store::Page;
use crate::types::{Cursor, Entry, StreamId};
use crate::wake;
use crate::wasi::{Gone, Held, Out};

/// Bytes of one read of the log: what one reader may hold.
const PAGE_BYTES_MAX: usize = 64 * 1024;
/// Between two looks of a reader that is woken: without it a body of many batches is as many requests to the store from
/// each of its readers. As long as a person does not see.
const LOOKS_APART: Duration = Duration::from_millis(20);
/// A store that forgot acknowledged records is given them back by the server that wrote them, if that still lives: so
/// long its readers stay where they are.
const RESCUE_WAIT: Duration = Duration::from_secs(3);
/// How often a silent reader asks whether the job was forgotten by everybody.
const OVERDUE_EVERY: Duration = Duration::from_secs(60);

/// Where a client wants to begin.
#[derive(Clone, Copy)]
enum Wanted {
    /// With the first record of the current generation.
    First,
    /// Strictly after this record.
    After(Cursor),
    /// With the whole state, then strictly after what it covers.
    State,
}

impl Wanted {
    /// A cursor wins over `resume=true`: its sender has the state. The header wins over the query: a browser that
    /// reconnects by itself sends what it saw last. Empty counts as none.
    fn parse(headers: &HeaderMap, query: &Query) -> Result<Self, Problem> {
        let header = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
        let given = header.filter(|text| !text.is_empty()).or_else(|| query.get("after"));
        let resume = query.flag("resume")?.unwrap_or(false);
        match given.filter(|text| !text.is_empty()).map(Cursor::parse) {
            Some(Some(cursor)) => Ok(Wanted::After(cursor)),
            Some(None) => {
                Err(Problem::bad_request("invalid_cursor", "a cursor is <generation>-<sequence>, the id of a record"))
            }
            None if resume => Ok(Wanted::State),
            None => Ok(Wanted::First),
        }
    }
}

/// Answers with the live stream, with 204 when there is nothing to come, or with why not.
pub(super) async fn open(app: &App, stream: &StreamId, request: &Request) -> Result<Reply, Problem> {
    let wanted = Wanted::parse(&request.headers, &Query::of(&request.uri)?)?;
    let Some(job) = app.sessions.job(stream).await? else { return unknown(wanted) };
    let reset = match wanted {
        Wanted::First | Wanted::State => false,
        Wanted::After(cursor) if cursor == job.cursor() && job.status.is_terminal() => return Ok(no_content()),
        // Of another generation, or of the future.
        Wanted::After(cursor) => cursor.generation != job.generation || cursor.sequence > job.head,
    };
    let (position, state) = match wanted {
        Wanted::First => (Cursor { sequence: 0, ..job.cursor() }, Vec::new()),
        Wanted::After(cursor) if !reset => (cursor, Vec::new()),
        Wanted::After(_) | Wanted::State => match cut(app, stream, reset).await? {
            Some(cut) => cut,
            None => return unknown(wanted),
        },
    };
    let first = [frame::RETRY, &state].concat();
    let settled = job.status.is_terminal();
    Ok(Reply::Live(Box::new(Live {
        stream: stream.clone(),
        position,
        first,
        settled,
        beyond: None,
        hole: 0,
        held: None,
    })))
}

/// The sync frame of the present state and the cursor it covers; none when the stream is no longer known.
async fn cut(app: &App, stream: &StreamId, reset: bool) -> Result<Option<(Cursor, Vec<u8>)>, Failure> {
    match app.sessions.snapshot(stream).await {
        Ok(snapshot) => Ok(Some((snapshot.at, frame::sync(snapshot.at, reset, &snapshot.state)))),
        Err(Failure::Refused(Refusal::NotFound)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A stream that is not known: nothing to resume is an answer, anything else is not found.
fn unknown(wanted: Wanted) -> Result<Reply, Problem> {
    match wanted {
        Wanted::State => Ok(no_content()),
        Wanted::First | Wanted::After(_) => Err(Problem::not_found()),
    }
}

fn no_content() -> Reply {
    answer::empty(StatusCode::NO_CONTENT).into()
}

pub(super) fn headers() -> HeaderMap {
    let pairs = [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("content-encoding", "identity"),
    ];
    pairs.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).into_iter().collect()
}

/// A response body in the making.
pub(super) struct Live {
    stream: StreamId,
    /// The last record sent.
    position: Cursor,
    first: Vec<u8>,
    /// The job was settled when the response began: its log does not grow.
    settled: bool,
    /// How long the reader's position may stay beyond the end of the log.
    beyond: Option<Deadline>,
    /// A hole in the log before this sequence is known, and the reader was reset for it.
    hole: u64,
    /// While a state is in memory.
    held: Option<Held>,
}

/// What one look at the log gave.
enum Look {
    /// Frames to send, perhaps none yet; look again at once.
    Frames(Vec<u8>),
    /// The last frames, perhaps none.
    End(Vec<u8>),
    /// Nothing is new.
    Nothing,
    /// The store did not answer.
    Failed,
}

impl Live {
    /// Sends until the end, the client leaves, or it has taken long enough.
    ///
    /// Errors: it is not whole.
    pub(super) async fn send(mut self, app: &App, held: Held, out: &mut Out) -> Result<(), Gone> {
        let config = &app.config;
        let [pause_min, pause_max] = config.poll;
        let taken = || Deadline::after(config.stall_max);
        let reader = wake::Reader::join(&self.stream);
        let end = Deadline::after(config.live_max);
        let mut pause = pause_min;
        let mut keep_alive = Deadline::after(config.keep_alive);
        let mut overdue = Deadline::after(OVERDUE_EVERY);
        let mut failing: Option<Deadline> = None;
        self.held = Some(held);
        out.write(&std::mem::take(&mut self.first), taken()).await?;
        while !end.is_over() {
            self.held = None;
            let spaced = Deadline::after(LOOKS_APART.min(pause_min));
            let look = self.look(app).await;
            match &look {
                Look::Failed => {
                    // The client comes back with its cursor, perhaps to a host that reaches the store.
                    if failing.get_or_insert_with(|| Deadline::after(config.store_wait)).is_over() {
                        return Err(Gone);
                    }
                }
                _ => failing = None,
            }
            match look {
                Look::Frames(frames) if !frames.is_empty() => {
                    // One append may be more than a page.
                    if frames.len() > 2 * PAGE_BYTES_MAX {
                        self.held.get_or_insert_with(Held::take);
                    }
                    out.write(&frames, taken()).await?;
                    keep_alive = Deadline::after(config.keep_alive);
                    pause = pause_min;
                    // A full page is not the last one.
                    if frames.len() < PAGE_BYTES_MAX {
                        drop(frames);
                        self.held = None;
                        reader.wait(pause.min(keep_alive.left()).min(end.left()), spaced).await;
                    }
                    continue;
                }
                Look::End(frames) => return out.write(&frames, taken()).await,
                // Internal records: the reader hears nothing of them, and is asked after all the same.
                Look::Frames(_) => pause = pause_min,
                Look::Nothing | Look::Failed => {}
            }
            if overdue.is_over() {
                overdue = Deadline::after(OVERDUE_EVERY);
                let _held = Held::take();
                let _ = app.sessions.job(&self.stream).await;
            }
            if keep_alive.is_over() {
                keep_alive = Deadline::after(config.keep_alive);
                out.write(frame::KEEP_ALIVE, taken()).await?;
            }
            self.held = None;
            let woken = reader.wait(pause.min(keep_alive.left()).min(end.left()), spaced).await;
            pause = if woken { pause_min } else { (pause * 5 / 4).min(pause_max) };
            // A client that has left is noticed here, or at the next write.
            out.check()?;
        }
        Ok(())
    }

    async fn look(&mut self, app: &App) -> Look {
        match app.sessions.store.read(&self.stream, self.position, PAGE_BYTES_MAX).await {
            Ok(Page::Entries(entries)) if entries.is_empty() => {
                self.beyond = None;
                if self.settled { Look::End(Vec::new()) } else { Look::Nothing }
            }
            Ok(Page::Entries(entries)) => self.page(app, &entries).await,
            Ok(Page::Reset(end)) if end.generation != self.position.generation => {
                Look::End(frame::reconcile(end.generation))
            }
            Ok(Page::Reset(_)) => {
                if self.beyond.get_or_insert_with(|| Deadline::after(RESCUE_WAIT)).is_over() {
                    return self.reset(app).await;
                }
                Look::Nothing
            }
            Ok(Page::Gone) => Look::End(Vec::new()),
            Err(_) => Look::Failed,
        }
    }

    /// The frames of what the reader lacks of these entries, up to a hole.
    async fn page(&mut self, app: &App, entries: &[Entry]) -> Look {
        self.beyond = None;
        let before = self.position;
        let mut frames = Vec::with_capacity(entries.iter().map(frame::encoded_bytes_max).sum());
        for entry in entries {
            let first = entry.first.sequence;
            if first > self.position.sequence + 1 && first > self.hole {
                // Records are gone from the log: what comes before the hole is sent, then the reader is told.
                if self.position == before {
                    let look = self.reset(app).await;
                    // Without a state the reader does not know of the hole: the next look finds it again.
                    if !matches!(look, Look::Failed) {
                        self.hole = first;
                    }
                    return look;
                }
                break;
            }
            frame::encode(entry, self.position.sequence, &mut frames);
            self.position.sequence = entry.last().max(self.position.sequence);
            if entry.terminal().is_some() {
                return Look::End(frames);
            }
        }
        Look::Frames(frames)
    }

    /// The client cannot go on from where it is: it gets the present state.
    async fn reset(&mut self, app: &App) -> Look {
        self.beyond = None;
        self.held.get_or_insert_with(Held::take);
        match cut(app, &self.stream, true).await {
            Ok(Some((at, _))) if at.generation != self.position.generation => {
                Look::End(frame::reconcile(at.generation))
            }
            Ok(Some((at, state))) => {
                self.position = at;
                Look::Frames(state)
            }
            Ok(None) => Look::End(Vec::new()),
            Err(_) => Look::Failed,
        }
    }
}
