//! What is true of groups in Redis alone. All else is in `conformance`.

use std::sync::Arc;
use std::time::Duration;

use rejoin_tests::redis::{Server, until};

use super::{config, open_on};
use crate::store::conformance::{Bench, conforms_groups, group_key, stream, ticket};
use crate::store::{NewGroup, Unseen};
use crate::types::{Cursor, Status, now_ms};

conforms_groups!(super::open);

mod cluster {
    use super::conforms_groups;

    conforms_groups!(super::super::cluster::open);
}

/// A store that has its server to itself.
fn alone() -> (Arc<Server>, Bench) {
    let server = Arc::new(Server::start().expect("redis-server runs"));
    let config = config(&server.url(), "rejoin");
    let bench = open_on(Arc::clone(&server), config).1;
    (server, bench)
}

#[test]
fn malformed_entries_are_counted_once_and_passed_over() {
    let (server, bench) = alone();
    let id = stream("s");
    bench.create("s", 0, 100);
    bench.append("s", bench.records("s", ticket(1, 1), 100, 1, &["a"]));
    bench.wait(bench.store.create_group(group_key(&id, "g"), true));
    let add = |entry: &str, fields: &[&str]| {
        let command: Vec<_> = ["XADD", "rejoin:{s}:log", entry].iter().chain(fields).copied().collect();
        server.cli(&command).expect("it is added");
    };
    for (at, fields) in [
        &["foreign", "text"][..],
        &["n", "1"],
        &["r", "b\n"],
        &["n", "two", "r", "b\n"],
        &["n", "2", "r", "b\n"],
        &["n", "1", "r", "b"],
        &["n", "0", "r", ""],
        &["n", "99999999999999999999", "r", "b\n"],
        &["n", "1", "r", "b\n", "k", "7"],
        &["n", "1", "r", "b\n", "k", "00"],
    ]
    .into_iter()
    .enumerate()
    {
        add(&format!("100-{}", at + 2), fields);
    }
    add("100-12", &["n", "1", "r", "c\n"]);
    let read = |count| {
        let read = bench.store.read_group(group_key(&id, "g"), "a", count, 1 << 20, Duration::ZERO);
        let Unseen { entries, malformed } = bench.wait(read);
        (entries.iter().map(|entry| entry.lines.to_vec()).collect::<Vec<_>>(), malformed)
    };
    let good = vec![b"a\n".to_vec(), b"c\n".to_vec()];
    assert_eq!(read(5), (good[..1].to_vec(), 4));
    assert_eq!(read(5), (good[..1].to_vec(), 4), "the good one comes again, the bad ones do not");
    assert_eq!(read(5), (good.clone(), 2));
    assert_eq!(read(5), (good, 0));
    assert_eq!(bench.wait(bench.store.pending(group_key(&id, "g"), 100)).len(), 2);
}

#[test]
fn no_group_makes_a_key_that_stays() {
    let (server, bench) = alone();
    let keys = || {
        let keys = server.cli(&["KEYS", "*"]).expect("an answer");
        let ttl = |key: &str| server.cli(&["PTTL", key]).expect("an answer").parse::<i64>().expect("a number");
        keys.lines().map(|key| (key.to_owned(), ttl(key))).collect::<Vec<_>>()
    };
    let id = stream("s");
    let log = || keys().into_iter().find(|(key, _)| key == "rejoin:{s}:log").map(|(_, ttl)| ttl);
    let use_it = || {
        drop(bench.wait(bench.store.read_group(group_key(&id, "g"), "a", 10, 1 << 20, Duration::ZERO)));
        bench.wait(bench.store.pending(group_key(&id, "g"), 10));
        bench.wait(bench.store.acknowledge(group_key(&id, "g"), &[Cursor { generation: 100, sequence: 1 }]));
        bench.wait(bench.store.delete_group(group_key(&id, "g")));
    };
    use_it();
    assert_eq!(bench.wait(bench.store.create_group(group_key(&id, "g"), true)), NewGroup::NotFound);
    assert_eq!(keys(), [], "nothing of a stream that is not there");

    bench.create("s", 0, 100);
    use_it();
    assert_eq!(log(), None, "a group that is not there makes no log");
    assert_eq!(bench.wait(bench.store.create_group(group_key(&id, "g"), true)), NewGroup::Made);
    // As the row: twice the patience and a minute.
    assert!(log().is_some_and(|ttl| (60_000..=80_000).contains(&ttl)), "{:?}", keys());
    bench.append("s", bench.records("s", ticket(1, 1), 100, 1, &["a"]));
    use_it();
    bench.end("s", 100, 2, Status::Complete);
    bench.wait(bench.store.create_group(group_key(&id, "g"), true));
    for (key, ttl) in keys() {
        assert!(ttl > 0, "{key} stays for ever");
    }
    assert!(log().is_some_and(|ttl| ttl <= 65_000), "{:?}", keys());
    assert!(bench.wait(bench.store.remove(&id, 100)));
    use_it();
    assert_eq!(log(), None);
}

#[test]
fn a_host_that_is_ahead_of_redis_goes_by_its_clock() {
    const HOUR_MS: u64 = 3_600_000;
    let (_server, bench) = alone();
    bench.clock.advance_ms(now_ms() + 24 * HOUR_MS - bench.clock.now_ms());
    let id = stream("s");
    bench.create("s", 0, 100);
    bench.append("s", bench.records("s", ticket(1, 1), 100, 1, &["a"]));
    bench.wait(bench.store.create_group(group_key(&id, "g"), true));
    let read = |after_ms| {
        let after = Duration::from_millis(after_ms);
        bench.wait(bench.store.read_group(group_key(&id, "g"), "a", 10, 1 << 20, after)).entries.len()
    };
    assert_eq!((read(HOUR_MS), read(HOUR_MS)), (1, 0));
    let idle = bench.wait(bench.store.pending(group_key(&id, "g"), 1))[0].idle;
    assert!(idle < Duration::from_millis(HOUR_MS), "{idle:?}");
    until("it comes again", || Ok((read(20) == 1).then_some(()))).expect("Redis' clock goes on");
}
