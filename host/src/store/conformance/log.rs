//! Cases: what is read back, listed and removed.

use std::sync::Arc;

use crate::store::{Append, Page, Query, Written};
use crate::types::{Cursor, RecordKind, Status};

use super::{Bench, entry, stream, ticket};

pub(crate) fn every_position_reads_the_rest_byte_for_byte(bench: &Bench) {
    bench.create("s", 0, 100);
    let mut all = Vec::new();
    for (number, size) in (0..).zip([1, 3, 1, 2, 5, 1, 1, 8]) {
        let first = all.len() as u64 + 1;
        // Empty, small and large records, and bytes that a careless reader would take for a line break.
        let texts: Vec<_> = (0..size).map(|at| format!("{}é\\n\u{2028}\r", "x".repeat(at * 50))).collect();
        let texts: Vec<_> = texts.iter().enumerate().map(|(at, text)| if at == 2 { "" } else { text }).collect();
        let mut write = bench.records("s", ticket(1, number), 100, first, &texts);
        let mut kinds = vec![RecordKind::Event; size];
        if number % 2 == 1 {
            kinds[size - 1] = RecordKind::Internal;
            write.entry.as_mut().expect("records").kinds = Arc::from(kinds.clone());
        }
        assert_eq!(bench.append("s", write), Written::Accepted);
        all.extend((first..).zip(texts).zip(kinds).map(|((at, text), kind)| (at, kind, text.to_owned())));
    }
    for after in 0..=all.len() {
        for bytes_max in [0, 1, 100, 500, 1 << 20] {
            assert_eq!(bench.log("s", 100, after as u64, bytes_max), all[after..], "after {after} by {bytes_max}");
        }
    }
    let pages = |after| match bench.read("s", 100, after, 150) {
        Page::Entries(entries) => entries.iter().map(|entry| entry.lines.len()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    for after in 0..all.len() as u64 {
        let page = pages(after);
        assert!(page.len() == 1 || page.iter().sum::<usize>() <= 150, "{page:?}");
    }
}

pub(crate) fn a_cursor_that_the_log_does_not_have_is_reset(bench: &Bench) {
    assert_eq!(bench.read("s", 100, 0, 1000), Page::Gone);
    bench.create("s", 0, 100);
    bench.append("s", bench.records("s", ticket(1, 1), 100, 1, &["a", "b"]));
    let end = Page::Reset(Cursor { generation: 100, sequence: 2 });
    for (generation, sequence) in [(99, 0), (99, 1), (101, 0), (101, 7), (100, 3), (100, u64::MAX)] {
        assert_eq!(bench.read("s", generation, sequence, 1000), end, "{generation}-{sequence}");
    }
    assert_eq!(bench.read("s", 100, 2, 1000), Page::Entries(Vec::new()));
    assert_eq!(bench.read("s", 100, 1, 1000), Page::Entries(vec![entry(100, 1, &["a", "b"])]));
    bench.create("s", 100, 200);
    assert_eq!(bench.read("s", 100, 1, 1000), Page::Reset(Cursor { generation: 200, sequence: 0 }));
}

pub(crate) fn the_checkpoint_that_covers_most_stays(bench: &Bench) {
    let id = stream("s");
    let put = |generation, sequence, state: &str| {
        let at = Cursor { generation, sequence };
        bench.wait(bench.store.put_checkpoint(&id, at, state.to_owned()));
    };
    let get = |generation| {
        let checkpoint = bench.wait(bench.store.checkpoint(&id, generation));
        checkpoint.map(|(at, state)| (at.generation, at.sequence, state))
    };
    put(100, 1, "nowhere");
    assert_eq!(get(100), None);
    bench.create("s", 0, 100);
    bench.append("s", bench.records("s", ticket(1, 1), 100, 1, &["a", "b", "c"]));
    assert_eq!(get(100), None);
    put(99, 9, "old");
    put(101, 9, "new");
    assert_eq!((get(99), get(100), get(101)), (None, None, None));
    put(100, 2, "two");
    put(100, 1, "one");
    put(100, 2, "other two");
    assert_eq!(get(100), Some((100, 2, "two".to_owned())));
    put(100, 3, "three");
    assert_eq!(get(100), Some((100, 3, "three".to_owned())));
    assert_eq!((get(99), get(101)), (None, None));
    bench.create("s", 100, 200);
    assert_eq!((get(100), get(200)), (None, None));
}

pub(crate) fn only_the_current_generation_can_be_removed(bench: &Bench) {
    let remove = |generation| bench.wait(bench.store.remove(&stream("s"), generation));
    assert!(!remove(100));
    bench.create("s", 0, 100);
    bench.append("s", bench.records("s", ticket(1, 1), 100, 1, &["a"]));
    assert!(!remove(99));
    assert!(!remove(101));
    assert!(remove(100));
    assert!(!remove(100));
    assert_eq!(bench.job("s"), None);
    assert_eq!(bench.read("s", 100, 0, 1000), Page::Gone);
    assert_eq!(
        bench.append("s", bench.records("s", ticket(1, 1), 100, 1, &["a"])),
        Written::NotFound,
        "no repeat either"
    );
    assert_eq!((bench.counts(), bench.active_of("ann")), ([0; 5], 0));
    assert_eq!(bench.create("s", 0, 200), Written::Accepted);
}

pub(crate) fn the_list_is_newest_first_and_pages_without_gap_or_repeat(bench: &Bench) {
    for at in 0..12_u64 {
        let name = format!("s{at:02}");
        let job = bench.new_job(100 + at, if at % 3 == 0 { "bob" } else { "ann" });
        bench.wait(bench.store.create(&stream(&name), ticket(at, 0), 0, job));
        if at % 4 == 1 {
            bench.end(&name, 100 + at, 1, Status::Complete);
        }
        if at % 4 == 2 {
            let pause =
                Append { status: Some(Status::RequiresAction), ..bench.no_change(&name, ticket(at, 1), 100 + at, 1) };
            bench.append(&name, pause);
        }
        // Two at the same moment each time: the name decides.
        bench.clock.advance_ms(at % 2);
    }
    let names = |query: Query| bench.list(query).into_iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>();
    let expected = |keep: &dyn Fn(u64) -> bool| {
        (0..12_u64).rev().filter(|at| keep(*at)).map(|at| format!("s{at:02}")).collect::<Vec<_>>()
    };
    let user = |name: &str| Some(name.to_owned());
    let whole = Query { limit: usize::MAX, ..Query::default() };
    assert_eq!(names(whole.clone()), expected(&|_| true));
    let bobs = Query { user_id: user("bob"), ..whole.clone() };
    assert_eq!(names(bobs.clone()), expected(&|at| at % 3 == 0));
    let complete = Query { status: Some(Status::Complete), ..whole.clone() };
    assert_eq!(names(complete.clone()), expected(&|at| at % 4 == 1));
    assert_eq!(names(Query { user_id: user("bob"), ..complete }), expected(&|at| at % 3 == 0 && at % 4 == 1));
    assert_eq!(names(Query { user_id: user("eve"), ..whole.clone() }), expected(&|_| false));
    assert_eq!(names(Query { limit: 0, ..whole.clone() }), expected(&|_| false));
    assert_eq!((bench.counts(), bench.active_of("bob"), bench.active_of("eve")), ([6, 3, 3, 0, 0], 3, 0));

    for query in [whole, bobs] {
        let all = names(query.clone());
        for limit in 1..=all.len() + 1 {
            let mut paged = Vec::new();
            let mut after = None;
            loop {
                let page = bench.list(Query { limit, after, ..query.clone() });
                assert!(page.len() <= limit);
                let Some((id, job)) = page.last() else { break };
                after = Some((job.created_ms, id.clone()));
                paged.extend(page.iter().map(|(id, _)| id.to_string()));
            }
            assert_eq!(paged, all, "by {limit}");
        }
    }
}
