//! Tickets that wait for their use.

use std::collections::HashMap;

use crate::store::TICKETS_MAX;
use crate::types::StreamId;

/// Of all streams together. Some megabytes, and more than any host's readers need at a time.
const ALL_MAX: usize = 65_536;

/// What is kept of each: no ticket outlives its time by more than a sweep.
#[derive(Default)]
pub(super) struct Tickets {
    streams: HashMap<StreamId, Vec<Waiting>>,
    count: usize,
}

struct Waiting {
    hash: [u8; 32],
    subject: String,
    expires_ms: u64,
}

impl Tickets {
    /// False when there are too many.
    pub(super) fn put(
        &mut self,
        stream: &StreamId,
        hash: [u8; 32],
        subject: &str,
        expires_ms: u64,
        now_ms: u64,
    ) -> bool {
        if self.count >= ALL_MAX {
            return false;
        }
        let waiting = self.streams.entry(stream.clone()).or_default();
        let before = waiting.len();
        waiting.retain(|ticket| ticket.expires_ms > now_ms);
        self.count -= before - waiting.len();
        if waiting.len() >= TICKETS_MAX {
            return false;
        }
        waiting.push(Waiting { hash, subject: subject.to_owned(), expires_ms });
        self.count += 1;
        true
    }

    /// Its subject, once.
    pub(super) fn take(&mut self, stream: &StreamId, hash: [u8; 32], now_ms: u64) -> Option<String> {
        let waiting = self.streams.get_mut(stream)?;
        let at = waiting.iter().position(|ticket| ticket.hash == hash)?;
        let ticket = waiting.swap_remove(at);
        self.count -= 1;
        if waiting.is_empty() {
            self.streams.remove(stream);
        }
        (ticket.expires_ms > now_ms).then_some(ticket.subject)
    }

    /// Forgets what is over.
    pub(super) fn sweep(&mut self, now_ms: u64) {
        self.streams.retain(|_, waiting| {
            waiting.retain(|ticket| ticket.expires_ms > now_ms);
            !waiting.is_empty()
        });
        self.count = self.streams.values().map(Vec::len).sum();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0 && self.streams.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_leaves_nothing_of_what_is_over() {
        let mut tickets = Tickets::default();
        let stream = StreamId::parse("s").expect("it is valid");
        assert!(tickets.put(&stream, [1; 32], "ann", 10, 0) && tickets.put(&stream, [2; 32], "ann", 20, 0));
        tickets.sweep(10);
        assert_eq!(tickets.count, 1);
        assert_eq!(tickets.take(&stream, [1; 32], 0), None);
        tickets.sweep(20);
        assert!(tickets.is_empty());
    }
}
