//! Tickets that wait for their use.

use std::collections::HashMap;
use std::sync::Arc;

use crate::store::{NewTicket, TICKETS_MAX, USER_TICKETS_MAX};
use crate::types::StreamId;

/// Of all streams together. Some megabytes, and more than any host's readers need at a time.
const ALL_MAX: usize = 65_536;

/// What is kept of each: no ticket outlives its time by more than a sweep.
#[derive(Default)]
pub(super) struct Tickets {
    streams: HashMap<StreamId, Vec<Waiting>>,
    /// How many of each subject wait. Nobody is in it for nothing.
    subjects: HashMap<Arc<str>, usize>,
    count: usize,
}

struct Waiting {
    hash: [u8; 32],
    subject: Arc<str>,
    expires_ms: u64,
}

impl Tickets {
    pub(super) fn put(
        &mut self,
        stream: &StreamId,
        hash: [u8; 32],
        subject: &str,
        expires_ms: u64,
        now_ms: u64,
    ) -> NewTicket {
        self.forget_ended(stream, now_ms);
        let of_subject = self.subjects.get(subject).copied().unwrap_or_default();
        if self.streams.get(stream).map_or(0, Vec::len) >= TICKETS_MAX {
            return NewTicket::TooManyOfStream;
        }
        if of_subject >= USER_TICKETS_MAX {
            return NewTicket::TooManyOfUser;
        }
        if self.count >= ALL_MAX {
            return NewTicket::TooMany;
        }
        let subject: Arc<str> =
            self.subjects.get_key_value(subject).map_or_else(|| subject.into(), |(name, _)| name.clone());
        self.subjects.insert(subject.clone(), of_subject + 1);
        self.streams.entry(stream.clone()).or_default().push(Waiting { hash, subject, expires_ms });
        self.count += 1;
        NewTicket::Kept
    }

    /// Its subject, once.
    pub(super) fn take(&mut self, stream: &StreamId, hash: [u8; 32], now_ms: u64) -> Option<String> {
        let waiting = self.streams.get_mut(stream)?;
        let at = waiting.iter().position(|ticket| ticket.hash == hash)?;
        let ticket = waiting.swap_remove(at);
        if waiting.is_empty() {
            self.streams.remove(stream);
        }
        self.forget(&ticket);
        (ticket.expires_ms > now_ms).then(|| ticket.subject.as_ref().to_owned())
    }

    /// A ticket that is not among those of its stream any more counts no more.
    fn forget(&mut self, ticket: &Waiting) {
        self.count -= 1;
        if let Some(count) = self.subjects.get_mut(&ticket.subject) {
            *count -= 1;
            if *count == 0 {
                self.subjects.remove(&ticket.subject);
            }
        }
    }

    fn forget_ended(&mut self, stream: &StreamId, now_ms: u64) {
        let Some(waiting) = self.streams.get_mut(stream) else { return };
        let ended: Vec<_> = waiting.extract_if(.., |ticket| ticket.expires_ms <= now_ms).collect();
        if waiting.is_empty() {
            self.streams.remove(stream);
        }
        ended.iter().for_each(|ticket| self.forget(ticket));
    }

    /// Forgets what is over.
    pub(super) fn sweep(&mut self, now_ms: u64) {
        let mut ended = Vec::new();
        self.streams.retain(|_, waiting| {
            ended.extend(waiting.extract_if(.., |ticket| ticket.expires_ms <= now_ms));
            !waiting.is_empty()
        });
        ended.iter().for_each(|ticket| self.forget(ticket));
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0 && self.streams.is_empty() && self.subjects.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: impl std::fmt::Display) -> StreamId {
        StreamId::parse(&format!("s{name}")).expect("it is valid")
    }

    #[test]
    fn a_sweep_leaves_nothing_of_what_is_over() {
        let mut tickets = Tickets::default();
        for (hash, expires_ms) in [([1; 32], 10), ([2; 32], 20)] {
            assert_eq!(tickets.put(&stream(1), hash, "ann", expires_ms, 0), NewTicket::Kept);
        }
        tickets.sweep(10);
        assert_eq!((tickets.count, tickets.subjects["ann"]), (1, 1));
        assert_eq!(tickets.take(&stream(1), [1; 32], 0), None);
        tickets.sweep(20);
        assert!(tickets.is_empty());
    }

    #[test]
    fn one_user_takes_no_more_than_a_part_and_nothing_of_the_others() {
        let mut tickets = Tickets::default();
        // As many as may be of each stream, so that no stream's bound is the one that is met.
        let place = |at: usize| (stream(at / TICKETS_MAX), [u8::try_from(at % TICKETS_MAX).expect("few"); 32]);
        for at in 0..USER_TICKETS_MAX {
            let (stream, hash) = place(at);
            assert_eq!(tickets.put(&stream, hash, "ann", 10, 0), NewTicket::Kept, "{at}");
        }
        let (more, hash) = place(USER_TICKETS_MAX);
        assert_eq!(tickets.put(&more, hash, "ann", 20, 0), NewTicket::TooManyOfUser);
        assert_eq!(tickets.put(&more, hash, "bob", 20, 0), NewTicket::Kept);
        let (first, used) = place(0);
        assert_eq!(tickets.take(&first, used, 0).as_deref(), Some("ann"), "a use makes room");
        assert_eq!(tickets.put(&more, [100; 32], "ann", 20, 0), NewTicket::Kept);
        assert_eq!(tickets.put(&more, [101; 32], "ann", 20, 0), NewTicket::TooManyOfUser);
        tickets.sweep(10);
        assert_eq!(tickets.put(&more, [101; 32], "ann", 20, 10), NewTicket::Kept, "so does time");
        tickets.sweep(20);
        assert!(tickets.is_empty());
    }

    #[test]
    fn many_users_together_take_no_more_than_all_there_is() {
        let mut tickets = Tickets::default();
        for at in 0..ALL_MAX {
            assert_eq!(tickets.put(&stream(at), [0; 32], &format!("u{}", at / 256), 10, 0), NewTicket::Kept);
        }
        assert_eq!(tickets.put(&stream("more"), [0; 32], "somebody", 10, 0), NewTicket::TooMany);
        assert!(!tickets.streams.contains_key(&stream("more")), "what is refused leaves nothing");
        tickets.sweep(10);
        assert!(tickets.is_empty());
    }
}
