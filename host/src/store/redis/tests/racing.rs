//! Many at once, servers that forget, and connections that break.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rejoin_tests::redis::Server;

use super::{Open, config, open_on, prefix, runtime};
use crate::store::conformance::{Bench, ending, stream, ticket};
use crate::store::{Append, Store, StoreError, Written};
use crate::types::Status;

#[test]
fn of_two_replicas_one_wins_each_create_and_each_end() {
    let open = Open::new(|_| {});
    let other = open.other();
    let both = |name: &str, act: &dyn Fn(&Bench, u64) -> Append| {
        let (ours, theirs) = (act(&open.bench, 1), act(&other, 2));
        let id = stream(name);
        let race = async { tokio::join!(open.bench.store.append(&id, ours), other.store.append(&id, theirs)) };
        let (ours, theirs) = runtime().block_on(race);
        (ours.expect("an answer"), theirs.expect("an answer"))
    };
    for round in 0..100 {
        let name = format!("s{round}");
        let id = stream(&name);
        let jobs = [100, 101].map(|generation| open.bench.new_job(generation, "ann"));
        let [ours, theirs] = jobs;
        let race = async {
            tokio::join!(
                open.bench.store.create(&id, ticket(1, 1), 0, ours),
                other.store.create(&id, ticket(2, 1), 0, theirs)
            )
        };
        let (ours, theirs) = runtime().block_on(race);
        let generation = match (ours.expect("an answer"), theirs.expect("an answer")) {
            (Written::Accepted, Written::GenerationReplaced(100)) => 100,
            (Written::GenerationReplaced(101), Written::Accepted) => 101,
            both => panic!("{both:?}"),
        };
        assert_eq!(other.job(&name).map(|job| job.generation), Some(generation));
        let ends = both(&name, &|bench, session| {
            ending(
                bench.no_change(&name, ticket(session, 2), generation, 1),
                [Status::Complete, Status::Error][session as usize - 1],
            )
        });
        assert!(
            matches!(
                ends,
                (Written::Accepted, Written::NotActive(Status::Complete))
                    | (Written::NotActive(Status::Error), Written::Accepted)
            ),
            "{ends:?}"
        );
    }
    assert_eq!(other.counts(), open.bench.counts());
    assert_eq!(other.counts().iter().sum::<u64>(), 100);
}

#[test]
fn appends_that_wait_together_go_together_and_a_bad_one_fails_alone() {
    const STREAMS: u64 = 100;
    const ROUNDS: u64 = 10;
    let mut open = Open::new(|_| {});
    let names: Vec<_> = (0..STREAMS).map(|at| format!("s{at}")).collect();
    names.iter().for_each(|name| assert_eq!(open.bench.create(name, 0, 100), Written::Accepted));
    // Not a log: appends to this one fail in the middle of a script.
    open.cli(&["SET", "@:{s7}:log", "text"]);
    let before = open.store.commits();
    let work = names.iter().enumerate().map(|(at, name)| {
        let (bench, id) = (&open.bench, stream(name));
        async move {
            for round in 1..=ROUNDS {
                let write = Append { expected_revision: round, ..bench_records(bench, round) };
                let written = bench.store.append(&id, write).await;
                if at == 7 {
                    assert!(matches!(written, Err(StoreError::Unavailable(_))), "{written:?}");
                    return;
                }
                assert_eq!(written.expect("an answer"), Written::Accepted, "{id} {round}");
            }
        }
    });
    runtime().block_on(join_all(work));
    let commits = open.store.commits() - before;
    assert!(commits * 10 <= STREAMS * ROUNDS, "{commits} commits");
    for (at, name) in names.iter().enumerate() {
        let head = if at == 7 { 0 } else { ROUNDS };
        assert_eq!(open.bench.job(name).map(|job| job.head), Some(head), "{name}");
    }
}

/// Without a look at the row.
fn bench_records(bench: &Bench, first: u64) -> Append {
    let entry = crate::store::conformance::entry(100, first, &["{\"a\":1}"]);
    Append {
        ticket: ticket(1, first),
        first: entry.first,
        entry: Some(entry),
        expected_status: Status::Running,
        expected_revision: 0,
        status: None,
        fields: Vec::new(),
        now_ms: bench.clock.now_ms(),
    }
}

#[test]
fn a_server_that_forgets_its_scripts_is_taught_again() {
    // A server of its own: the others would be disturbed.
    let server = Arc::new(Server::start().expect("redis-server runs"));
    let mut open = Open::on(server, |_| {});
    open.bench.create("s", 0, 100);
    for round in 1..=30_u64 {
        open.cli(&["SCRIPT", "FLUSH"]);
        let writes = async {
            let (s, t) = (stream("s"), stream(&format!("t{round}")));
            let job = open.bench.new_job(100, "ann");
            let write = Append { expected_revision: round, ..bench_records(&open.bench, round) };
            tokio::join!(open.bench.store.append(&s, write), open.bench.store.create(&t, ticket(1, round), 0, job))
        };
        let (append, create) = runtime().block_on(writes);
        assert_eq!((append.expect("an answer"), create.expect("an answer")), (Written::Accepted, Written::Accepted));
    }
    assert_eq!(open.bench.log("s", 100, 0, 1 << 20).len(), 30);
}

#[test]
fn a_write_whose_outcome_is_unknown_is_done_once_however_often_the_connection_breaks() {
    let server = Arc::new(Server::start().expect("redis-server runs"));
    let mut open = Open::on(server.clone(), |_| {});
    open.bench.create("s", 0, 100);
    let mut unknown = 0;
    for round in 1..=40_u64 {
        let write = Append { expected_revision: round, ..bench_records(&open.bench, round) };
        let id = stream("s");
        let first = open.bench.store.append(&id, write.clone());
        let cut = async {
            tokio::task::yield_now().await;
            server.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        };
        let (first, cut) = runtime().block_on(async { tokio::join!(first, cut) });
        cut.expect("it is cut");
        unknown += u64::from(first.is_err());
        let again = async {
            loop {
                match open.bench.store.append(&id, write.clone()).await {
                    Ok(written) => return written,
                    Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let again = runtime().block_on(async { tokio::time::timeout(Duration::from_secs(10), again).await });
        assert_eq!(again.expect("it is done in time"), Written::Accepted);
    }
    open.connection = server.connect().expect("it answers");
    assert_eq!(open.bench.log("s", 100, 0, 1 << 20).len(), 40, "{unknown} were unknown");
    assert_eq!(open.bench.job("s").map(|job| job.revision), Some(41));
}

#[test]
fn a_server_that_says_nothing_is_unavailable_and_comes_back() {
    let server = Arc::new(Server::start().expect("redis-server runs"));
    let open = Open::on(server.clone(), |_| {});
    open.bench.create("s", 0, 100);
    server.stop().expect("it stops");
    let begun = std::time::Instant::now();
    let answers = runtime().block_on(async { tokio::join!(open.store.ready(), open.store.counts()) });
    assert!(matches!(answers, (Err(StoreError::Unavailable(_)), Err(StoreError::Unavailable(_)))), "{answers:?}");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    server.cont().expect("it goes on");
    let again = async {
        while open.store.ready().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    runtime().block_on(async { tokio::time::timeout(Duration::from_secs(10), again).await }).expect("it comes back");
    assert_eq!(open.bench.counts(), [1, 0, 0, 0, 0]);
}

#[test]
fn no_more_jobs_are_admitted_than_there_may_be() {
    let open = Open::new(|config| (config.jobs_max, config.jobs_per_user_max) = (3, 2));
    let create = |name: &str, user: &str, previous, generation| {
        let job = open.bench.new_job(generation, user);
        runtime().block_on(open.store.create(&stream(name), ticket(generation, 0), previous, job))
    };
    let whose = |answer| match answer {
        Err(StoreError::TooManyJobs { whose, jobs_max }) => (whose, jobs_max),
        other => panic!("{other:?}"),
    };
    assert!(matches!(create("a", "ann", 0, 1), Ok(Written::Accepted)));
    assert!(matches!(create("b", "ann", 0, 1), Ok(Written::Accepted)));
    assert_eq!(whose(create("c", "ann", 0, 1)), ("this user", 2));
    assert!(matches!(create("c", "bob", 0, 1), Ok(Written::Accepted)));
    assert_eq!(whose(create("d", "eve", 0, 1)), ("the store", 3));
    assert_eq!(open.bench.job("d"), None);
    // A repeat, a refusal and a take-over need no place.
    assert!(matches!(create("a", "ann", 0, 1), Ok(Written::Accepted)));
    assert!(matches!(create("a", "ann", 7, 8), Ok(Written::GenerationReplaced(1))));
    assert!(matches!(create("a", "ann", 1, 2), Ok(Written::Accepted)));
    assert_eq!(open.bench.end("b", 1, 1, Status::Complete), Written::Accepted);
    assert!(matches!(create("b", "ann", 1, 2), Ok(Written::Accepted)));
    // Many at once: what is on its way counts.
    let (store, bench) = open_on(open.server.clone(), {
        let mut config = config(&open.server.url(), &prefix());
        config.jobs_max = 5;
        config
    });
    let ids: Vec<_> = (0..50).map(|at| stream(&format!("s{at}"))).collect();
    let all = ids.iter().map(|id| store.create(id, ticket(1, 1), 0, bench.new_job(100, "ann")));
    let answers = runtime().block_on(join_all(all));
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Ok(Written::Accepted))).count(), 5);
    assert_eq!(bench.counts(), [5, 0, 0, 0, 0]);
}
