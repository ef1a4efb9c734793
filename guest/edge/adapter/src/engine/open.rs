//! A session from row, checkpoint and log. The server's `host/src/engine/open.rs` says why each step is as it is.

use super::Failure;
use super::convert;
use super::run::{ATTEMPTS, Live, Needs, Sessions, asked, write_of};
use crate::bindings::rejoin::streams::session::{Outcome, Session};
use crate::store::{Page, StoreError, Written};
use crate::types::{Cursor, Entry, Job, StreamId};
use crate::wasi::get_random_u64;

/// Why a generation ended that cannot be opened.
const MISSING: &str = "records are missing from the log";
/// Bytes of log that one replay call takes.
const REPLAY_BYTES: usize = 256 * 1024;

impl Sessions {
    pub(super) async fn opened(&self, stream: &StreamId, needs: Needs) -> Result<Live, Failure> {
        match needs {
            Needs::Row => {
                let row = self.patiently(async || self.store.row(stream).await).await?;
                Ok(self.live(stream, row.as_ref().map(|row| &row.job), None))
            }
            Needs::Content => self.open(stream, self.job(stream).await?).await,
            Needs::Overdue => {
                self.open(stream, self.patiently(async || self.store.row(stream).await).await?.map(|row| row.job)).await
            }
        }
    }

    /// The session of a stream from its row, its checkpoint and the log after it, up to where the row says that it stands.
    async fn open(&self, stream: &StreamId, mut known: Option<Job>) -> Result<Live, Failure> {
        for opening in 1..=ATTEMPTS {
            let Some(job) = &known else { return Ok(self.live(stream, None, None)) };
            let end = job.cursor();
            let kept = self.patiently(async || self.store.checkpoint(stream, end.generation).await).await?;
            let is_newer = kept.as_ref().is_some_and(|(at, _)| at.sequence > end.sequence);
            if !is_newer || opening == ATTEMPTS {
                let state = kept.filter(|_| !is_newer).map(|(_, state)| state);
                let live = self.live(stream, Some(job), state.as_deref());
                if self.catch_up(stream, &live, end).await? {
                    return Ok(live);
                }
            }
            known = self.patiently(async || self.store.row(stream).await).await?.map(|row| row.job);
        }
        self.end_unopened(stream).await?;
        Err(StoreError::Unavailable(MISSING.to_owned()).into())
    }

    /// Ends a generation whose content cannot be opened any more: nobody could write to it, or read it to its end.
    async fn end_unopened(&self, stream: &StreamId) -> Result<(), Failure> {
        for _ in 0..ATTEMPTS {
            let row = self.patiently(async || self.store.row(stream).await).await?;
            let Some(job) = row.map(|row| row.job).filter(|job| !job.status.is_terminal()) else { return Ok(()) };
            let mut live = self.live(stream, Some(&job), None);
            let (failed, calls) = asked(|| live.session.fail(None, MISSING));
            failed?;
            let Some(write) = write_of(&live, calls) else { return Ok(()) };
            if self.write(stream, &live, &write).await? == Written::Accepted {
                let (ticket, _) = live.accepted(&write);
                let (settled, told) = asked(|| live.session.settle(ticket, &Outcome::Accepted));
                settled?;
                self.tell(stream, told).await;
                return Ok(());
            }
        }
        Err(Failure::Contended)
    }

    fn live(&self, stream: &StreamId, job: Option<&Job>, checkpoint: Option<&str>) -> Live {
        let wit_job = job.map(convert::wit_job);
        let session = Session::open(stream.as_str(), wit_job.as_ref(), checkpoint, self.limits);
        // Half of the numbers: a script must be able to read it as text of base 36, and others count on from theirs.
        Live { session, id: get_random_u64() >> 1, revision: job.map_or(0, |job| job.revision) }
    }

    /// Replays the log after the session's position up to `end`. False when it has a hole.
    async fn catch_up(&self, stream: &StreamId, live: &Live, end: Cursor) -> Result<bool, Failure> {
        let mut at = Cursor::from(live.session.head());
        while at.sequence < end.sequence {
            let entries = match self.patiently(async || self.store.read(stream, at, REPLAY_BYTES).await).await? {
                Page::Entries(entries) if entries.is_empty() => return Ok(false),
                Page::Entries(entries) => entries,
                // Replaced or removed just now: the store says so when it is written to.
                Page::Reset(_) | Page::Gone => return Ok(true),
            };
            let mut lines = String::new();
            for (cursor, _, line) in entries.iter().flat_map(Entry::records) {
                if !(at.sequence + 1..=end.sequence).contains(&cursor.sequence) {
                    continue;
                }
                if cursor.sequence != at.sequence + 1 {
                    return Ok(false);
                }
                lines.push_str(&String::from_utf8_lossy(line));
                lines.push('\n');
                at = cursor;
            }
            live.session.replay(&lines)?;
        }
        Ok(true)
    }
}
