//! Cases: consumer groups.

use std::time::Duration;

use crate::store::groups::GROUPS_MAX;
use crate::store::{GroupKey, NewGroup, Unseen};
use crate::types::{Cursor, Entry, RecordKind, Status};

use super::{Bench, IDLE, RETENTION, entry, group_key, stream, ticket};

/// Longer than any test lasts, in the time of the store and in that of whatever is behind it.
const NEVER: Duration = Duration::from_secs(86_400);
/// Between "not yet" and "now": a store may tell the time by two clocks at once.
const SLACK_MS: u64 = 1_000;

impl Bench {
    fn group(&self, name: &str, group: &str, from_start: bool) -> NewGroup {
        self.wait(self.store.create_group(group_key(&stream(name), group), from_start))
    }

    fn take(&self, group: &str, consumer: &str, count: usize, redeliver_after: Duration) -> Vec<Entry> {
        let id = stream("s");
        let read = self.store.read_group(group_key(&id, group), consumer, count, 1 << 20, redeliver_after);
        let Unseen { entries, malformed } = self.wait(read);
        assert_eq!(malformed, 0);
        entries
    }

    /// Sequences of the entries that a consumer gets.
    fn next(&self, group: &str, consumer: &str, count: usize) -> Vec<u64> {
        lasts(&self.take(group, consumer, count, NEVER))
    }

    /// Sequence, consumer and deliveries of what is pending.
    fn pending(&self, group: &str) -> Vec<(u64, String, u64)> {
        let pending = self.wait(self.store.pending(group_key(&stream("s"), group), usize::MAX));
        pending.into_iter().map(|one| (one.id.sequence, one.consumer, one.deliveries)).collect()
    }

    fn acknowledge(&self, group: &str, generation: u64, sequences: &[u64]) -> u64 {
        let ids: Vec<_> = sequences.iter().map(|&sequence| Cursor { generation, sequence }).collect();
        self.wait(self.store.acknowledge(group_key(&stream("s"), group), &ids))
    }

    /// One entry for each size, after what is there.
    fn entries(&self, generation: u64, sizes: &[usize]) -> Vec<Entry> {
        let mut written = Vec::new();
        for size in sizes {
            let first = self.job("s").expect("it was created").head + 1;
            let texts: Vec<_> = (0..*size).map(|at| format!("{{\"n\":{}}}", first + at as u64)).collect();
            let texts: Vec<_> = texts.iter().map(String::as_str).collect();
            self.append("s", self.records("s", ticket(1, first), generation, first, &texts));
            written.push(entry(generation, first, &texts));
        }
        written
    }
}

fn lasts(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(Entry::last).collect()
}

fn held(pending: &[(u64, &str, u64)]) -> Vec<(u64, String, u64)> {
    pending.iter().map(|(last, consumer, deliveries)| (*last, (*consumer).to_owned(), *deliveries)).collect()
}

pub(crate) fn a_group_starts_at_the_first_record_or_after_the_last(bench: &Bench) {
    bench.create("s", 0, 100);
    let mut written = bench.entries(100, &[1, 3, 1]);
    assert_eq!(bench.group("s", "all", true), NewGroup::Made);
    assert_eq!(bench.group("s", "new", false), NewGroup::Made);
    assert_eq!(bench.take("new", "a", 10, NEVER), []);
    written.extend(bench.entries(100, &[2]));
    assert_eq!(bench.take("new", "a", 10, NEVER), written[3..]);
    assert_eq!(bench.take("all", "a", 10, NEVER), written, "as they were written, one an append");
}

pub(crate) fn a_group_gets_kinds_and_bytes_as_they_were_written(bench: &Bench) {
    bench.create("s", 0, 100);
    let mut write = bench.records("s", ticket(1, 1), 100, 1, &["é\\n\u{2028}\r", "", "x"]);
    let written = write.entry.as_mut().expect("records");
    written.kinds = [RecordKind::Event, RecordKind::Internal, RecordKind::Event].into();
    let written = written.clone();
    bench.append("s", write);
    bench.end("s", 100, 4, Status::Complete);
    bench.group("s", "g", true);
    let entries = bench.take("g", "a", 10, NEVER);
    assert_eq!((entries.len(), &entries[0]), (2, &written));
    assert_eq!(entries[1].terminal(), Some(RecordKind::Final));
}

pub(crate) fn a_group_made_before_the_first_record_sees_it(bench: &Bench) {
    bench.create("s", 0, 100);
    assert_eq!(bench.group("s", "all", true), NewGroup::Made);
    assert_eq!(bench.group("s", "new", false), NewGroup::Made);
    assert_eq!(bench.take("all", "a", 10, NEVER), []);
    let written = bench.entries(100, &[1, 1]);
    assert_eq!(bench.log("s", 100, 0, 1000).len(), 2, "the log is as if there were no groups");
    assert_eq!(bench.take("all", "a", 10, NEVER), written);
    assert_eq!(bench.take("new", "a", 10, NEVER), written);
}

pub(crate) fn each_entry_goes_to_one_consumer_of_each_group(bench: &Bench) {
    bench.create("s", 0, 100);
    bench.entries(100, &[1; 7]);
    for group in ["g", "h"] {
        bench.group("s", group, true);
        let (first, second) = (bench.next(group, "a", 3), bench.next(group, "b", 2));
        assert_eq!((first, second), (vec![1, 2, 3], vec![4, 5]));
        assert_eq!(bench.next(group, "a", 0), [0; 0]);
        assert_eq!(bench.next(group, "a", usize::MAX), [6, 7]);
        assert_eq!(bench.next(group, "b", 10), [0; 0]);
    }
}

pub(crate) fn what_does_not_fit_in_the_bytes_is_not_given_out(bench: &Bench) {
    bench.create("s", 0, 100);
    let written = bench.entries(100, &[1, 10, 1, 1]);
    bench.group("s", "g", true);
    let id = stream("s");
    let read = |bytes_max, redeliver_after| {
        let read = bench.store.read_group(group_key(&id, "g"), "a", 10, bytes_max, redeliver_after);
        lasts(&bench.wait(read).entries)
    };
    let small = written[0].lines.len();
    assert_eq!(read(0, NEVER), [1], "one at least");
    assert_eq!(bench.pending("g"), held(&[(1, "a", 1)]));
    assert_eq!(read(small, NEVER), [11], "one at least, however large it is");
    assert_eq!(read(3 * small, NEVER), [12, 13]);
    // The same for what comes again.
    assert_eq!(read(small, Duration::ZERO), [1]);
    assert_eq!(bench.pending("g"), held(&[(1, "a", 2), (11, "a", 1), (12, "a", 1), (13, "a", 1)]));
}

pub(crate) fn an_entry_comes_again_after_its_time_to_whoever_asks(bench: &Bench) {
    const AFTER: Duration = Duration::from_secs(4);
    let after_ms = AFTER.as_millis() as u64;
    bench.create("s", 0, 100);
    bench.entries(100, &[1; 3]);
    bench.group("s", "g", true);
    assert_eq!(bench.next("g", "a", 2), [1, 2]);
    bench.clock.advance_ms(after_ms / 2);
    assert_eq!(lasts(&bench.take("g", "b", 1, AFTER)), [3]);
    bench.clock.advance_ms(after_ms / 2 - SLACK_MS);
    assert_eq!(bench.take("g", "b", 10, AFTER), []);
    bench.entries(100, &[1]);
    bench.clock.advance_ms(SLACK_MS);
    // Those that come again first, then what is new.
    assert_eq!(lasts(&bench.take("g", "b", 10, AFTER)), [1, 2, 4]);
    assert_eq!(bench.pending("g"), held(&[(1, "b", 2), (2, "b", 2), (3, "b", 1), (4, "b", 1)]));
    assert_eq!(bench.take("g", "a", 10, AFTER), [], "given out just now");
    bench.clock.advance_ms(after_ms / 2);
    assert_eq!(lasts(&bench.take("g", "a", 10, AFTER)), [3]);
    assert_eq!(bench.acknowledge("g", 100, &[1]), 1);
    bench.clock.advance_ms(after_ms);
    assert_eq!(lasts(&bench.take("g", "a", 2, AFTER)), [2, 3]);
    assert_eq!(bench.pending("g"), held(&[(2, "a", 3), (3, "a", 3), (4, "b", 1)]));
    assert_eq!(lasts(&bench.take("g", "a", 2, AFTER)), [4]);
}

pub(crate) fn what_is_pending_says_who_has_it_and_since_when(bench: &Bench) {
    bench.create("s", 0, 100);
    bench.entries(100, &[1, 2, 1]);
    bench.group("s", "g", true);
    assert_eq!(bench.pending("g"), []);
    assert_eq!(bench.next("g", "an a", 1), [1]);
    bench.clock.advance_ms(2 * SLACK_MS);
    assert_eq!(bench.next("g", "b", 10), [3, 4]);
    bench.clock.advance_ms(3 * SLACK_MS);
    let pending = bench.wait(bench.store.pending(group_key(&stream("s"), "g"), 10));
    let ids: Vec<_> = pending.iter().map(|one| (one.id.generation, one.id.sequence, one.consumer.as_str())).collect();
    assert_eq!(ids, [(100, 1, "an a"), (100, 3, "b"), (100, 4, "b")]);
    for (one, ms) in pending.iter().zip([5 * SLACK_MS, 3 * SLACK_MS, 3 * SLACK_MS]) {
        let near = Duration::from_millis(ms - SLACK_MS)..Duration::from_millis(ms + SLACK_MS);
        assert!(near.contains(&one.idle), "{one:?} not near {ms} ms");
    }
    for limit in 0..4 {
        assert_eq!(bench.wait(bench.store.pending(group_key(&stream("s"), "g"), limit)).len(), limit.min(3));
    }
}

pub(crate) fn an_acknowledged_entry_is_done_for_its_group_only(bench: &Bench) {
    bench.create("s", 0, 100);
    bench.entries(100, &[1, 2, 1]);
    for group in ["g", "h"] {
        bench.group("s", group, true);
        assert_eq!(bench.next(group, "a", 10), [1, 3, 4]);
    }
    // Neither a record inside an entry, nor one that nobody has, nor another generation's.
    assert_eq!(bench.acknowledge("g", 100, &[2, 5, 0, u64::MAX]), 0);
    assert_eq!((bench.acknowledge("g", 99, &[1]), bench.acknowledge("g", 101, &[1])), (0, 0));
    assert_eq!(bench.acknowledge("g", u64::MAX, &[u64::MAX]), 0);
    assert_eq!(bench.acknowledge("g", 100, &[]), 0);
    assert_eq!(bench.acknowledge("g", 100, &[3, 1, 3, 2]), 2, "each once");
    assert_eq!(bench.acknowledge("g", 100, &[3, 1]), 0, "a repeat changes nothing");
    assert_eq!(bench.pending("g"), held(&[(4, "a", 1)]));
    assert_eq!(bench.pending("h"), held(&[(1, "a", 1), (3, "a", 1), (4, "a", 1)]));
    assert_eq!(lasts(&bench.take("g", "b", 10, Duration::ZERO)), [4]);
    assert_eq!(bench.log("s", 100, 0, 1000).len(), 4, "the log is as it was");
}

pub(crate) fn an_existing_group_stays_where_it_is(bench: &Bench) {
    bench.create("s", 0, 100);
    bench.entries(100, &[1; 3]);
    bench.group("s", "g", true);
    assert_eq!(bench.next("g", "a", 1), [1]);
    for from_start in [true, false] {
        assert_eq!(bench.group("s", "g", from_start), NewGroup::Existed);
    }
    assert_eq!(bench.pending("g"), held(&[(1, "a", 1)]));
    assert_eq!(bench.next("g", "a", 1), [2]);
}

pub(crate) fn a_deleted_group_is_forgotten_and_may_start_again(bench: &Bench) {
    let delete = |group| bench.wait(bench.store.delete_group(group_key(&stream("s"), group)));
    assert!(!delete("g"));
    bench.create("s", 0, 100);
    bench.entries(100, &[1; 2]);
    assert!(!delete("g"));
    bench.group("s", "g", true);
    assert_eq!(bench.next("g", "a", 1), [1]);
    assert!(delete("g"));
    assert!(!delete("g"));
    assert_eq!((bench.next("g", "a", 10), bench.pending("g")), (vec![], vec![]));
    assert_eq!(bench.acknowledge("g", 100, &[1]), 0);
    assert_eq!(bench.group("s", "g", true), NewGroup::Made);
    assert_eq!(bench.next("g", "a", 10), [1, 2]);
}

pub(crate) fn an_unknown_stream_or_group_is_empty(bench: &Bench) {
    let check = || {
        assert_eq!((bench.next("g", "a", 10), bench.pending("g")), (vec![], vec![]));
        assert_eq!(bench.acknowledge("g", 100, &[1]), 0);
    };
    assert_eq!(bench.group("s", "g", true), NewGroup::NotFound);
    check();
    assert_eq!(bench.job("s"), None, "asking makes nothing");
    bench.create("s", 0, 100);
    check();
    bench.entries(100, &[1]);
    check();
    bench.group("s", "other", true);
    check();
}

pub(crate) fn groups_go_with_their_generation(bench: &Bench) {
    let check_gone = || {
        for group in ["g", "empty"] {
            assert_eq!((bench.next(group, "a", 10), bench.pending(group)), (vec![], vec![]));
            assert_eq!(bench.acknowledge(group, 100, &[1]), 0);
        }
    };
    let make = |generation| {
        for group in ["g", "empty"] {
            assert_eq!(bench.group("s", group, true), NewGroup::Made);
        }
        bench.entries(generation, &[1, 1]);
        assert_eq!(bench.next("g", "a", 1), [1]);
    };
    bench.create("s", 0, 100);
    make(100);
    bench.create("s", 100, 200);
    check_gone();
    // With the log of a replaced generation, and without one.
    make(200);
    bench.create("s", 200, 300);
    bench.group("s", "g", true);
    bench.create("s", 300, 400);
    check_gone();

    make(400);
    assert!(bench.wait(bench.store.remove(&stream("s"), 400)));
    check_gone();
    assert_eq!(bench.group("s", "g", true), NewGroup::NotFound);
    bench.create("s", 0, 500);
    check_gone();

    make(500);
    bench.end("s", 500, 3, Status::Complete);
    assert_eq!(bench.next("g", "a", 10), [2, 3], "what has ended can be read for its retention");
    bench.clock.advance_ms(RETENTION.as_millis() as u64);
    check_gone();
    assert_eq!(bench.group("s", "late", true), NewGroup::NotFound, "before any sweep");
    bench.sweep(10);
    bench.create("s", 0, 600);
    check_gone();
}

pub(crate) fn a_group_of_another_generation_is_not_touched(bench: &Bench) {
    let id = stream("s");
    let key = |generation, name| GroupKey { stream: &id, generation: Some(generation), name };
    let read = |generation| {
        let read = bench.store.read_group(key(generation, "g"), "late", 10, 1 << 20, Duration::ZERO);
        lasts(&bench.wait(read).entries)
    };
    let pending = |generation| bench.wait(bench.store.pending(key(generation, "g"), 10)).len();
    let acknowledge = |generation| {
        let ids = [Cursor { generation: 200, sequence: 1 }];
        bench.wait(bench.store.acknowledge(key(generation, "g"), &ids))
    };
    let create = |generation, name| bench.wait(bench.store.create_group(key(generation, name), true));
    let delete = |generation| bench.wait(bench.store.delete_group(key(generation, "g")));

    bench.create("s", 0, 100);
    assert!(bench.wait(bench.store.remove(&id, 100)));
    assert_eq!(create(100, "g"), NewGroup::NotFound, "of what is gone");
    bench.create("s", 0, 200);
    bench.entries(200, &[1, 1]);
    assert_eq!(create(200, "g"), NewGroup::Made);
    assert_eq!(bench.next("g", "a", 1), [1]);
    for other in [1, 100, 201, u64::MAX] {
        assert_eq!((create(other, "g"), create(other, "new")), (NewGroup::NotFound, NewGroup::NotFound), "{other}");
        assert_eq!((read(other), pending(other), acknowledge(other)), (vec![], 0, 0), "{other}");
        assert!(!delete(other), "{other}");
    }
    assert_eq!(bench.pending("g"), held(&[(1, "a", 1)]), "as if nobody had asked");
    assert!(!bench.wait(bench.store.delete_group(group_key(&id, "new"))));
    assert_eq!((create(200, "g"), read(200), pending(200)), (NewGroup::Existed, vec![1, 2], 2));
    assert_eq!(acknowledge(200), 1);
    assert!(delete(200));
}

pub(crate) fn a_generation_has_a_bounded_number_of_groups(bench: &Bench) {
    bench.create("s", 0, 100);
    bench.create("t", 0, 100);
    bench.entries(100, &[1]);
    let name = |at: usize| format!("group {at}");
    for at in 0..GROUPS_MAX {
        assert_eq!(bench.group("s", &name(at), true), NewGroup::Made);
    }
    assert_eq!(bench.group("s", "one more", true), NewGroup::TooMany);
    assert_eq!(bench.group("s", &name(0), true), NewGroup::Existed);
    assert_eq!(bench.group("t", "one more", true), NewGroup::Made, "another stream has groups of its own");
    assert_eq!((bench.next("one more", "a", 1), bench.next(&name(7), "a", 1)), (vec![], vec![1]));
    assert!(bench.wait(bench.store.delete_group(group_key(&stream("s"), &name(3)))));
    assert_eq!(bench.group("s", "one more", true), NewGroup::Made);
}

pub(crate) fn consumers_keep_no_job_alive(bench: &Bench) {
    bench.create("s", 0, 100);
    bench.entries(100, &[1]);
    let before = bench.job("s");
    bench.clock.advance_ms(IDLE.as_millis() as u64);
    bench.group("s", "g", true);
    assert_eq!(bench.next("g", "a", 1), [1]);
    assert_eq!(bench.acknowledge("g", 100, &[1]), 1);
    assert_eq!(bench.job("s"), before, "nor do they change the row");
    assert_eq!(bench.sweep(10), ["s"]);
}
