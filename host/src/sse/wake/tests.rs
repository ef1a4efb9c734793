mod fake;

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep, timeout};

use self::fake::{World, at, last, record, stream};
use super::*;
use crate::sse::{Heard, HubConfig, Listener, Signal, Subscription, Taken};
use crate::store::Wake;

/// Lets all tasks do what they can do now.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// The last sequence of what the hub has after `after`, waited for.
async fn next(reader: &mut Subscription, after: u64) -> u64 {
    let wait = async {
        loop {
            match reader.take(at(after)) {
                Taken::Frames { last, .. } => return last.sequence,
                Taken::Nothing => reader.changed().await,
                other => panic!("{other:?}"),
            }
        }
    };
    timeout(Duration::from_secs(60), wait).await.expect("never delivered")
}

/// What a producer is told of readers: only what differs from what it was told before, as `http/signals` does.
fn presence(listener: &mut Listener, mut ready: bool) -> Vec<bool> {
    let mut told = Vec::new();
    while let Some(heard) = listener.next().now_or_never() {
        let now = match heard {
            Heard::Signal(Hub::EVERY_GENERATION, Signal::Ready) => true,
            Heard::Signal(Hub::EVERY_GENERATION, Signal::SubscribersLeft) => false,
            Heard::Signal(1, Signal::Settled) | Heard::Lagged => continue,
            other => panic!("{other:?}"),
        };
        if std::mem::replace(&mut ready, now) != now {
            told.push(now);
        }
    }
    told
}

#[tokio::test(start_paused = true)]
async fn what_one_replica_writes_is_read_on_another() {
    let (world, a) = (World::new(), stream("a"));
    world.create(&a, 1);
    let (hub, _task) = world.replica();
    let mut reader = hub.subscribe(&a, 1).expect("room");
    settle().await;
    let start = Instant::now();
    for sequence in 1..=10 {
        world.append(&a, record(sequence));
        assert_eq!(next(&mut reader, sequence - 1).await, sequence);
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(world.room().reads, 0);
    drop(reader);
    settle().await;
    assert_eq!(world.room().followed(0), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_message_costs_a_second() {
    let (world, a) = (World::new(), stream("a"));
    world.create(&a, 1);
    let (hub, _task) = world.replica();
    let mut reader = hub.subscribe(&a, 1).expect("room");
    settle().await;
    for sequence in 1..=5 {
        world.append_unheard(&a, record(sequence));
        let start = Instant::now();
        assert_eq!(next(&mut reader, sequence - 1).await, sequence);
        assert!(start.elapsed() <= LOOK_EVERY, "{:?}", start.elapsed());
        sleep(Duration::from_millis(130)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_read_once_for_all_readers() {
    let (world, a) = (World::new(), stream("a"));
    world.create(&a, 1);
    let (hub, _task) = world.replica();
    let mut readers: Vec<_> = (0..1_000).map(|_| hub.subscribe(&a, 1).expect("room")).collect();
    settle().await;
    world.append(&a, record(1));
    settle().await;
    (2..=4).for_each(|sequence| world.append_unheard(&a, record(sequence)));
    world.append(&a, record(5));
    world.append(&a, record(6));
    settle().await;
    for reader in &mut readers {
        assert_eq!(next(reader, 1).await, 6);
    }
    assert_eq!(world.room().reads, 1);
    world.say(&a, &Wake::Head(a.clone(), at(6)));
    settle().await;
    assert_eq!(world.room().reads, 1, "nothing new");
    world.append_unheard(&a, record(7));
    world.say(&a, &Wake::Head(a.clone(), at(7)));
    settle().await;
    assert_eq!(next(&mut readers[0], 6).await, 7);
    assert_eq!(world.room().reads, 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_appended_before_the_stream_is_followed_sends_readers_to_the_log() {
    let (world, a) = (World::new(), stream("a"));
    world.create(&a, 1);
    let (hub, _task) = world.replica();
    let mut reader = hub.subscribe(&a, 1).expect("room");
    assert_eq!(reader.take(at(0)), Taken::Nothing);
    world.append(&a, record(1));
    settle().await;
    assert_eq!(reader.take(at(0)), Taken::ReadLog);
    assert_eq!(reader.take(at(1)), Taken::Nothing, "one that read the log has no reason to do so again");
    world.append(&a, record(2));
    assert_eq!(next(&mut reader, 1).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_joined_during_an_outage_is_followed_after_it() {
    let (world, a) = (World::new(), stream("a"));
    world.create(&a, 1);
    let (hub, _task) = world.replica();
    world.room().down = true;
    let mut listener = hub.listen(&a).expect("room");
    let mut reader = hub.subscribe(&a, 1).expect("room");
    sleep(Duration::from_secs(30)).await;
    let calls = world.room().calls;
    // It is told and looked at, each with pauses of a second at most.
    assert!((50..80).contains(&calls), "{calls} calls in thirty seconds");
    assert_eq!(world.room().followed(0), 0);
    world.room().down = false;
    sleep(PAUSE_MAX).await;
    assert_eq!(world.room().followed(0), 1);
    world.append(&a, record(1));
    assert_eq!(next(&mut reader, 0).await, 1);
    assert_eq!(presence(&mut listener, false), [true]);
    world.room().down = true;
    drop((reader, listener));
    sleep(Duration::from_secs(10)).await;
    world.room().down = false;
    sleep(PAUSE_MAX).await;
    assert_eq!(world.room().followed(0), 0, "a leave is not forgotten either");
}

#[tokio::test(start_paused = true)]
async fn the_first_reader_and_the_last_one_are_counted_over_all_replicas() {
    let (world, a) = (World::new(), stream("a"));
    world.create(&a, 1);
    let ((one, _a), (two, _b)) = (world.replica(), world.replica());
    let (mut here, mut there) = (one.listen(&a).expect("room"), two.listen(&a).expect("room"));
    settle().await;
    assert!(presence(&mut here, false).is_empty());
    let first = two.subscribe(&a, 1).expect("room");
    settle().await;
    let second = one.subscribe(&a, 1).expect("room");
    settle().await;
    drop(first);
    sleep(Duration::from_secs(60)).await;
    assert_eq!((presence(&mut here, false), presence(&mut there, false)), (vec![true], vec![true]));
    let mut late = two.listen(&a).expect("room");
    sleep(PRESENCE_EVERY).await;
    assert_eq!(presence(&mut late, false), [true], "told again to whoever asked too early");
    drop(second);
    settle().await;
    assert_eq!((presence(&mut here, true), presence(&mut there, true)), (vec![false], vec![false]));
}

#[tokio::test(start_paused = true)]
async fn readers_of_a_dead_replica_expire_and_those_of_a_living_one_do_not() {
    let (world, a) = (World::new(), stream("a"));
    world.create(&a, 1);
    let ((one, _a), (two, task)) = (world.replica(), world.replica());
    let mut listener = one.listen(&a).expect("room");
    let _reader = two.subscribe(&a, 1).expect("room");
    for _ in 0..12 {
        sleep(Duration::from_secs(5)).await;
        presence(&mut listener, true);
    }
    let told = world.room().told;
    assert!((12..=14).contains(&told), "{told} times in a minute");
    task.abort();
    sleep(2 * PRESENCE_EVERY).await;
    assert!(presence(&mut listener, true).is_empty());
    sleep(3 * PRESENCE_EVERY).await;
    assert_eq!(presence(&mut listener, true), [false]);
    sleep(3 * PRESENCE_EVERY).await;
    assert!(presence(&mut listener, false).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_end_that_nobody_heard_of_is_told_within_a_second() {
    let (world, a) = (World::new(), stream("a"));
    world.create(&a, 1);
    let (hub, _task) = world.replica();
    let mut listener = hub.listen(&a).expect("room");
    settle().await;
    let heard = [listener.next().await, listener.next().await];
    assert!(heard.contains(&Heard::Signal(1, Signal::Settled)), "followed: it looks at the row once");
    assert!(heard.contains(&Heard::Signal(0, Signal::SubscribersLeft)), "and hears whether there are readers");
    world.append_unheard(&a, last(1));
    let start = Instant::now();
    assert_eq!(listener.next().await, Heard::Signal(1, Signal::Settled));
    assert!(start.elapsed() <= LOOK_EVERY);
    let mut reader = hub.subscribe(&a, 1).expect("room");
    world.room().lossy = true;
    world.create(&a, 2);
    sleep(LOOK_EVERY + PAUSE_MIN).await;
    assert_eq!(reader.take(at(1)), Taken::Replaced(2));
    let heard = std::iter::from_fn(|| listener.next().now_or_never());
    assert!(heard.into_iter().any(|heard| heard == Heard::Signal(2, Signal::Settled)));
}

#[tokio::test(start_paused = true)]
async fn a_newer_generation_replaces_the_old_one_here_too() {
    let (world, a) = (World::new(), stream("a"));
    world.create(&a, 1);
    let (hub, _task) = world.replica();
    let mut reader = hub.subscribe(&a, 1).expect("room");
    settle().await;
    world.create(&a, 2);
    settle().await;
    assert_eq!(reader.take(at(0)), Taken::Replaced(2));
    world.say(&a, &Wake::Gone(a.clone(), u64::MAX));
    settle().await;
    assert_eq!((hub.subscribers_of(&a), world.room().followed(0)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_missing_for_some_looks_is_gone() {
    let (world, a) = (World::new(), stream("a"));
    world.create(&a, 1);
    let (hub, _task) = world.replica();
    let mut reader = hub.subscribe(&a, 1).expect("room");
    sleep(Duration::from_millis(500)).await;
    let row = world.room().logs.remove(&a).expect("a row");
    sleep(3 * LOOK_EVERY).await;
    assert_eq!(reader.take(at(0)), Taken::Nothing, "whoever knows it may be giving it back");
    assert!(hub.take_doubt(), "and is told to look");
    world.room().logs.insert(a.clone(), row);
    sleep(LOOK_EVERY).await;
    world.room().logs.clear();
    sleep(3 * LOOK_EVERY).await;
    assert_eq!(reader.take(at(0)), Taken::Nothing);
    sleep(LOOK_EVERY).await;
    assert_eq!(reader.take(at(0)), Taken::Gone);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_forgot_sends_readers_to_the_log_and_goes_on_from_there() {
    let (world, a) = (World::new(), stream("a"));
    world.create(&a, 1);
    let (hub, _task) = world.replica();
    let mut reader = hub.subscribe(&a, 1).expect("room");
    settle().await;
    (1..=9).for_each(|sequence| world.append(&a, record(sequence)));
    settle().await;
    assert_eq!(next(&mut reader, 0).await, 9);
    {
        let mut room = world.room();
        let (head, log) = room.logs.get_mut(&a).expect("a row");
        log.truncate(3);
        head.cursor.sequence = 3;
    }
    world.append(&a, record(4));
    settle().await;
    assert_eq!(reader.take(at(9)), Taken::ReadLog);
    world.append(&a, record(5));
    assert_eq!(next(&mut reader, 4).await, 5);
}

#[tokio::test(start_paused = true)]
async fn after_lost_wakes_everything_followed_is_looked_at_once() {
    let world = World::new();
    let streams: Vec<_> = (0..600).map(|n| stream(&format!("s{n}"))).collect();
    streams.iter().for_each(|stream| world.create(stream, 1));
    let (hub, _task) = world.replica();
    let mut readers: Vec<_> = streams.iter().map(|stream| hub.subscribe(stream, 1).expect("room")).collect();
    settle().await;
    assert_eq!(world.room().followed(0), 600);
    streams.iter().for_each(|stream| world.append_unheard(stream, record(1)));
    let (before, start) = (world.room().heads, Instant::now());
    world.say(&streams[0], &Wake::Lost);
    for reader in &mut readers {
        assert_eq!(next(reader, 0).await, 1);
    }
    let room = world.room();
    assert_eq!((start.elapsed(), room.heads - before, room.reads), (Duration::ZERO, 3, 600));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_joins_and_leaves_has_a_bound_while_the_store_is_away() {
    let (world, hub) = (World::new(), Arc::new(Hub::new(HubConfig { shared: true, ..HubConfig::default() })));
    let side = world.side();
    let task = Task::new(&*side, &*side, &hub, WakeMeter::default());
    world.room().down = true;
    let flood = async {
        for round in 0..20 {
            for n in 0..20_000 {
                drop(hub.subscribe(&stream(&format!("{round}-{n}")), 1));
            }
            settle().await;
            assert!(task.book().len() <= 300, "{} streams", task.book().len());
        }
        (0..15_000).for_each(|n| world.create(&stream(&format!("held-{n}")), 1));
        let held: Vec<_> = (0..15_000).map(|n| hub.subscribe(&stream(&format!("held-{n}")), 1)).collect();
        sleep(PAUSE_MAX).await;
        world.room().down = false;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(world.room().followed(0), 15_000, "nobody was forgotten");
        drop(held);
        sleep(Duration::from_secs(5)).await;
        assert_eq!((world.room().followed(0), task.book().len()), (0, 0));
    };
    tokio::select! {
        () = task.work() => {}
        () = flood => {}
    }
}

#[tokio::test]
async fn a_host_alone_needs_no_task() {
    let config = crate::store::memory::MemoryConfig {
        idle: PAUSE_MAX,
        idle_paused: PAUSE_MAX,
        retention: PAUSE_MAX,
        bytes_max: 1,
        jobs_max: 1,
        jobs_per_user_max: 1,
    };
    let store = Arc::new(crate::store::MemoryStore::new(config));
    let hub = Arc::new(Hub::new(HubConfig::default()));
    tokio::spawn(run(store, hub, WakeMeter::default(), CancellationToken::new())).await.expect("no panic");
}
