//! Compares followed streams with the store, and reads what the hub lacks: once, for all who read here.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::{BackOff, Log, Task, bounded};
use crate::sse::Signal;
use crate::sse::hub::Known;
use crate::store::{Head, Page, StoreError};
use crate::types::{Cursor, StreamId};

/// Bytes of one read.
const PAGE_BYTES_MAX: usize = 256 * 1024;
/// Looks, a second apart.
const GONE_LOOKS: u32 = 4;
/// Reads at a time, and reads before streams are compared again.
const READS_AT_ONCE: usize = 8;
const READS_MAX: usize = 64;

impl<L: Log + ?Sized> Task<'_, L> {
    pub(super) async fn catch_up(&self) {
        let mut back_off = BackOff::new();
        loop {
            if !self.book().has_work() {
                self.to_look.notified().await;
                continue;
            }
            match self.catch_up_once().await {
                Ok(()) => back_off.reset(),
                Err(error) => {
                    tracing::debug!(%error, "cannot compare with the store");
                    back_off.pause().await;
                }
            }
        }
    }

    async fn catch_up_once(&self) -> Result<(), StoreError> {
        let streams = self.book().reads(READS_MAX);
        let (mut reads, mut done) = (FuturesUnordered::new(), Ok(()));
        for stream in streams {
            reads.push(self.read(stream));
            if reads.len() >= READS_AT_ONCE {
                done = done.and(reads.next().await.unwrap_or(Ok(())));
            }
        }
        while let Some(read) = reads.next().await {
            done = done.and(read);
        }
        done.and(self.look().await)
    }

    async fn look(&self) -> Result<(), StoreError> {
        let streams = self.book().take_looks();
        // What was published before the store is asked: if it has less then, it forgot.
        let before: Vec<_> = streams.iter().map(|stream| self.hub.known(stream)).collect();
        if streams.is_empty() {
            return Ok(());
        }
        match bounded(self.log.heads(&streams)).await {
            Ok(heads) => {
                for ((stream, known), head) in streams.iter().zip(before).zip(heads) {
                    if let Some(known) = known {
                        self.compare(stream, known, head);
                    }
                }
                Ok(())
            }
            Err(error) => {
                let mut book = self.book();
                streams.iter().for_each(|stream| book.look(stream));
                Err(error)
            }
        }
    }

    fn compare(&self, stream: &StreamId, known: Known, head: Option<Head>) {
        let Some(head) = head else { return self.no_row(stream, known) };
        let changed = {
            let mut book = self.book();
            let Some(followed) = book.get(stream) else { return };
            if head.cursor.generation >= known.generation {
                followed.gone = 0;
            }
            let state = (head.cursor.generation, head.status.is_terminal());
            followed.state.replace(state) != Some(state)
        };
        if changed && known.listeners {
            // Those of this generation look at the row, those of an older one are replaced.
            self.hub.signal(stream, head.cursor.generation, Signal::Settled);
        }
        self.ends(stream, known, head.cursor);
    }

    /// The log ended exactly at `end` after the hub stood as `known` says.
    fn ends(&self, stream: &StreamId, known: Known, end: Cursor) {
        if end.generation > known.generation {
            return self.hub.reached(stream, end);
        }
        match known.last {
            _ if end.generation < known.generation => self.no_row(stream, known),
            Some(last) if last > end.sequence => {
                tracing::warn!(%stream, published = last, %end, "the store has forgotten records");
                self.hub.doubt();
                self.hub.forgotten(stream, last, end);
            }
            _ => self.reaches(stream, known, end),
        }
    }

    /// A row that is missing, or of an older generation, for so many looks is gone: before, a store may be about to be given
    /// back what it forgot.
    fn no_row(&self, stream: &StreamId, known: Known) {
        let gone = {
            let mut book = self.book();
            let Some(followed) = book.get(stream) else { return };
            followed.gone += 1;
            let gone = followed.gone >= GONE_LOOKS && (known.generation > 0 || followed.state.is_some());
            if gone {
                followed.gone = 0;
            }
            gone
        };
        if gone {
            self.hub.gone(stream, known.generation);
        } else {
            self.hub.doubt();
        }
    }

    async fn read(&self, stream: StreamId) -> Result<(), StoreError> {
        let stream = &stream;
        let known = self.hub.known(stream).filter(|known| known.readers);
        let Some((known, last)) = known.and_then(|known| Some((known, known.last?))) else {
            self.book().take_read(stream);
            return Ok(());
        };
        let after = Cursor { generation: known.generation, sequence: last };
        let page = bounded(self.log.read(stream, after, PAGE_BYTES_MAX)).await?;
        // Taken only now: what came by wakes during the read is kept behind it.
        let missing = self.book().take_read(stream);
        match page {
            Page::Entries(entries) => {
                entries.iter().for_each(|entry| self.hub.publish(stream, entry));
                let progress = !entries.is_empty();
                for entry in &missing.ahead {
                    let Some(known) = self.hub.known(stream) else { return Ok(()) };
                    if known.generation == entry.first.generation {
                        self.offer(stream, known, entry);
                    }
                }
                let end = self.hub.known(stream).filter(|known| known.generation == after.generation);
                if progress && end.is_some_and(|known| known.last < Some(missing.target)) {
                    self.book().read(stream, missing.target);
                }
            }
            Page::Reset(end) => self.ends(stream, known, end),
            Page::Gone => self.book().look(stream),
        }
        Ok(())
    }
}
