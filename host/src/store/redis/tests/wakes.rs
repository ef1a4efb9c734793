//! What replicas hear of one another, on one server and on a Cluster.

use std::time::Duration;

use rejoin_tests::redis::Cluster;
use tokio::time::timeout;

use super::*;
use crate::store::{Append, Store, Ticket, Wake, Wakes, Written};
use crate::types::{Cursor, Entry, Job, Status, StreamId};

const START_MS: u64 = 1_789_000_000_000;

fn stream(name: &str) -> StreamId {
    StreamId::parse(name).expect("a stream id")
}

fn record(sequence: u64) -> Entry {
    let first = Cursor { generation: 7, sequence };
    Entry { first, lines: "{}\n".into(), kinds: [].into(), count: 1 }
}

/// Another replica, by a clock that stands.
async fn replica(url: &str, prefix: &str, clock: &Arc<AtomicU64>) -> RedisStore {
    let clock = clock.clone();
    let store = RedisStore::with_clock(config(url, prefix), Arc::new(move || clock.load(Ordering::Relaxed)));
    store.await.expect("the server is fit")
}

fn wakes(store: &RedisStore) -> &dyn Wakes {
    store.wakes().expect("a shared store")
}

async fn create(store: &RedisStore, stream: &StreamId) {
    let job = Job {
        generation: 7,
        status: Status::Running,
        user_id: "u".to_owned(),
        created_ms: START_MS,
        updated_ms: START_MS,
        settled_ms: None,
        head: 0,
        revision: 0,
        fields: Vec::new(),
    };
    let written = store.create(stream, Ticket { session: 1, number: 1 }, 0, job).await;
    assert_eq!(written.expect("a server"), Written::Accepted);
}

async fn append(store: &RedisStore, stream: &StreamId, sequence: u64) {
    let append = Append {
        ticket: Ticket { session: 1, number: 1 + sequence },
        first: Cursor { generation: 7, sequence },
        entry: Some(record(sequence)),
        expected_status: Status::Running,
        expected_revision: sequence,
        status: None,
        fields: Vec::new(),
        now_ms: START_MS,
    };
    // Right after all connections were cut, a repeat with the same ticket is what its caller does.
    for _ in 0..20 {
        if let Ok(written) = store.append(stream, append.clone()).await {
            assert_eq!(written, Written::Accepted);
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not appended");
}

async fn next(store: &RedisStore) -> Wake {
    timeout(Duration::from_secs(10), wakes(store).next()).await.expect("nothing was heard").0
}

/// The next one but [`Wake::Lost`], which a start may bring as well.
async fn heard(store: &RedisStore) -> Wake {
    loop {
        match next(store).await {
            Wake::Lost => {}
            wake => return wake,
        }
    }
}

async fn hear_one_another(url: &str) {
    let (prefix, clock) = (prefix(), Arc::new(AtomicU64::new(START_MS)));
    let (one, two) = (replica(url, &prefix, &clock).await, replica(url, &prefix, &clock).await);
    let streams: Vec<_> = (0..100).map(|n| stream(&format!("s{{{n}}}"))).collect();
    wakes(&two).follow(&streams).await.expect("a server");
    for stream in &streams {
        create(&one, stream).await;
        assert_eq!(heard(&two).await, Wake::Head(stream.clone(), Cursor { generation: 7, sequence: 0 }));
        append(&one, stream, 1).await;
        assert_eq!(heard(&two).await, Wake::Entry(stream.clone(), record(1)));
    }
    let s = &streams[0];
    wakes(&one).follow(&streams[..1]).await.expect("a server");
    wakes(&one).resolved(s, 7, "{\"actionId\":\"a\"}").await.expect("a server");
    assert_eq!(heard(&two).await, Wake::Resolved(s.clone(), 7, "{\"actionId\":\"a\"}".to_owned()));

    let here = |readers| [(s.clone(), readers)];
    assert_eq!(wakes(&one).presence(&here(true)).await.expect("a server"), [true]);
    assert_eq!([heard(&one).await, heard(&two).await], [Wake::Ready(s.clone()), Wake::Ready(s.clone())]);
    assert_eq!(wakes(&two).presence(&here(true)).await.expect("a server"), [true]);
    assert_eq!(wakes(&one).presence(&here(false)).await.expect("a server"), [true]);
    assert_eq!(wakes(&one).readers(&streams[..2]).await.expect("a server"), [true, false]);
    assert_eq!(wakes(&two).presence(&here(false)).await.expect("a server"), [false]);
    assert_eq!(heard(&one).await, Wake::SubscribersLeft(s.clone()));

    assert_eq!(wakes(&two).presence(&here(true)).await.expect("a server"), [true]);
    assert_eq!(heard(&one).await, Wake::Ready(s.clone()));
    clock.fetch_add(14_999, Ordering::Relaxed);
    assert_eq!(wakes(&one).readers(&streams[..1]).await.expect("a server"), [true]);
    clock.fetch_add(1, Ordering::Relaxed);
    assert_eq!(wakes(&one).readers(&streams[..1]).await.expect("a server"), [false], "it says nothing any more");
    assert_eq!(wakes(&one).presence(&here(true)).await.expect("a server"), [true]);
    assert_eq!(heard(&one).await, Wake::Ready(s.clone()), "the first one again");

    wakes(&one).unfollow(&streams[..1]).await.expect("a server");
    assert!(one.remove(s, 7).await.expect("a server"));
    loop {
        match heard(&two).await {
            Wake::Gone(gone, _) => break assert_eq!(gone, *s),
            wake => assert!(matches!(wake, Wake::SubscribersLeft(_) | Wake::Ready(_)), "{wake:?}"),
        }
    }
    assert!(timeout(Duration::from_millis(100), wakes(&one).next()).await.is_err(), "it follows no more");
}

#[test]
fn two_replicas_hear_one_another() {
    let server = server();
    runtime().block_on(hear_one_another(&server.url()));
}

#[test]
fn two_replicas_hear_one_another_on_a_cluster() {
    let cluster = Cluster::start(3, 0).expect("redis-server runs");
    runtime().block_on(hear_one_another(&cluster.url()));
}

async fn go_on_after_a_cut(url: &str, cut: impl Fn()) {
    let (prefix, clock) = (prefix(), Arc::new(AtomicU64::new(START_MS)));
    let (one, two) = (replica(url, &prefix, &clock).await, replica(url, &prefix, &clock).await);
    let streams: Vec<_> = (0..20).map(|n| stream(&format!("s{n}"))).collect();
    wakes(&two).follow(&streams).await.expect("a server");
    for stream in &streams {
        create(&one, stream).await;
        assert!(matches!(heard(&two).await, Wake::Head(..)));
    }
    while timeout(Duration::from_millis(50), wakes(&two).next()).await.is_ok() {}
    cut();
    assert_eq!(next(&two).await, Wake::Lost);
    // Nodes may come back one after the other: whatever is said after the last `Lost` is heard.
    while timeout(Duration::from_millis(1_500), wakes(&two).next()).await.is_ok() {}
    for stream in &streams {
        append(&one, stream, 1).await;
        assert_eq!(heard(&two).await, Wake::Entry(stream.clone(), record(1)));
    }
}

#[test]
fn wakes_go_on_after_all_connections_were_cut() {
    let server = Server::start().expect("redis-server runs");
    let cut = || {
        for kind in ["normal", "pubsub"] {
            server.cli(&["CLIENT", "KILL", "TYPE", kind]).expect("it answers");
        }
    };
    runtime().block_on(go_on_after_a_cut(&server.url(), cut));
}

#[test]
fn wakes_go_on_after_all_connections_of_a_cluster_were_cut() {
    let cluster = Cluster::start(3, 0).expect("redis-server runs");
    let cut = || {
        for node in &cluster.nodes {
            for kind in ["normal", "pubsub"] {
                node.server.cli(&["CLIENT", "KILL", "TYPE", kind]).expect("it answers");
            }
        }
    };
    runtime().block_on(go_on_after_a_cut(&cluster.url(), cut));
}

#[test]
fn wakes_go_on_after_the_server_was_killed_and_came_back() {
    let server = Server::start_with(rejoin_tests::redis::AOF_ALWAYS).expect("redis-server runs");
    let cut = || {
        server.kill().expect("it dies");
        server.restart().expect("it comes back");
    };
    runtime().block_on(go_on_after_a_cut(&server.url(), cut));
}

#[test]
fn wakes_go_on_after_a_fail_over_of_a_cluster() {
    let cluster = Cluster::start(3, 1).expect("redis-server runs");
    let cut = || {
        for master in 0..3 {
            cluster.fail_over(cluster.replicas_of(master).start, false).expect("it takes over");
        }
        cluster.works().expect("it works");
    };
    runtime().block_on(go_on_after_a_cut(&cluster.url(), cut));
}
