//! Wakes that wait for the task that takes them.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::lock;
use crate::store::Wake;
use crate::store::redis::keys::Keys;
use crate::store::redis::message;

/// Wakes that wait, and the bytes of their records. When there are more, all of them become one [`Wake::Lost`].
const WAKES_MAX: usize = 16 * 1024;
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Between the connection, which never waits, and the task.
pub(super) struct Inbox {
    keys: Keys,
    replica: Arc<str>,
    followed: Arc<Mutex<HashSet<String>>>,
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    wakes: VecDeque<(Wake, usize, Instant)>,
    bytes: usize,
    lost: bool,
}

impl Inbox {
    pub(super) fn new(keys: Keys, replica: Arc<str>, followed: Arc<Mutex<HashSet<String>>>) -> Self {
        let (waiting, news) = Default::default();
        Inbox { keys, replica, followed, waiting, news }
    }

    /// Takes what a connection heard. True: it, or a part of what it listens to, was lost.
    pub(super) fn take(&self, push: PushInfo) -> bool {
        let channel = |data: &[Value]| match data {
            [Value::BulkString(channel), ..] => Some(String::from_utf8_lossy(channel).into_owned()),
            _ => None,
        };
        match push.kind {
            PushKind::Message | PushKind::SMessage => {
                let [Value::BulkString(channel), Value::BulkString(message)] = &push.data[..] else { return false };
                let stream = self.keys.stream_of_wake(channel);
                match stream.and_then(|stream| message::parse(stream, message, &self.replica)) {
                    Some(wake) => self.put(wake, message.len()),
                    None => tracing::debug!(bytes = message.len(), "message of no use passed over"),
                }
                false
            }
            PushKind::Disconnection => true,
            // Said by a server whose slot has moved, if not asked for.
            PushKind::SUnsubscribe => channel(&push.data).is_some_and(|it| lock(&self.followed).contains(&it)),
            _ => false,
        }
    }

    /// Wakes may have been lost. Those that wait were not: an answer of a person stands in no log that is looked at.
    pub(super) fn lost(&self) {
        lock(&self.waiting).lost = true;
        self.news.notify_one();
    }

    fn put(&self, wake: Wake, bytes: usize) {
        {
            let mut waiting = lock(&self.waiting);
            if waiting.wakes.len() >= WAKES_MAX || waiting.bytes + bytes > BYTES_MAX {
                *waiting = Waiting { lost: true, ..Waiting::default() };
            } else {
                waiting.bytes += bytes;
                waiting.wakes.push_back((wake, bytes, Instant::now()));
            }
        }
        self.news.notify_one();
    }

    pub(super) async fn next(&self) -> (Wake, Instant) {
        loop {
            {
                let mut waiting = lock(&self.waiting);
                if std::mem::take(&mut waiting.lost) {
                    return (Wake::Lost, Instant::now());
                }
                if let Some((wake, bytes, came)) = waiting.wakes.pop_front() {
                    waiting.bytes -= bytes;
                    return (wake, came);
                }
            }
            self.news.notified().await;
        }
    }
}
