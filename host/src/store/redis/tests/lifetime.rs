//! What lives how long in Redis.

use super::Open;
use crate::store::conformance::{ending, entry, stream, ticket};
use crate::store::{Append, Query, Rescue, Ticket, Written};
use crate::types::{Cursor, Job, Status};

impl Open {
    fn every_key_has_a_ttl(&mut self, after: &str) {
        let keys = self.keys();
        assert!(!keys.is_empty(), "after {after}");
        for key in keys {
            let ttl_ms = self.ttl_ms(&key);
            assert!(ttl_ms > 0, "after {after}: {key} has {ttl_ms}");
        }
    }
}

#[test]
fn no_key_is_ever_without_a_ttl() {
    let mut open = Open::new(|config| config.jobs_max = 100);
    open.bench.create("s", 0, 100);
    open.every_key_has_a_ttl("create");
    open.bench.append("s", open.bench.records("s", ticket(1, 1), 100, 1, &["a"]));
    open.every_key_has_a_ttl("the first records");
    // Whoever deletes a log behind our back gets one with a TTL.
    open.cli(&["DEL", "@:{s}:log"]);
    open.bench.append("s", open.bench.records("s", ticket(1, 2), 100, 2, &["b"]));
    open.every_key_has_a_ttl("a lost log");
    open.bench.wait(open.bench.store.put_checkpoint(&stream("s"), Cursor { generation: 100, sequence: 1 }, "x".into()));
    open.every_key_has_a_ttl("a checkpoint");
    let pause = Append { status: Some(Status::RequiresAction), ..open.bench.no_change("s", ticket(1, 3), 100, 3) };
    open.bench.append("s", pause);
    open.every_key_has_a_ttl("a pause");
    let goes_on = open.bench.no_change("s", ticket(1, 4), 100, 3);
    let goes_on = Append { expected_status: Status::RequiresAction, status: Some(Status::Running), ..goes_on };
    open.bench.append("s", goes_on);
    open.every_key_has_a_ttl("its end");
    open.bench.end("s", 100, 3, Status::Complete);
    open.every_key_has_a_ttl("the end");
    let now_ms = open.bench.clock.now_ms();
    open.bench.wait(open.bench.store.expire_at(&stream("s"), 100, now_ms + 1_000));
    open.every_key_has_a_ttl("expire_at");
    open.bench.create("s", 100, 200);
    open.every_key_has_a_ttl("another generation");
    open.bench.clock.advance_ms(60_000);
    assert_eq!(open.bench.sweep(10), ["s"]);
    open.every_key_has_a_ttl("a sweep");
    open.bench.list(Query { limit: 1, after: Some((5, stream("zzz"))), ..Query::default() });
    open.every_key_has_a_ttl("a list");
    open.bench.wait(open.bench.store.rescue(&stream("r"), rescue(&open, 7)));
    open.every_key_has_a_ttl("a rescue");
    open.bench.wait(open.bench.store.remove(&stream("s"), 200));
    open.every_key_has_a_ttl("remove");
}

#[test]
fn a_ttl_never_shrinks_while_the_job_is_active_and_shrinks_at_its_end() {
    let mut open = Open::new(|_| {});
    open.bench.create("s", 0, 100);
    open.bench.append("s", open.bench.records("s", ticket(1, 1), 100, 1, &["a"]));
    let ttls = |open: &mut Open| ["@:{s}:job", "@:{s}:log"].map(|key| open.ttl_ms(key));
    // Running: twice 10 s and a minute; paused: twice 20 s and a minute.
    assert!(ttls(&mut open).iter().all(|ttl_ms| (75_000..=80_000).contains(ttl_ms)));
    let pause = Append { status: Some(Status::RequiresAction), ..open.bench.no_change("s", ticket(1, 2), 100, 2) };
    open.bench.append("s", pause);
    assert!(ttls(&mut open).iter().all(|ttl_ms| (95_000..=100_000).contains(ttl_ms)));
    let goes_on = open.bench.no_change("s", ticket(1, 3), 100, 2);
    let goes_on = Append { expected_status: Status::RequiresAction, status: Some(Status::Running), ..goes_on };
    assert_eq!(open.bench.append("s", goes_on), Written::Accepted);
    assert!(ttls(&mut open).iter().all(|ttl_ms| (95_000..=100_000).contains(ttl_ms)), "a pause takes nothing");
    // Lazily, but in time.
    for key in ["@:{s}:job", "@:{s}:log"] {
        open.cli(&["PEXPIRE", key, "30000"]);
    }
    open.bench.append("s", open.bench.records("s", ticket(1, 4), 100, 2, &["b"]));
    assert!(ttls(&mut open).iter().all(|ttl_ms| *ttl_ms <= 30_000), "extended by every append");
    open.bench.clock.advance_ms(11_000);
    open.bench.append("s", open.bench.records("s", ticket(1, 5), 100, 3, &["c"]));
    assert!(ttls(&mut open).iter().all(|ttl_ms| *ttl_ms > 75_000), "not extended after an eighth of the TTL");
    open.bench.end("s", 100, 4, Status::Complete);
    assert!(ttls(&mut open).iter().all(|ttl_ms| (60_000..=65_000).contains(ttl_ms)));
}

#[test]
fn a_late_write_brings_nothing_back() {
    let mut open = Open::new(|_| {});
    for name in ["removed", "swept", "expired"] {
        open.bench.create(name, 0, 100);
        open.bench.append(name, open.bench.records(name, ticket(1, 1), 100, 1, &["a"]));
    }
    let late = |name: &str| {
        let bench = &open.bench;
        let write = Append { expected_revision: 2, ..bench.records(name, ticket(1, 2), 100, 2, &["b"]) };
        assert_eq!(bench.append(name, write.clone()), Written::NotFound, "{name}");
        assert_eq!(bench.append(name, ending(write, Status::Complete)), Written::NotFound, "{name}");
        let at = Cursor { generation: 100, sequence: 1 };
        bench.wait(bench.store.put_checkpoint(&stream(name), at, "x".into()));
        assert_eq!(bench.wait(bench.store.checkpoint(&stream(name), 100)), None, "{name}");
    };
    assert!(open.bench.wait(open.bench.store.remove(&stream("removed"), 100)));
    open.bench.end("swept", 100, 2, Status::Complete);
    open.bench.clock.advance_ms(5_000);
    open.bench.sweep(10);
    late("removed");
    late("swept");
    for name in ["removed", "swept"] {
        let lost = rescue(&open, 2);
        let lost = Rescue { job: Job { generation: 100, ..lost.job }, entry: None, ..lost };
        assert_eq!(open.bench.wait(open.bench.store.rescue(&stream(name), lost)), Written::NotFound);
    }
    // As when its TTL ends.
    open.cli(&["DEL", "@:{expired}:job"]);
    let write = open.bench.records("expired", ticket(1, 2), 100, 2, &["b"]);
    assert_eq!(open.bench.append("expired", write), Written::NotFound);
    let jobs: Vec<_> = open.keys().into_iter().filter(|key| key.ends_with(":job")).collect();
    assert!(jobs.is_empty(), "{jobs:?}");
}

/// Everything that a session knows of a running generation 100 that has `head` records.
fn rescue(open: &Open, head: u64) -> Rescue {
    let job = Job { head, revision: head + 1, ..open.bench.new_job(100, "ann") };
    let entry = Some(entry(100, head, &["last"]));
    Rescue { ticket: ticket(7, head), job, entry, checkpoint: format!("all {head}"), now_ms: open.bench.clock.now_ms() }
}

#[test]
fn what_was_forgotten_is_given_back_with_a_jump_and_never_over_more() {
    let mut open = Open::new(|_| {});
    let id = stream("s");
    let give = |open: &Open, head| open.bench.wait(open.bench.store.rescue(&id, rescue(open, head)));
    let cursor = |sequence| Cursor { generation: 100, sequence };
    // The whole row is gone.
    assert_eq!(give(&open, 5), Written::Accepted);
    assert_eq!(open.bench.job("s"), Some(rescue(&open, 5).job));
    assert_eq!(open.bench.wait(open.bench.store.checkpoint(&id, 100)), Some((cursor(5), "all 5".into())));
    assert_eq!((open.bench.counts(), open.bench.active_of("ann")), ([1, 0, 0, 0, 0], 1));
    assert_eq!(give(&open, 5), Written::Accepted, "a repeat, whose first answer was lost");
    let other = Rescue { ticket: ticket(8, 5), ..rescue(&open, 5) };
    assert_eq!(open.bench.wait(open.bench.store.rescue(&id, other)), Written::Behind(5), "it is there");
    // Only the last writes are.
    assert_eq!(open.bench.append("s", open.bench.records("s", ticket(1, 1), 100, 6, &["six"])), Written::Accepted);
    assert_eq!(give(&open, 6), Written::Behind(6));
    // A checkpoint of what the log does not have is none.
    open.bench.wait(open.bench.store.put_checkpoint(&id, cursor(7), "seven".into()));
    assert_eq!(open.bench.wait(open.bench.store.checkpoint(&id, 100)), Some((cursor(5), "all 5".into())));
    assert_eq!(give(&open, 9), Written::Accepted);
    let page = open.bench.read("s", 100, 0, 1 << 20);
    let expected = [entry(100, 5, &["last"]), entry(100, 6, &["six"]), entry(100, 9, &["last"])];
    assert_eq!(page, crate::store::Page::Entries(expected.into()));
    assert_eq!(open.bench.append("s", open.bench.records("s", ticket(1, 2), 100, 10, &["ten"])), Written::Accepted);
    // A row of the same revision is another one: the writer who decided on the old one must not go on.
    open.cli(&["HSET", "@:{s}:job", "rev", "40"]);
    assert_eq!(give(&open, 20), Written::Accepted);
    assert_eq!(open.bench.job("s").map(|job| job.revision), Some(41));

    assert_eq!(open.bench.end("s", 100, 21, Status::Aborted), Written::Accepted);
    assert_eq!(give(&open, 30), Written::NotActive(Status::Aborted));
    open.bench.create("s", 100, 200);
    assert_eq!(give(&open, 30), Written::GenerationReplaced(200));
    assert!(open.bench.wait(open.bench.store.remove(&id, 200)));
    assert_eq!(give(&open, 30), Written::NotFound, "removed on purpose");
}

#[test]
fn tickets_of_any_size_are_told_apart() {
    let open = Open::new(|_| {});
    open.bench.create("s", 0, 100);
    let write = open.bench.records("s", Ticket { session: u64::MAX, number: u64::MAX }, 100, 1, &["a"]);
    let near = Append { ticket: Ticket { session: u64::MAX - 1, ..write.ticket }, ..write.clone() };
    assert_eq!(open.bench.append("s", write.clone()), Written::Accepted);
    assert_eq!(open.bench.append("s", near), Written::Behind(1));
    assert_eq!(open.bench.append("s", write), Written::Accepted);
}
