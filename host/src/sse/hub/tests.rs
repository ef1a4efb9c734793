mod stress;

use futures_util::FutureExt;

use super::*;
use crate::sse::{Heard, Taken};
use crate::types::{Cursor, RecordKind};

fn hub() -> Arc<Hub> {
    Arc::new(Hub::new(HubConfig::default()))
}

fn stream(name: &str) -> StreamId {
    StreamId::parse(name).expect("a stream id")
}

fn at(generation: u64, sequence: u64) -> Cursor {
    Cursor { generation, sequence }
}

fn entry(generation: u64, first: u64, count: u64) -> Entry {
    let lines = "{}\n".repeat(usize::try_from(count).expect("small")).into();
    Entry { first: at(generation, first), lines, kinds: [].into(), count }
}

fn terminal(generation: u64, sequence: u64) -> Entry {
    Entry { kinds: [RecordKind::Final].into(), ..entry(generation, sequence, 1) }
}

/// The sequences of the frames in `bytes`.
fn sequences(bytes: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(bytes).expect("text");
    let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
    ids.map(|id| Cursor::parse(id).expect("a cursor").sequence).collect()
}

fn took(subscription: &mut Subscription, after: Cursor) -> Vec<u64> {
    match subscription.take(after) {
        Taken::Frames { bytes, .. } => sequences(&bytes),
        other => panic!("{other:?}"),
    }
}

#[test]
fn readers_share_the_bytes_of_one_publish() {
    let (hub, a) = (hub(), stream("a"));
    let mut readers: Vec<_> = (0..2).map(|_| hub.subscribe(&a, 1).expect("room")).collect();
    hub.publish(&a, &entry(1, 1, 2));
    let shared = readers.iter_mut().map(|reader| match reader.take(at(1, 0)) {
        Taken::Frames { bytes, last, ended: false, .. } if last == at(1, 2) => bytes.as_ptr(),
        other => panic!("{other:?}"),
    });
    let shared: Vec<_> = shared.collect();
    assert_eq!(shared[0], shared[1]);
}

#[test]
fn nothing_is_kept_for_a_stream_without_readers() {
    let (hub, a) = (hub(), stream("a"));
    hub.publish(&a, &entry(1, 1, 1));
    drop(hub.subscribe(&a, 1));
    drop(hub.listen(&a));
    assert!(hub.shards.iter().all(|shard| shard.lock().expect("not poisoned").is_empty()));
    assert_eq!((hub.subscribers(), hub.subscribers_of(&a)), (0, 0));
}

#[test]
fn a_publish_between_take_and_changed_is_not_missed() {
    let (hub, a) = (hub(), stream("a"));
    let mut reader = hub.subscribe(&a, 1).expect("room");
    assert_eq!(reader.take(at(1, 0)), Taken::Nothing);
    assert!(reader.changed().now_or_never().is_none(), "nothing has happened");
    hub.publish(&a, &entry(1, 1, 1));
    assert!(reader.changed().now_or_never().is_some(), "published after take, before changed");
    assert_eq!(took(&mut reader, at(1, 0)), [1]);
    assert!(reader.changed().now_or_never().is_none());

    let mut waiting = Box::pin(reader.changed());
    assert!(waiting.as_mut().now_or_never().is_none());
    hub.publish(&a, &entry(1, 2, 1));
    assert!(waiting.now_or_never().is_some(), "published while waiting");
    hub.publish(&a, &entry(1, 3, 1));
    assert_eq!(took(&mut reader, at(1, 1)), [2, 3]);
}

#[test]
fn a_publish_before_the_join_is_left_to_the_log_and_the_next_one_continues() {
    let (hub, a) = (hub(), stream("a"));
    let _first = hub.subscribe(&a, 1).expect("room");
    hub.publish(&a, &entry(1, 1, 5));
    let mut reader = hub.subscribe(&a, 1).expect("room");
    assert_eq!(reader.take(at(1, 2)), Taken::ReadLog, "inside a chunk");
    hub.publish(&a, &entry(1, 6, 1));
    assert_eq!(took(&mut reader, at(1, 5)), [6]);
}

#[test]
fn the_ring_does_not_claim_the_end_while_only_producers_listen() {
    let (hub, a) = (hub(), stream("a"));
    let _listener = hub.listen(&a).expect("room");
    let first = hub.subscribe(&a, 1).expect("room");
    hub.publish(&a, &entry(1, 1, 1));
    drop(first);
    hub.publish(&a, &entry(1, 2, 1));
    let mut reader = hub.subscribe(&a, 1).expect("room");
    assert_eq!(reader.take(at(1, 0)), Taken::ReadLog);
    assert_eq!(reader.take(at(1, 1)), Taken::ReadLog);
    assert_eq!(reader.take(at(1, 2)), Taken::Nothing);
}

#[test]
fn a_wake_sends_each_reader_to_the_log_once() {
    let (hub, a) = (hub(), stream("a"));
    let mut reader = hub.subscribe(&a, 1).expect("room");
    hub.wake(&a);
    assert!(reader.changed().now_or_never().is_some());
    assert_eq!(reader.take(at(1, 0)), Taken::ReadLog);
    assert_eq!(reader.take(at(1, 0)), Taken::Nothing);
    let mut late = hub.subscribe(&a, 1).expect("room");
    assert_eq!(late.take(at(1, 0)), Taken::Nothing, "woken before it came: it reads the log anyway");
}

#[test]
fn a_new_generation_replaces_the_old_one_for_its_readers() {
    let (hub, a) = (hub(), stream("a"));
    let mut old = hub.subscribe(&a, 5).expect("room");
    hub.publish(&a, &entry(5, 1, 1));
    hub.generation(&a, 9);
    assert!(old.changed().now_or_never().is_some());
    assert_eq!(old.take(at(5, 0)), Taken::Replaced(9));
    let mut new = hub.subscribe(&a, 9).expect("room");
    hub.publish(&a, &entry(5, 2, 1));
    assert_eq!(new.take(at(9, 0)), Taken::Nothing, "a publish of an older generation is nobody's");
    hub.publish(&a, &entry(12, 1, 1));
    assert_eq!(new.take(at(9, 0)), Taken::Replaced(12), "the first publish tells it as well");
    let mut newest = hub.subscribe(&a, 15).expect("room");
    assert_eq!(new.take(at(12, 1)), Taken::Replaced(15), "a reader that knows of a newer one tells it as well");
    assert_eq!(newest.take(at(20, 0)), Taken::Nothing, "the hub will hear of it");
}

#[test]
fn a_forgotten_stream_ends_its_readers_after_what_was_published() {
    let (hub, a) = (hub(), stream("a"));
    let mut reader = hub.subscribe(&a, 1).expect("room");
    let mut listener = hub.listen(&a).expect("room");
    hub.publish(&a, &terminal(1, 1));
    hub.gone(&a, u64::MAX);
    assert!(reader.changed().now_or_never().is_some());
    assert!(matches!(reader.take(at(1, 0)), Taken::Frames { ended: true, .. }));
    assert_eq!(reader.take(at(1, 1)), Taken::Gone);
    assert!(reader.changed().now_or_never().is_some(), "the end is no wait");
    assert_eq!(listener.next().now_or_never(), Some(Heard::Signal(1, Signal::Settled)));
    assert_eq!(listener.next().now_or_never(), Some(Heard::Gone));

    let mut again = hub.subscribe(&a, 1).expect("room");
    drop((reader, listener));
    assert_eq!((hub.subscribers(), hub.subscribers_of(&a)), (1, 1), "the old ones leave a channel that is no more");
    hub.publish(&a, &entry(1, 1, 1));
    assert_eq!(took(&mut again, at(1, 0)), [1]);
}

#[test]
fn the_first_reader_and_the_last_one_are_told_to_producers() {
    let (hub, a) = (hub(), stream("a"));
    let mut early = hub.listen(&a).expect("room");
    assert!(!early.ready());
    let first = hub.subscribe(&a, 7).expect("room");
    let second = hub.subscribe(&a, 7).expect("room");
    let mut late = hub.listen(&a).expect("room");
    assert!(late.ready());
    drop(first);
    assert_eq!(early.next().now_or_never(), Some(Heard::Signal(7, Signal::Ready)));
    assert_eq!(early.next().now_or_never(), None, "one is still there");
    drop(second);
    assert_eq!(early.next().now_or_never(), Some(Heard::Signal(7, Signal::SubscribersLeft)));
    assert_eq!(late.next().now_or_never(), Some(Heard::Signal(7, Signal::SubscribersLeft)));
}

#[test]
fn a_listener_that_does_not_listen_is_told_that_it_lost_signals() {
    let (hub, a) = (hub(), stream("a"));
    let mut listener = hub.listen(&a).expect("room");
    for _ in 0..10 * SIGNALS_MAX {
        hub.signal(&a, 1, Signal::Abort);
    }
    assert_eq!(listener.next().now_or_never(), Some(Heard::Lagged));
    let mut kept = 0;
    while let Some(Heard::Signal(1, Signal::Abort)) = listener.next().now_or_never() {
        kept += 1;
    }
    assert_eq!(kept, SIGNALS_MAX);
}

#[test]
fn readers_and_listeners_have_bounds() {
    let config = HubConfig { subscribers_max: 3, subscribers_per_stream_max: 2, ..HubConfig::default() };
    let (hub, a, b) = (Arc::new(Hub::new(config)), stream("a"), stream("b"));
    let held: Vec<_> = (0..2).map(|_| hub.subscribe(&a, 1).expect("room")).collect();
    assert_eq!(hub.subscribe(&a, 1).err(), Some(TooMany::OnStream(2)));
    let other = hub.subscribe(&b, 1).expect("a refusal gives its place back");
    assert_eq!(hub.subscribe(&b, 1).err(), Some(TooMany::OnHost(3)));
    assert_eq!((hub.subscribers(), hub.subscribers_of(&a), hub.subscribers_of(&b)), (3, 2, 1));
    let listeners: Vec<_> = (0..2).map(|_| hub.listen(&a).expect("room")).collect();
    assert_eq!(hub.listen(&a).err(), Some(TooMany::OnStream(2)));
    drop((held, other, listeners));
    assert_eq!(hub.subscribers(), 0);
    hub.subscribe(&a, 1).expect("room again");
}

#[test]
fn two_thousand_readers_of_one_stream_are_woken_and_counted() {
    let (hub, a) = (hub(), stream("a"));
    let mut readers: Vec<_> = (0..2_000).map(|_| hub.subscribe(&a, 1).expect("room")).collect();
    assert_eq!(hub.subscribe(&a, 1).err(), Some(TooMany::OnStream(2_000)));
    for sequence in 1..=20 {
        hub.publish(&a, &entry(1, sequence, 1));
        for reader in &mut readers {
            assert!(reader.changed().now_or_never().is_some());
            assert_eq!(took(reader, at(1, sequence - 1)), [sequence]);
        }
    }
    drop(readers);
    assert_eq!((hub.subscribers(), hub.subscribers_of(&a)), (0, 0));
}

#[test]
fn each_reader_is_seen_where_it_stands() {
    let (hub, a) = (hub(), stream("a"));
    assert_eq!(hub.readers(&a, 10), Readers::default());
    let mut quick = hub.subscribe(&a, 1).expect("room");
    let slow = hub.subscribe(&a, 1).expect("room");
    let _listener = hub.listen(&a).expect("room");
    slow.start(at(1, 1));
    hub.publish(&a, &entry(1, 1, 5));
    let _frames = quick.take(at(1, 0));
    let lags = |hub: &Hub| -> Vec<_> { hub.readers(&a, 10).rows.iter().map(|reader| reader.lag(at(1, 5))).collect() };
    assert_eq!(lags(&hub), [5, 4], "what was taken, but for which nobody has asked for more, is still on its way");
    assert_eq!(quick.take(at(1, 5)), Taken::Nothing);
    assert_eq!(lags(&hub), [4, 0]);

    let readers = hub.readers(&a, 1);
    assert_eq!((readers.total, readers.listeners, readers.rows.len()), (2, 1, 1));
    assert_eq!((readers.rows[0].number, readers.rows[0].cursor), (2, at(1, 1)), "the one furthest behind has the row");
    assert_eq!(readers.rows[0].lag(at(2, 3)), 3, "a reader of an older generation has nothing of the present one");
    assert_eq!(readers.rows[0].lag(at(1, 0)), 0, "it may be ahead of an older look at the log");
    drop(slow);
    assert_eq!(lags(&hub), [0]);
    drop(quick);
    assert_eq!((hub.readers(&a, 10).total, hub.readers(&a, 10).listeners), (0, 1));
}

#[test]
fn hosts_have_different_names() {
    let (one, two) = (hub(), hub());
    assert!(one.host() != two.host() && one.host().len() == 8, "{} {}", one.host(), two.host());
}
