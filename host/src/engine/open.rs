//! How a session comes to be: from the row, the checkpoint and the log after it.

use super::Failure;
use super::bindings::rejoin::streams::types::Limits;
use super::instance::Live;
use super::registry::{Sessions, millis};
use super::run::ATTEMPTS;
use crate::store::{Page, Patience, StoreError, Written};
use crate::types::{Cursor, Entry, Job, StreamId};

/// Bytes of log that one replay call takes.
const REPLAY_BYTES: usize = 256 * 1024;
/// How often an opening starts over because the stream moved on in between.
const OPENINGS: u32 = 8;

impl Sessions {
    /// Opens the session of a stream from its job, checkpoint and the log after it.
    pub(super) async fn open_session(&self, stream: &StreamId, patience: Patience) -> Result<Live, Failure> {
        let (failure, reason) = match self.try_open(stream, patience).await {
            Ok(Some(live)) => return Ok(live),
            Ok(None) => (Failure::Trapped("a hole in the log".to_owned()), "records are missing from the log"),
            Err(failure @ Failure::Trapped(_)) => (failure, "component trapped"),
            Err(failure @ Failure::LimitExceeded(_)) => (failure, "limit exceeded"),
            Err(failure) => return Err(failure),
        };
        // The generation cannot be opened any more. Its readers must hear of it.
        self.end_unopened(stream, reason, patience).await?;
        Err(failure)
    }

    /// None when the log has a hole that no checkpoint covers.
    ///
    /// Row, checkpoint and log are three reads, and others write in between. The row says where the session is to stand:
    /// neither a newer checkpoint nor newer records are taken, which would give it records without what they did to the
    /// row, the end of a generation that still counts as running for one.
    async fn try_open(&self, stream: &StreamId, patience: Patience) -> Result<Option<Live>, Failure> {
        for opening in 1..=OPENINGS {
            let Some(job) = patience.ask(|| self.store.job(stream)).await? else {
                return self.new_live(stream, None, None).map(Some);
            };
            let end = job.cursor();
            let checkpoint = patience.ask(|| self.store.checkpoint(stream, end.generation)).await?;
            // One that is newer each time is none that this row will ever reach: the log tells the same.
            let checkpoint = match checkpoint {
                Some((at, _)) if at.sequence > end.sequence && opening < OPENINGS => continue,
                other => other.filter(|(at, _)| at.sequence <= end.sequence),
            };
            let mut live = self.new_live(stream, Some(job), checkpoint.as_ref().map(|(_, state)| state.as_str()))?;
            // A session that was ahead of a store that forgot may be giving it back right now: then the checkpoint that
            // covers the hole is newer than the one just read.
            if self.catch_up(stream, &mut live, end, patience).await? {
                return Ok(Some(live));
            }
        }
        Ok(None)
    }

    /// Opens the session of a stream from its row alone.
    pub(super) async fn open_row(&self, stream: &StreamId, patience: Patience) -> Result<Live, Failure> {
        let job = patience.ask(|| self.store.job(stream)).await?;
        let mut live = self.new_live(stream, job, None)?;
        live.whole = false;
        Ok(live)
    }

    fn new_live(&self, stream: &StreamId, job: Option<Job>, checkpoint: Option<&str>) -> Result<Live, Failure> {
        let limits = Limits {
            record_bytes_max: self.config.record_bytes_max,
            records_max: self.config.records_max,
            log_bytes_max: self.config.log_bytes_max,
            idle_ms: millis(self.config.job_idle),
            paused_idle_ms: millis(self.config.paused_idle),
        };
        Live::open(self.runtime(), self.session_id(), stream, job, checkpoint, limits)
    }

    /// Replays the log after the session's position up to `end`. False when it has a hole.
    async fn catch_up(
        &self,
        stream: &StreamId,
        live: &mut Live,
        end: Cursor,
        patience: Patience,
    ) -> Result<bool, Failure> {
        let mut at = live.head()?;
        while at.sequence < end.sequence {
            let page: Result<Page, StoreError> = patience.ask(|| self.store.read(stream, at, REPLAY_BYTES)).await;
            let entries = match page? {
                Page::Entries(entries) if entries.is_empty() => return Ok(false),
                Page::Entries(entries) => entries,
                // Replaced or removed just now, or forgotten: the session is told so when the store is asked again.
                Page::Reset(_) | Page::Gone => return Ok(true),
            };
            let Some(lines) = next_lines(&entries, &mut at, end) else { return Ok(false) };
            live.replay(&String::from_utf8_lossy(&lines))?;
        }
        Ok(true)
    }

    /// Ends a generation without opening its content, because the content is what cannot be opened.
    pub(super) async fn end_unopened(
        &self,
        stream: &StreamId,
        reason: &str,
        patience: Patience,
    ) -> Result<(), Failure> {
        for _ in 0..ATTEMPTS {
            let Some(job) = patience.ask(|| self.store.job(stream)).await?.filter(|job| !job.status.is_terminal())
            else {
                return Ok(());
            };
            let mut live = self.new_live(stream, Some(job), None)?;
            live.fail(None, reason)?;
            let Some(write) = live.take_asked().write else { return Ok(()) };
            if self.write(stream, live.id, live.revision, &write, patience).await? == Written::Accepted {
                live.settle(write.ticket, None)?;
                let asked = live.take_asked();
                self.tell(stream, &write.what, &asked).await;
                return Ok(());
            }
        }
        Err(Failure::Contended)
    }
}

/// The records of `entries` after `at` up to `end`, one a line, and `at` behind them. None when one is missing in between.
fn next_lines(entries: &[Entry], at: &mut Cursor, end: Cursor) -> Option<Vec<u8>> {
    let mut lines = Vec::with_capacity(entries.iter().map(|entry| entry.lines.len()).sum());
    for (cursor, _, line) in entries.iter().flat_map(Entry::records) {
        if (at.sequence + 1..=end.sequence).contains(&cursor.sequence) {
            if cursor.sequence != at.sequence + 1 {
                return None;
            }
            lines.extend_from_slice(line);
            lines.push(b'\n');
            *at = cursor;
        }
    }
    Some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(first: u64, lines: &'static str) -> Entry {
        let count = lines.matches('\n').count() as u64;
        Entry { first: Cursor { generation: 1, sequence: first }, lines: lines.into(), kinds: [].into(), count }
    }

    #[test]
    fn what_is_replayed_has_no_repeat_and_no_hole() {
        let mut at = Cursor { generation: 1, sequence: 2 };
        let end = Cursor { generation: 1, sequence: 6 };
        let entries = [entry(1, "a\nb\nc\n"), entry(4, "d\n")];
        assert_eq!(next_lines(&entries, &mut at, end).as_deref(), Some(&b"c\nd\n"[..]));
        assert_eq!(at.sequence, 4);
        assert_eq!(next_lines(&[entry(6, "f\n")], &mut at, end), None, "the fifth is missing");
        assert_eq!(next_lines(&[entry(5, "e\nf\ng\n")], &mut at, end).as_deref(), Some(&b"e\nf\n"[..]));
        assert_eq!(at, end, "what came after the row was read is left out");
    }
}
