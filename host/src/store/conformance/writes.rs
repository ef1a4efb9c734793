//! Cases: what is accepted, what is refused, and what a refusal leaves.

use std::sync::Barrier;
use std::thread;

use crate::store::{Append, Page, Written};
use crate::types::{Cursor, Status};

use super::{Bench, ending, stream, ticket};

pub(crate) fn a_stream_is_replaced_only_by_who_knows_its_generation(bench: &Bench) {
    assert_eq!(bench.job("s"), None);
    assert_eq!(bench.create("s", 7, 100), Written::GenerationReplaced(0));
    assert_eq!(bench.create("s", 0, 100), Written::Accepted);
    assert_eq!(bench.create("s", 0, 100), Written::Accepted, "a repeat");
    assert_eq!(bench.create("s", 0, 101), Written::GenerationReplaced(100));
    assert_eq!(bench.append("s", bench.records("s", ticket(1, 1), 100, 1, &["a", "b"])), Written::Accepted);
    assert_eq!(bench.create("s", 0, 100), Written::Accepted, "a late repeat");
    assert_eq!(bench.job("s").map(|job| job.head), Some(2), "the repeat changed nothing");

    assert_eq!(bench.create("s", 100, 102), Written::Accepted);
    let job = bench.job("s").expect("it was created");
    assert_eq!((job.generation, job.head), (102, 0));
    assert_eq!(bench.read("s", 102, 0, 1000), Page::Entries(Vec::new()));
    assert_eq!(bench.create("s", 0, 100), Written::GenerationReplaced(102), "too late to be a repeat");

    assert_eq!(bench.end("s", 102, 1, Status::Complete), Written::Accepted);
    assert_eq!(bench.create("s", 102, 103), Written::Accepted, "in any status");
    assert_eq!(bench.counts(), [1, 0, 0, 0, 0]);
}

pub(crate) fn an_append_is_there_once_however_often_it_is_repeated(bench: &Bench) {
    bench.create("s", 0, 100);
    let first = bench.records("s", ticket(1, 1), 100, 1, &["a", "b"]);
    // Nobody hears the outcome of this one.
    drop(bench.store.append(&stream("s"), first.clone()));
    assert_eq!(bench.append("s", first.clone()), Written::Accepted);
    assert_eq!(bench.append("s", first.clone()), Written::Accepted);
    assert_eq!(bench.log("s", 100, 0, 1000).len(), 2);

    let second = bench.records("s", ticket(1, 2), 100, 3, &["c"]);
    assert_eq!(bench.append("s", second.clone()), Written::Accepted);
    assert_eq!(bench.append("s", second), Written::Accepted);
    assert_eq!(bench.append("s", first), Written::Accepted, "not the last one any more, and known all the same");

    // The same place, but another writer: not a repeat.
    assert_eq!(bench.append("s", bench.records("s", ticket(2, 2), 100, 3, &["x"])), Written::Behind(3));
    // The same ticket at another place is not a repeat either.
    assert_eq!(bench.append("s", bench.records("s", ticket(1, 2), 100, 4, &["d"])), Written::Accepted);
    let records: String = bench.log("s", 100, 0, 1000).into_iter().map(|(.., record)| record).collect();
    assert_eq!(records, "abcd");

    let end = ending(bench.no_change("s", ticket(1, 3), 100, 5), Status::Aborted);
    assert_eq!(bench.append("s", end.clone()), Written::Accepted);
    assert_eq!(bench.append("s", end), Written::Accepted, "the repeat of the end itself");
}

pub(crate) fn a_producer_of_an_old_generation_is_refused(bench: &Bench) {
    bench.create("s", 0, 100);
    bench.create("s", 100, 200);
    assert_eq!(bench.append("s", bench.records("s", ticket(1, 1), 100, 1, &["a"])), Written::GenerationReplaced(200));
    assert_eq!(bench.end("s", 100, 1, Status::Complete), Written::GenerationReplaced(200));
    assert_eq!(bench.append("s", bench.no_change("s", ticket(1, 1), 100, 1)), Written::GenerationReplaced(200));
    assert_eq!(
        bench.append("s", bench.records("s", ticket(1, 1), 300, 1, &["a"])),
        Written::Ahead(Cursor { generation: 200, sequence: 0 })
    );
    assert_eq!(bench.log("s", 200, 0, 1000), []);
    assert_eq!(bench.counts(), [1, 0, 0, 0, 0]);
}

pub(crate) fn a_write_that_does_not_fit_leaves_no_trace(bench: &Bench) {
    bench.create("s", 0, 100);
    bench.append("s", bench.records("s", ticket(1, 1), 100, 1, &["a", "b"]));
    let job = bench.job("s");
    bench.clock.advance_ms(100);
    let change = |write: Append| Append { fields: vec![("x".to_owned(), "1".to_owned())], ..write };
    for first in [0, 1, 2] {
        let write = change(bench.records("s", ticket(1, 2), 100, first, &["c"]));
        assert_eq!(bench.append("s", write), Written::Behind(2), "at {first}");
    }
    for first in [4, u64::MAX] {
        let write = change(bench.records("s", ticket(1, 2), 100, first, &["c"]));
        assert_eq!(bench.append("s", write), Written::Ahead(Cursor { generation: 100, sequence: 2 }), "at {first}");
    }
    let stale = bench.records("s", ticket(1, 2), 100, 3, &["c"]);
    let stale = Append { expected_revision: stale.expected_revision - 1, ..stale };
    assert_eq!(bench.append("s", stale), Written::Behind(2), "decided on an older row");
    let other = Append { expected_status: Status::RequiresAction, ..bench.records("s", ticket(1, 2), 100, 3, &["c"]) };
    assert_eq!(bench.append("s", change(other)), Written::Behind(2));
    let nowhere = bench.records("s", ticket(1, 2), 100, 3, &["c"]);
    assert_eq!(bench.append("t", nowhere), Written::NotFound);
    assert_eq!((bench.job("s"), bench.job("t")), (job, None));
    assert_eq!(bench.log("s", 100, 0, 1000).len(), 2);
    assert_eq!(bench.counts(), [1, 0, 0, 0, 0]);
}

pub(crate) fn a_settled_job_takes_fields_and_nothing_else(bench: &Bench) {
    bench.create("s", 0, 100);
    bench.clock.advance_ms(100);
    assert_eq!(bench.end("s", 100, 1, Status::Error), Written::Accepted);
    let settled_ms = bench.clock.now_ms();
    bench.clock.advance_ms(100);
    let job = bench.job("s").expect("it was created");
    assert_eq!((job.status, job.settled_ms, job.updated_ms), (Status::Error, Some(settled_ms), settled_ms));

    assert_eq!(bench.append("s", bench.records("s", ticket(1, 1), 100, 2, &["a"])), Written::NotActive(Status::Error));
    assert_eq!(bench.end("s", 100, 2, Status::Complete), Written::NotActive(Status::Error));
    let again = Append { expected_status: Status::Error, ..bench.no_change("s", ticket(1, 2), 100, 2) };
    let status = Append { status: Some(Status::Running), ..again.clone() };
    assert_eq!(bench.append("s", status), Written::NotActive(Status::Error));

    let fields = [("title", "\"t\""), ("model", "null")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let rename = Append { fields: fields.to_vec(), ..again };
    assert_eq!(
        bench.append("s", Append { expected_status: Status::Running, ..rename.clone() }),
        Written::NotActive(Status::Error)
    );
    assert_eq!(bench.append("s", rename), Written::Accepted);
    let renamed = bench.job("s").expect("it stays");
    assert_eq!(renamed.fields, [("title".to_owned(), "\"t\"".to_owned())]);
    assert_eq!((renamed.updated_ms, renamed.settled_ms, renamed.head), (settled_ms, Some(settled_ms), 1));
}

pub(crate) fn only_one_of_two_racing_ends_is_accepted(bench: &Bench) {
    const ROUNDS: u64 = 1_000;
    let barrier = Barrier::new(2);
    let name = |round| format!("race-{round}");
    let run = |session: u64, status: Status| {
        let mut answers = Vec::new();
        for round in 0..ROUNDS {
            if session == 1 {
                bench.create(&name(round), 0, 100);
            }
            barrier.wait();
            let end = ending(bench.no_change(&name(round), ticket(session, 1), 100, 1), status);
            barrier.wait();
            answers.push(bench.append(&name(round), end));
        }
        answers
    };
    let (ours, theirs) = thread::scope(|scope| {
        let theirs = scope.spawn(|| run(2, Status::Aborted));
        (run(1, Status::Complete), theirs.join().expect("no panic"))
    });
    for (round, (ours, theirs)) in (0..).zip(ours.into_iter().zip(theirs)) {
        let winner = match (ours, theirs) {
            (Written::Accepted, Written::NotActive(winner)) if winner == Status::Complete => winner,
            (Written::NotActive(winner), Written::Accepted) if winner == Status::Aborted => winner,
            both => panic!("round {round}: {both:?}"),
        };
        let job = bench.job(&name(round)).expect("it was created");
        assert_eq!((job.status, job.head), (winner, 1));
        assert_eq!(bench.log(&name(round), 100, 0, 1000).len(), 1);
    }
    let counts = bench.counts();
    assert_eq!((counts[0], counts[2] + counts[4]), (0, ROUNDS));
    assert_eq!(bench.active_of("ann"), 0);
}
