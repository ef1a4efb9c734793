//! What is true of this store alone: its bytes, its locks, its one deadline a stream. All else is in `conformance`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::store::conformance::{
    Bench, IDLE, IDLE_PAUSED, RETENTION, TestClock, conforms, conforms_groups, entry, group_key, stream, ticket,
};
use crate::store::{Append, NewGroup, Query, StoreError, Written};
use crate::types::{Cursor, Status};

use super::{MemoryConfig, MemoryStore, lock};

/// A clock that only the test moves.
struct Hand(AtomicU64);

impl TestClock for Hand {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn advance_ms(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

fn at_once(future: BoxFuture<'_, ()>) {
    tried(future);
}

fn tried<T>(future: BoxFuture<'_, T>) -> T {
    future.now_or_never().expect("every future of this store is finished")
}

fn open_with(bytes_max: u64) -> (Arc<MemoryStore>, Bench) {
    let clock = Arc::new(Hand(AtomicU64::new(1_789_000_000_000)));
    let config = MemoryConfig {
        idle: IDLE,
        idle_paused: IDLE_PAUSED,
        retention: RETENTION,
        bytes_max,
        jobs_max: u64::MAX,
        jobs_per_user_max: u64::MAX,
    };
    let time = Arc::clone(&clock);
    let store = Arc::new(MemoryStore::with_clock(config, Arc::new(move || time.now_ms())));
    (Arc::clone(&store), Bench { store, clock, block_on: at_once })
}

fn open() -> Bench {
    open_with(1 << 30).1
}

conforms!(open, 256);
conforms_groups!(open);

#[test]
fn what_is_forgotten_gives_all_its_bytes_back() {
    let (store, bench) = open_with(1 << 30);
    let fields = |text: &str| vec![("a".to_owned(), text.to_owned()), ("b".to_owned(), "1".to_owned())];
    for name in ["removed", "replaced", "swept"] {
        bench.create(name, 0, 100);
        for at in 1..=10 {
            let write = bench.records(name, ticket(1, at), 100, at, &["{\"some\":\"text\"}"]);
            let text = ["\"text\"", "null", "\"a longer text\""][usize::try_from(at % 3).expect("small")];
            bench.append(name, Append { fields: fields(text), ..write });
            let checkpoint = Cursor { generation: 100, sequence: at };
            bench.wait(bench.store.put_checkpoint(&stream(name), checkpoint, "x".repeat(40 - at as usize)));
        }
    }
    assert!(store.bytes_used() > 3 * 10 * 15);
    let swap = |sequence, bytes| {
        let at = Cursor { generation: 100, sequence };
        bench.wait(bench.store.put_checkpoint(&stream("swept"), at, "y".repeat(bytes)));
        store.bytes_used()
    };
    let (small, large, small_again) = (swap(11, 1_000), swap(12, 1_500), swap(13, 1_000));
    assert_eq!((large, small_again), (small + 500, small), "a checkpoint takes the place of the one before");
    bench.create("empty", 0, 100);
    let three = store.bytes_used();
    assert!(bench.wait(bench.store.remove(&stream("removed"), 100)));
    let two = store.bytes_used();
    bench.create("replaced", 100, 200);
    let one = store.bytes_used();
    assert!(three > two && two > one, "{three} {two} {one}");

    for (name, generation, first) in [("swept", 100, 11), ("replaced", 200, 1), ("empty", 100, 1)] {
        assert_eq!(bench.end(name, generation, first, Status::Complete), Written::Accepted);
    }
    bench.clock.advance_ms(60_000);
    bench.sweep(10);
    assert_eq!(store.bytes_used(), 0);
    assert!(lock(&store.index).is_empty());
    assert!(store.shards.iter().all(|shard| lock(shard).is_empty()));
}

#[test]
fn a_full_store_refuses_without_a_trace_and_can_still_settle() {
    let (store, bench) = open_with(64 * 1024);
    let text = "x".repeat(900);
    bench.create("s", 0, 100);
    bench.create("t", 0, 100);
    let checkpoint = |sequence, bytes| {
        let at = Cursor { generation: 100, sequence };
        tried(bench.store.put_checkpoint(&stream("s"), at, "y".repeat(bytes)))
    };
    assert!(checkpoint(1, 100).is_ok());
    let write = |first: u64| Append {
        fields: vec![("f".to_owned(), first.to_string())],
        ..bench.records("s", ticket(1, first), 100, first, &[&text])
    };
    let mut head = 0;
    let full = loop {
        match tried(bench.store.append(&stream("s"), write(head + 1))) {
            Ok(written) => assert_eq!(written, Written::Accepted),
            Err(full) => break full,
        }
        head += 1;
    };
    assert!(matches!(full, StoreError::Full { bytes_max: 65_536 }));
    assert!((40..65).contains(&head), "{head}");
    let least = |first| bench.records("s", ticket(2, first), 100, first, &[""]);
    while tried(bench.store.append(&stream("s"), least(head + 1))).is_ok() {
        head += 1;
    }

    let (used, job) = (store.bytes_used(), bench.job("s").expect("it stays"));
    assert_eq!(job.head, head);
    bench.clock.advance_ms(1);
    assert!(tried(bench.store.append(&stream("s"), write(head + 1))).is_err());
    assert!(checkpoint(2, 5_000).is_err());
    let large = bench.new_job(1, &"u".repeat(2_000));
    assert!(tried(bench.store.create(&stream("u"), ticket(1, 1), 0, large)).is_err());
    assert_eq!(bench.job("u"), None);
    assert_eq!(bench.job("s"), Some(job));
    assert_eq!(bench.log("s", 100, 0, 1 << 20).len() as u64, head);
    let kept = bench.wait(bench.store.checkpoint(&stream("s"), 100)).expect("it was put");
    assert_eq!((kept.0.sequence, kept.1.len()), (1, 100));
    assert_eq!((store.bytes_used(), bench.counts()), (used, [2, 0, 0, 0, 0]));

    // Only an end gives room back, so an end has room; so has what makes the store smaller.
    assert_eq!(bench.end("s", 100, head + 1, Status::Error), Written::Accepted);
    assert!(used <= 60 * 1024 && store.bytes_used() > 60 * 1024);
    assert!(checkpoint(3, 10).is_ok());
    assert_eq!(bench.create("s", 100, 200), Written::Accepted);
    assert_eq!(
        bench.append(
            "s",
            Append { first: Cursor { generation: 200, sequence: 1 }, entry: Some(entry(200, 1, &[&text])), ..write(1) }
        ),
        Written::Accepted
    );
}

#[test]
fn a_stream_has_one_deadline_whatever_happens_to_it() {
    let (store, bench) = open_with(1 << 30);
    bench.create("s", 0, 100);
    for at in 1..=50 {
        bench.append("s", bench.records("s", ticket(1, at), 100, at, &["a"]));
        bench.clock.advance_ms(at * 300);
        bench.sweep(10);
        let (expected_status, status) = match at % 2 {
            0 => (Status::RequiresAction, Status::Running),
            _ => (Status::Running, Status::RequiresAction),
        };
        let turn = bench.no_change("s", ticket(2, at), 100, at + 1);
        bench.append("s", Append { expected_status, status: Some(status), ..turn });
        if at % 2 == 1 {
            let back = bench.no_change("s", ticket(3, at), 100, at + 1);
            let back = Append { expected_status: status, status: Some(expected_status), ..back };
            bench.append("s", back);
        }
        bench.wait(bench.store.expire_at(&stream("s"), 100, bench.clock.now_ms() + at));
        assert_eq!(lock(&store.index).deadlines(), 1);
    }
    bench.create("s", 100, 200);
    assert_eq!(lock(&store.index).deadlines(), 1);

    // A sweep that took a deadline out before someone put in another has nothing to say.
    bench.clock.advance_ms(60_000);
    assert!(!store.visit(&stream("s"), 1, bench.clock.now_ms()));
    assert_eq!(lock(&store.index).deadlines(), 1);
    bench.wait(bench.store.remove(&stream("s"), 200));
    assert!(lock(&store.index).is_empty());
}

#[test]
fn all_at_once_from_many_threads_leaves_index_and_rows_equal_and_no_byte_behind() {
    let (store, bench) = open_with(1 << 30);
    let names = ["a", "b", "c"];
    let work = |seed: u64| {
        for round in 0..4_000_u64 {
            // Any mixing will do: the threads must only disagree about what to do next.
            let dice = (seed + 1).wrapping_mul(round + 7).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
            let name = names[usize::try_from(dice % 3).expect("small")];
            let job = bench.job(name);
            let (generation, head) = job.as_ref().map_or((0, 0), |job| (job.generation, job.head));
            let write = bench.records(name, ticket(seed, round), generation, head + 1, &["x"]);
            match dice / 3 % 8 {
                0 => drop(bench.create(name, generation, generation + 1 + seed)),
                1 => drop(bench.wait(bench.store.remove(&stream(name), generation))),
                2 => drop(bench.end(name, generation, head + 1, Status::Complete)),
                3 => drop(bench.sweep(3)),
                4 => bench.clock.advance_ms(2_000),
                5 => assert!(bench.list(Query { limit: 10, ..Query::default() }).len() <= 10),
                6 => bench.wait(bench.store.expire_at(&stream(name), generation, bench.clock.now_ms() + 1)),
                _ => drop(bench.append(name, write)),
            }
        }
    };
    thread::scope(|scope| (0..4).for_each(|seed| drop(scope.spawn(move || work(seed)))));

    let rows = bench.list(Query { limit: 10, ..Query::default() });
    for name in names {
        let listed = rows.iter().find(|(id, _)| id.as_str() == name).map(|(_, job)| job.clone());
        if let Some(job) = bench.job(name) {
            assert_eq!(Some(&job), listed.as_ref());
            assert!(bench.wait(bench.store.remove(&stream(name), job.generation)));
        }
    }
    bench.clock.advance_ms(60_000);
    bench.sweep(10);
    assert!(lock(&store.index).is_empty(), "{:?}", bench.counts());
    assert_eq!(store.bytes_used(), 0);
}

#[test]
fn groups_take_their_room_and_a_full_store_gives_nothing_out_that_it_could_not_remember() {
    let (store, bench) = open_with(64 * 1024);
    let id = stream("s");
    bench.create("s", 0, 100);
    let group = |name| tried(bench.store.create_group(group_key(&id, name), true));
    let take = |group, consumer, count| {
        tried(bench.store.read_group(group_key(&id, group), consumer, count, 1 << 20, Duration::ZERO))
            .map(|unseen| unseen.entries.len())
    };
    let acknowledge = |sequences: &[u64]| {
        let ids: Vec<_> = sequences.iter().map(|&sequence| Cursor { generation: 100, sequence }).collect();
        bench.wait(bench.store.acknowledge(group_key(&id, "g"), &ids))
    };
    let empty = store.bytes_used();
    assert_eq!(group("g").expect("there is room"), NewGroup::Made);
    let with_group = store.bytes_used();
    assert!(with_group > empty);
    for at in 1..=10 {
        bench.append("s", bench.records("s", ticket(1, at), 100, at, &["{}"]));
    }
    let written = store.bytes_used();
    assert_eq!(take("g", "a", 10).expect("there is room"), 10);
    let held = store.bytes_used();
    assert_eq!(take("g", "another", 10).expect("there is room"), 10);
    assert!(written < held && held < store.bytes_used(), "each keeps the name of its consumer");
    assert_eq!(take("g", "a", 10).expect("there is room"), 10);
    assert_eq!(store.bytes_used(), held);
    assert_eq!(acknowledge(&[1, 2, 3, 4, 5, 6, 7, 8]), 8);
    assert_eq!(store.bytes_used(), written + (held - written) / 5);
    assert!(bench.wait(bench.store.delete_group(group_key(&id, "g"))));
    assert_eq!(store.bytes_used(), written - (with_group - empty));

    assert_eq!(group("g").expect("there is room"), NewGroup::Made);
    assert_eq!(take("g", "a", 1).expect("there is room"), 1);
    let mut head = 10;
    while tried(bench.store.append(&id, bench.records("s", ticket(1, head + 1), 100, head + 1, &["{}"]))).is_ok() {
        head += 1;
    }
    let used = store.bytes_used();
    assert!(matches!(take("g", "a", 1_000), Err(StoreError::Full { .. })));
    assert!(matches!(group(&"n".repeat(128)), Err(StoreError::Full { .. })));
    assert_eq!((store.bytes_used(), bench.wait(bench.store.pending(group_key(&id, "g"), 10)).len()), (used, 1));
    assert_eq!(take("g", "a", 1).expect("it takes no more"), 1);
    assert_eq!(acknowledge(&[1]), 1);
    assert_eq!(take("g", "a", 1).expect("that has made room"), 1);

    assert!(bench.wait(bench.store.remove(&id, 100)));
    assert_eq!(store.bytes_used(), 0);
}
