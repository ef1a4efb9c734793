//! Cases: what time does.

use crate::store::{Append, Page, Query, Written};
use crate::types::Status;

use super::{Bench, IDLE, IDLE_PAUSED, RETENTION, stream, ticket};

const IDLE_MS: u64 = IDLE.as_millis() as u64;
const IDLE_PAUSED_MS: u64 = IDLE_PAUSED.as_millis() as u64;
const RETENTION_MS: u64 = RETENTION.as_millis() as u64;

pub(crate) fn a_settled_job_is_gone_after_its_retention_before_any_sweep(bench: &Bench) {
    bench.create("s", 0, 100);
    bench.append("s", bench.records("s", ticket(1, 1), 100, 1, &["a"]));
    bench.end("s", 100, 2, Status::Complete);
    bench.clock.advance_ms(RETENTION_MS - 1);
    assert_eq!(bench.log("s", 100, 0, 1000).len(), 2);
    bench.clock.advance_ms(1);
    assert_eq!(bench.job("s"), None);
    assert_eq!(bench.read("s", 100, 0, 1000), Page::Gone);
    assert_eq!(bench.end("s", 100, 2, Status::Complete), Written::NotFound);
    assert!(bench.list(Query { limit: 10, ..Query::default() }).is_empty());
    assert_eq!(bench.create("s", 100, 200), Written::GenerationReplaced(0));
    assert_eq!(bench.create("s", 0, 200), Written::Accepted);
    assert_eq!(bench.sweep(10), [""; 0]);
    assert_eq!(bench.job("s").map(|job| job.generation), Some(200), "the new one stays");
    assert_eq!(bench.counts(), [1, 0, 0, 0, 0]);
}

pub(crate) fn a_settled_job_goes_when_it_was_told_to(bench: &Bench) {
    let expire = |name, generation, ms| {
        bench.wait(bench.store.expire_at(&stream(name), generation, bench.clock.now_ms() + ms));
    };
    for name in ["sooner", "later", "other", "before"] {
        bench.create(name, 0, 100);
    }
    // Told while it is active: it counts from the end on, and never cuts the work.
    expire("before", 100, 0);
    for name in ["sooner", "later", "other", "before"] {
        assert_eq!(bench.end(name, 100, 1, Status::Complete), Written::Accepted);
    }
    expire("sooner", 100, 1_000);
    expire("later", 100, RETENTION_MS * 3);
    expire("other", 99, 0);
    let alive = || ["sooner", "later", "other", "before"].map(|name| u8::from(bench.job(name).is_some()));
    assert_eq!(alive(), [1, 1, 1, 0]);
    bench.clock.advance_ms(1_000);
    assert_eq!(alive(), [0, 1, 1, 0]);
    bench.sweep(10);
    assert_eq!(bench.counts(), [0, 0, 2, 0, 0]);
    bench.clock.advance_ms(RETENTION_MS);
    bench.sweep(10);
    assert_eq!((alive(), bench.counts()), ([0, 1, 0, 0], [0, 0, 1, 0, 0]));
    bench.clock.advance_ms(RETENTION_MS * 2);
    bench.sweep(10);
    assert_eq!((alive(), bench.counts()), ([0; 4], [0; 5]));
}

pub(crate) fn appends_put_off_the_time_out_and_an_idle_job_is_named_until_it_is_settled(bench: &Bench) {
    bench.create("s", 0, 100);
    bench.create("quiet", 0, 100);
    for at in 1..=5 {
        bench.clock.advance_ms(IDLE_MS - 1_000);
        assert_eq!(bench.append("s", bench.records("s", ticket(1, at), 100, at, &["a"])), Written::Accepted);
        let expected: &[&str] = if at == 1 { &[] } else { &["quiet"] };
        assert_eq!(bench.sweep(10), expected, "round {at}");
    }
    // Fields alone are no sign of work.
    bench.clock.advance_ms(IDLE_MS - 1);
    bench.append("s", bench.no_change("s", ticket(1, 9), 100, 6));
    assert_eq!(bench.sweep(10), ["quiet"]);
    bench.clock.advance_ms(1);
    assert_eq!(bench.sweep(10), ["s"]);
    bench.clock.advance_ms(1_000);
    let mut both = bench.sweep(10);
    both.sort();
    assert_eq!(both, ["quiet", "s"], "the caller failed: both come again");
    assert_eq!(bench.end("quiet", 100, 1, Status::Error), Written::Accepted);
    assert_eq!(bench.append("s", bench.records("s", ticket(1, 10), 100, 6, &["alive"])), Written::Accepted);
    bench.clock.advance_ms(1_000);
    assert_eq!(bench.sweep(10), [""; 0]);
    assert_eq!(bench.counts(), [1, 0, 0, 1, 0]);
    bench.clock.advance_ms(RETENTION_MS);
    assert_eq!(bench.sweep(10), [""; 0]);
    assert_eq!(bench.counts(), [1, 0, 0, 0, 0]);
}

pub(crate) fn a_pause_has_a_patience_of_its_own_and_takes_nothing_from_the_work_after_it(bench: &Bench) {
    bench.create("s", 0, 100);
    let pause = Append { status: Some(Status::RequiresAction), ..bench.no_change("s", ticket(1, 1), 100, 1) };
    assert_eq!(bench.append("s", pause), Written::Accepted);
    let paused = Append { expected_status: Status::RequiresAction, ..bench.no_change("s", ticket(1, 2), 100, 1) };
    assert_eq!((bench.counts(), bench.active_of("ann")), ([0, 1, 0, 0, 0], 1));
    bench.clock.advance_ms(IDLE_PAUSED_MS - 1);
    assert_eq!(bench.sweep(10), [""; 0]);
    let resume = Append { status: Some(Status::Running), now_ms: bench.clock.now_ms(), ..paused };
    assert_eq!(bench.append("s", resume), Written::Accepted);
    bench.clock.advance_ms(IDLE_MS - 1);
    assert_eq!(bench.sweep(10), [""; 0]);
    bench.clock.advance_ms(1);
    assert_eq!(bench.sweep(10), ["s"]);
}

pub(crate) fn a_sweep_does_no_more_than_its_limit(bench: &Bench) {
    for at in 0..10_u64 {
        let name = format!("s{at}");
        bench.create(&name, 0, 100);
        if at % 2 == 1 {
            bench.end(&name, 100, 1, Status::Aborted);
        }
    }
    bench.clock.advance_ms(RETENTION_MS);
    bench.sweep(2);
    assert_eq!(bench.counts(), [5, 0, 0, 0, 3]);
    bench.sweep(10);
    assert_eq!(bench.counts(), [5, 0, 0, 0, 0]);
    bench.clock.advance_ms(IDLE_MS);
    let (some, rest) = (bench.sweep(2), bench.sweep(10));
    assert_eq!((some.len(), rest.len()), (2, 3));
    let mut all = [some, rest].concat();
    all.sort();
    assert_eq!(all, ["s0", "s2", "s4", "s6", "s8"], "each once");
}
