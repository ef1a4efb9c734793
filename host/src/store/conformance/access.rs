//! Cases: what users see of one another in figures, and the tickets of readers.

use std::thread;

use crate::store::{NewTicket, TICKETS_MAX};
use crate::types::Status;

use super::{Bench, stream, ticket};

const HASH: [u8; 32] = [7; 32];

impl Bench {
    fn put_ticket(&self, name: &str, hash: [u8; 32], subject: &str, after_ms: u64) -> bool {
        let expires_ms = self.clock.now_ms() + after_ms;
        match self.wait(self.store.put_ticket(&stream(name), hash, subject, expires_ms)) {
            NewTicket::Kept => true,
            NewTicket::TooManyOfStream => false,
            other => panic!("{other:?}"),
        }
    }

    fn take_ticket(&self, name: &str, hash: [u8; 32]) -> Option<String> {
        self.wait(self.store.take_ticket(&stream(name), hash))
    }
}

pub(crate) fn each_user_has_counts_of_their_own(bench: &Bench) {
    for (name, user) in [("a", "ann"), ("b", "ann"), ("c", "bob"), ("d", "ann any")] {
        let job = bench.new_job(100, user);
        bench.wait(bench.store.create(&stream(name), ticket(100, 0), 0, job));
    }
    bench.end("b", 100, 1, Status::Aborted);
    let counts = |user: &str| bench.wait(bench.store.counts_of(user));
    assert_eq!(counts("ann"), [1, 0, 0, 0, 1]);
    assert_eq!((counts("bob"), counts("ann any")), ([1, 0, 0, 0, 0], [1, 0, 0, 0, 0]));
    assert_eq!((counts("an"), counts("")), ([0; 5], [0; 5]));
    assert_eq!(bench.counts(), [3, 0, 0, 0, 1]);
    bench.wait(bench.store.remove(&stream("c"), 100));
    assert_eq!(counts("bob"), [0; 5]);
}

pub(crate) fn a_ticket_is_taken_once_and_only_for_its_stream(bench: &Bench) {
    assert_eq!(bench.take_ticket("s", HASH), None);
    assert!(bench.put_ticket("s", HASH, "ann with\nblanks", 1_000));
    assert_eq!(bench.take_ticket("other", HASH), None);
    assert_eq!(bench.take_ticket("s", [8; 32]), None);
    assert_eq!(bench.take_ticket("s", HASH).as_deref(), Some("ann with\nblanks"));
    assert_eq!(bench.take_ticket("s", HASH), None);
    // Whoever comes at the same moment: one of them has it.
    assert!(bench.put_ticket("s", HASH, "ann", 1_000));
    let takers: usize = thread::scope(|scope| {
        let takers: Vec<_> = (0..8).map(|_| scope.spawn(|| bench.take_ticket("s", HASH).is_some())).collect();
        takers.into_iter().map(|taker| usize::from(taker.join().expect("it asks"))).sum()
    });
    assert_eq!(takers, 1);
}

pub(crate) fn a_ticket_ends_with_its_time(bench: &Bench) {
    assert!(bench.put_ticket("s", HASH, "ann", 1_000) && bench.put_ticket("s", [8; 32], "ann", 1_001));
    bench.clock.advance_ms(1_000);
    assert_eq!(bench.take_ticket("s", HASH), None);
    assert_eq!(bench.take_ticket("s", [8; 32]).as_deref(), Some("ann"));
}

pub(crate) fn a_stream_has_a_bounded_number_of_tickets(bench: &Bench) {
    let put = |at: usize| bench.put_ticket("s", [u8::try_from(at).expect("few"); 32], "ann", 1_000);
    assert!((0..TICKETS_MAX).all(put));
    assert!(!put(100) && bench.put_ticket("other", HASH, "ann", 1_000));
    assert!(bench.take_ticket("s", [0; 32]).is_some() && put(101) && !put(102));
    bench.clock.advance_ms(1_000);
    assert!(put(103), "what is over makes room before any sweep");
}
