//! The way of every command: find or open the session, call, write, settle, tell.

use std::time::Instant;

use tracing::Instrument as _;

use super::bindings::rejoin::streams::types::Refusal;
use super::imports::{Asked, What, Write};
use super::instance::Live;
use super::registry::Sessions;
use super::standing::Standing;
use super::{Failure, convert};
use crate::metrics::Reason;
use crate::store::{Patience, Written};
use crate::trace;
use crate::types::{Entry, StreamId};

/// How often a command starts over because another producer appended in between.
pub(super) const ATTEMPTS: u32 = 8;

/// What a command must find in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// The job, and everything that the log has made.
    Content,
    /// The job alone: a stream whose content cannot be opened any more can still be replaced.
    Row,
}

/// What an accepted command leaves to look at.
pub(super) struct Done<'a> {
    pub live: &'a mut Live,
    /// The records that were written, if any.
    pub entry: Option<&'a Entry>,
}

impl Sessions {
    /// Runs `command`; when the store has accepted what it asked for, `after` looks at the result.
    ///
    /// `command` is repeated on a freshly opened session when the store says that the present one is behind. A command
    /// that wrote nothing is believed only when the store still stands where the session does: the store fences every
    /// write, and nothing else would fence what is only read.
    ///
    /// Whoever drops this future while the store writes drops the session with it; the log remains the truth, and a wake
    /// makes subscribers look there.
    pub(super) async fn run<T, U>(
        &self,
        stream: &StreamId,
        needs: Needs,
        command: impl Fn(&mut Live) -> Result<T, Failure>,
        after: impl FnOnce(T, Done<'_>) -> Result<U, Failure>,
    ) -> Result<U, Failure> {
        let span = tracing::trace_span!(target: trace::SPANS, "command", rejoin.stream = %stream);
        let result = self.attempt(stream, needs, command, after).instrument(span).await;
        match &result {
            Err(Failure::Refused(refusal)) => self.meter().refused(convert::reason(refusal)),
            Err(Failure::Contended) => self.meter().refused(Reason::Contended),
            _ => {}
        }
        result
    }

    /// The same, uncounted.
    pub(super) async fn attempt<T, U>(
        &self,
        stream: &StreamId,
        needs: Needs,
        command: impl Fn(&mut Live) -> Result<T, Failure>,
        after: impl FnOnce(T, Done<'_>) -> Result<U, Failure>,
    ) -> Result<U, Failure> {
        let (slot, patience) = (self.slot(stream)?, self.patience());
        let mut place = patience.wait(slot.live.lock()).await?;
        for _ in 0..ATTEMPTS {
            // Left by whoever gave up in the middle: it was good for that command only.
            place.take_if(|live| !live.whole);
            let fresh = place.is_none();
            let live = match &mut *place {
                Some(live) => live,
                empty => empty.insert(match needs {
                    Needs::Content => self.open_session(stream, patience).await?,
                    Needs::Row => self.open_row(stream, patience).await?,
                }),
            };
            let value = match command(live) {
                Err(failure) if !matches!(failure, Failure::Refused(_)) => {
                    *place = None;
                    return Err(self.after_trap(stream, failure).await);
                }
                value => value,
            };
            let Some(write) = live.take_asked().write else {
                if !fresh && !self.agrees(stream, live, patience).await? {
                    *place = None;
                    continue;
                }
                let result = value.and_then(|value| after(value, Done { live, entry: None }));
                place.take_if(|live| !live.whole || !matches!(result, Ok(_) | Err(Failure::Refused(_))));
                return result;
            };
            let value = value?;
            // What it has folded is not true until the store says so: from here on it goes with this future.
            let Some(mut live) = place.take() else { return Err(Failure::Overloaded) };
            let mut written = self.write(stream, live.id, live.revision, &write, patience).await?;
            if matches!(written, Written::Ahead(_) | Written::NotFound)
                && let What::Append { entry, status, .. } = &write.what
            {
                let began = Instant::now();
                written = self.rescue(stream, &mut live, Some(entry.clone()), patience).await?;
                // The row may be at any revision then: this session is good for the rest of this command.
                live.whole &= written != Written::Accepted;
                if written == Written::Accepted {
                    self.meter().appended(entry.as_ref(), *status, began.elapsed());
                }
            }
            match written {
                Written::Accepted => {}
                Written::Behind(_) | Written::Ahead(_) => continue,
                // The job that this session knew was removed, replaced or ended behind its back: look again.
                _ if !fresh || matches!(write.what, What::Create { .. }) => continue,
                other => return Err(Failure::Refused(convert::refusal(other).unwrap_or(Refusal::Lost))),
            }
            let entry = live.accepted(&write);
            if let Err(failure) = live.settle(write.ticket, None) {
                // It is in the log, whatever the component makes of it: readers hear of it, and whoever asked gets the
                // answer where it can still be had.
                let publish = Asked { publish: true, ..Asked::default() };
                self.tell(stream, &write.what, &publish).await;
                let result = after(value, Done { live: &mut live, entry: entry.as_ref() });
                drop(live);
                let failure = self.after_trap(stream, failure).await;
                return result.map_err(|_| failure);
            }
            let mut asked = live.take_asked();
            let checkpoint = asked.checkpoint.take();
            checkpoint.into_iter().for_each(|(at, state)| self.checkpoints.put(stream, at, state));
            let result = after(value, Done { live: &mut live, entry: entry.as_ref() });
            if live.whole && matches!(result, Ok(_) | Err(Failure::Refused(_))) {
                *place = Some(live);
            }
            self.tell(stream, &write.what, &asked).await;
            return result;
        }
        Err(Failure::Contended)
    }

    /// Whether the store stands where the session does. What the store has forgotten it is given back, and then it does
    /// not.
    async fn agrees(&self, stream: &StreamId, live: &mut Live, patience: Patience) -> Result<bool, Failure> {
        let head = patience.ask(|| self.store.heads(std::slice::from_ref(stream))).await?;
        let standing = live.standing(head.first().copied().flatten())?;
        if standing == Standing::Ahead {
            self.rescue(stream, live, None, patience).await?;
        }
        Ok(standing == Standing::Current)
    }
}

impl Live {
    /// Notes what the store has accepted: the entry, if any.
    fn accepted(&mut self, write: &Write) -> Option<Entry> {
        self.unconfirmed = true;
        match &write.what {
            What::Create { .. } => {
                // A new generation is empty: there is nothing to replay.
                (self.ended, self.revision, self.last_entry, self.whole) = (None, 1, None, true);
                None
            }
            What::Append { first, entry, status, .. } => {
                self.revision += 1;
                if status.is_some_and(|status| status.is_terminal()) {
                    self.ended = Some(first.generation);
                }
                if entry.is_some() {
                    self.last_entry = entry.clone().filter(|entry| entry.is_worth_keeping());
                }
                entry.clone()
            }
        }
    }
}

/// Bytes of a last entry that a session keeps at hand.
const LAST_ENTRY_BYTES: usize = 16 * 1024;

impl Entry {
    /// The end of a generation must come back as a record; of other entries the checkpoint has all there is to know.
    fn is_worth_keeping(&self) -> bool {
        self.terminal().is_some() || self.lines.len() <= LAST_ENTRY_BYTES
    }
}
