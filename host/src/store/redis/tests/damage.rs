//! What somebody else has put into our keys, or taken out of them.

use super::Open;
use crate::store::conformance::{entry, stream, ticket};
use crate::store::{Page, Query, Written};
use crate::types::Status;

impl Open {
    fn listed(&self) -> Vec<String> {
        let listed = self.bench.list(Query { limit: 100, ..Query::default() });
        listed.into_iter().map(|(id, _)| id.to_string()).collect()
    }
}

#[test]
fn a_damaged_row_is_unknown_and_stops_nobody() {
    let mut open = Open::new(|_| {});
    let damages: [&[&str]; 7] = [
        &["HSET", "@:{bad}:job", "gen", "x"],
        &["HSET", "@:{bad}:job", "status", "sleeping"],
        &["HDEL", "@:{bad}:job", "head"],
        &["HSET", "@:{bad}:job", "rev", ""],
        &["HSET", "@:{bad}:job", "user", "1", "gen", "99999999999999999999999999"],
        &["SET", "@:{bad}:job", "text"],
        &["DEL", "@:{bad}:job"],
    ];
    for (round, damage) in (1..).zip(damages) {
        let at = round * 1_000;
        for name in ["bad", "good"] {
            let job = open.bench.job(name).map_or(0, |job| job.generation);
            assert_eq!(open.bench.create(name, job, at), Written::Accepted, "{damage:?}");
            open.bench.append(name, open.bench.records(name, ticket(1, 1), at, 1, &["a"]));
        }
        open.cli(damage);
        assert_eq!(open.bench.job("bad"), None, "{damage:?}");
        open.bench.append("bad", open.bench.records("bad", ticket(1, 2), at, 2, &["b"]));
        open.bench.read("bad", at, 0, 100);
        assert_eq!(open.listed(), ["good"], "{damage:?}");
        open.bench.clock.advance_ms(10_000);
        assert_eq!(open.bench.sweep(10), ["good"], "{damage:?}");
        assert_eq!(open.bench.counts(), [1, 0, 0, 0, 0], "{damage:?}");
    }
}

#[test]
fn a_damaged_entry_is_passed_over() {
    let mut open = Open::new(|_| {});
    open.bench.create("s", 0, 100);
    open.bench.append("s", open.bench.records("s", ticket(1, 1), 100, 1, &["a"]));
    let damages: [&[&str]; 4] =
        [&["x", "y"], &["n", "1", "r", "a", "t", "1.1"], &["n", "9", "r", "a\n"], &["n", "1", "r", "a\n", "k", "9"]];
    for (at, fields) in (2..).zip(damages) {
        let id = format!("100-{at}");
        open.cli(&[&["XADD", "@:{s}:log", id.as_str()], fields].concat());
    }
    open.cli(&["HSET", "@:{s}:job", "head", "5"]);
    assert_eq!(open.bench.append("s", open.bench.records("s", ticket(1, 2), 100, 6, &["f"])), Written::Accepted);
    for bytes_max in [1, 1_000] {
        let Page::Entries(entries) = open.bench.read("s", 100, 1, bytes_max) else { panic!("there is a log") };
        assert_eq!(entries, [entry(100, 6, &["f"])], "by {bytes_max}");
    }
    // A repeat that meets damage is none, and no script fails over it.
    for first in 1..=5 {
        let again = open.bench.records("s", ticket(9, 9), 100, first, &["x"]);
        assert_eq!(open.bench.append("s", again), Written::Behind(6));
    }
}

#[test]
fn bogus_members_of_the_index_are_never_shown_and_swept() {
    let mut open = Open::new(|_| {});
    open.bench.create("s", 0, 100);
    let now = open.bench.clock.now_ms().to_string();
    for list in ["all:any", "all:running", "all:complete", "of:any:ann", "of:running:ann", "deadlines"] {
        for member in ["ghost", "no stream", "é", "s"] {
            let list = format!("@:{{index}}:{list}");
            open.cli(&["ZADD", &list, "NX", &now, member]);
        }
    }
    for (stream, place) in [("ghost2", "1 1 running 5 ann"), ("no place", "?"), ("bad", "?"), ("bad2", "1 1 running 5")]
    {
        open.cli(&["HSET", "@:{index}:places", stream, place]);
    }
    assert_eq!(open.listed(), ["s"]);
    for user_id in ["ann", "eve"] {
        let query = Query { user_id: Some(user_id.to_owned()), limit: 10, ..Query::default() };
        assert_eq!(open.bench.list(query).len(), usize::from(user_id == "ann"));
    }
    for _ in 0..20 {
        open.bench.clock.advance_ms(1_000);
        open.bench.append(
            "s",
            open.bench.records("s", ticket(1, 1), 100, open.bench.job("s").expect("alive").head + 1, &["a"]),
        );
        assert_eq!(open.bench.sweep(10), [""; 0]);
    }
    assert_eq!(open.bench.counts(), [1, 0, 0, 0, 0]);
    for key in ["@:{index}:all:any", "@:{index}:all:running", "@:{index}:deadlines"] {
        assert_eq!(open.cli(&["ZRANGE", key, "0", "-1"]), "s", "{key}");
    }
    assert_eq!(open.cli(&["HKEYS", "@:{index}:places"]), "s");
}

#[test]
fn a_lost_index_is_healed_by_the_next_append_after_a_minute() {
    let mut open = Open::new(|config| config.idle = std::time::Duration::from_secs(1_000));
    open.bench.create("s", 0, 100);
    lose_index(&mut open, "");
    assert_eq!((open.bench.counts(), open.listed().len()), ([0; 5], 0));
    open.bench.clock.advance_ms(59_000);
    open.bench.append("s", open.bench.records("s", ticket(1, 1), 100, 1, &["a"]));
    assert_eq!(open.bench.counts(), [0; 5], "before its time");
    open.bench.clock.advance_ms(1_000);
    open.bench.append("s", open.bench.records("s", ticket(1, 2), 100, 2, &["a"]));
    assert_eq!((open.bench.counts(), open.listed().len()), ([1, 0, 0, 0, 0], 1));
    open.bench.clock.advance_ms(1_000_000);
    assert_eq!(open.bench.sweep(10), ["s"], "its deadline too");
}

#[test]
fn lists_and_deadlines_that_are_lost_are_healed_by_the_sweep() {
    let mut open = Open::new(|_| {});
    for name in ["a", "b", "c"] {
        open.bench.create(name, 0, 100);
    }
    open.bench.end("b", 100, 1, Status::Complete);
    lose_index(&mut open, ":places");
    assert_eq!(open.bench.counts(), [0; 5]);
    open.bench.clock.advance_ms(1_000);
    assert_eq!(open.bench.sweep(10), [""; 0]);
    assert_eq!((open.bench.counts(), open.listed().len()), ([2, 0, 1, 0, 0], 3));
    open.bench.clock.advance_ms(10_000);
    let mut idle = open.bench.sweep(10);
    idle.sort();
    assert_eq!((idle, open.bench.counts()), (vec!["a".to_owned(), "c".to_owned()], [2, 0, 0, 0, 0]));
}

/// Deletes the keys of the index, but for the one that ends so.
fn lose_index(open: &mut Open, but: &str) {
    let lost =
        open.keys().into_iter().filter(|key| key.contains(":{index}:") && (but.is_empty() || !key.ends_with(but)));
    for key in lost.collect::<Vec<_>>() {
        open.cli(&["DEL", &key]);
    }
}

#[test]
fn streams_and_users_of_any_name_are_listed_and_counted() {
    let open = Open::new(|_| {});
    let streams =
        ["}", "{a}", "index}:places", "%7D", "a b".trim_end_matches(" b"), "-1", "*", "~!\"#$&'()+,./:;<=>?@[\\]^_`|"];
    let users = ["", " ", "a b", "é\n\"x\"", "x}:job", "running", "any:x", "1 2 3"];
    for (name, user) in streams.iter().zip(users) {
        let job = open.bench.new_job(100, user);
        assert_eq!(open.bench.wait(open.bench.store.create(&stream(name), ticket(1, 1), 0, job)), Written::Accepted);
    }
    assert_eq!((open.bench.counts(), open.listed().len()), ([8, 0, 0, 0, 0], 8));
    for (name, user) in streams.iter().zip(users) {
        assert_eq!(open.bench.active_of(user), 1, "{user:?}");
        let listed = open.bench.list(Query { user_id: Some(user.to_owned()), limit: 9, ..Query::default() });
        assert_eq!(listed.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), [*name]);
        assert_eq!(open.bench.end(name, 100, 1, Status::Error), Written::Accepted);
    }
    assert_eq!(open.bench.counts(), [0, 0, 0, 8, 0]);
}
