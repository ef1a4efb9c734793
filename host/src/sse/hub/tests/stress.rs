//! Many threads at once: nobody is lost, nothing is missed.

use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::sse::frame;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn joining_and_leaving_at_once_loses_nobody() {
    let (hub, a) = (hub(), stream("a"));
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (hub, a) = (Arc::clone(&hub), a.clone());
        tasks.spawn(async move {
            for round in 0..2_000_u64 {
                // Whoever has joined hears what is published then, whatever others do with the channel.
                let mut reader = hub.subscribe(&a, 1).expect("room");
                let woken = timeout(Duration::from_secs(10), reader.changed());
                hub.wake(&a);
                woken.await.expect("a reader in a channel that is not the stream's hears nothing");
                if round % 16 == 0 {
                    hub.gone(&a, u64::MAX);
                }
                drop(reader);
                tokio::task::yield_now().await;
            }
        });
    }
    tasks.join_all().await;
    assert_eq!((hub.subscribers(), hub.subscribers_of(&a)), (0, 0));
    assert!(hub.shards.iter().all(|shard| shard.lock().expect("not poisoned").is_empty()));
}

/// The log of one generation, as a store would have it.
#[derive(Default)]
struct Log(Mutex<Vec<Entry>>);

impl Log {
    fn append(&self, entry: Entry) {
        self.0.lock().expect("not poisoned").push(entry);
    }

    /// At most eight entries strictly after the position, the first of which may begin before it.
    fn read(&self, after: u64) -> Vec<Entry> {
        let entries = self.0.lock().expect("not poisoned");
        let start = entries.partition_point(|entry| entry.last() <= after);
        entries[start..].iter().take(8).cloned().collect()
    }
}

/// Follows the stream from `position` as `http/subscribe` does, until the end or `takes` steps, and checks every record.
async fn follow(hub: Arc<Hub>, log: Arc<Log>, mut position: u64, mut takes: u64) -> (u64, bool) {
    let mut reader = hub.subscribe(&stream("a"), 1).expect("room");
    let mut read_log = true;
    while takes > 0 {
        takes -= 1;
        let (bytes, ended) = if read_log {
            let entries = log.read(position);
            read_log = !entries.is_empty();
            let mut bytes = Vec::new();
            for entry in &entries {
                frame::encode(entry, position, &mut bytes);
            }
            (Bytes::from(bytes), entries.last().is_some_and(|entry| entry.terminal().is_some()))
        } else {
            match reader.take(at(1, position)) {
                Taken::Frames { bytes, ended, .. } => (bytes, ended),
                Taken::Nothing => {
                    timeout(Duration::from_secs(10), reader.changed()).await.expect("a publish was missed");
                    continue;
                }
                Taken::ReadLog => {
                    read_log = true;
                    continue;
                }
                other => panic!("{other:?}"),
            }
        };
        for sequence in sequences(&bytes) {
            assert_eq!(sequence, position + 1, "each record once, in order");
            position = sequence;
        }
        if ended {
            return (position, true);
        }
    }
    (position, false)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_reader_sees_every_record_once() {
    const PUBLISHES: u64 = 100_000;
    // A small ring, so that readers fall out of it all the time.
    let config = HubConfig { ring_bytes_max: 8 * 1024, ..HubConfig::default() };
    let (hub, log, a) = (Arc::new(Hub::new(config)), Arc::new(Log::default()), stream("a"));
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        readers.spawn(follow(Arc::clone(&hub), Arc::clone(&log), 0, u64::MAX));
    }
    // One that leaves and comes back all the time.
    let (its_hub, its_log) = (Arc::clone(&hub), Arc::clone(&log));
    let mut last = 0;
    let nomad = async move {
        let (mut position, mut ended) = (0, false);
        while !ended {
            (position, ended) = follow(Arc::clone(&its_hub), Arc::clone(&its_log), position, 100).await;
        }
        (position, ended)
    };
    readers.spawn(nomad);
    for publish in 1..=PUBLISHES {
        let count = publish % 3 + 1;
        let entry = match publish {
            PUBLISHES => terminal(1, last + 1),
            _ => entry(1, last + 1, count),
        };
        last = entry.last();
        log.append(entry.clone());
        match publish % 1_000 {
            0 => hub.wake(&a),
            _ => hub.publish(&a, &entry),
        }
        if publish % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(readers.join_all().await, [(last, true); 5]);
    assert_eq!(hub.subscribers(), 0);
}
