//! The connection that listens, and who keeps it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::aio::{AsyncPushSender, MultiplexedConnection, SendError};
use redis::cluster_async::ClusterConnection;
use redis::{PushInfo, RedisResult};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::inbox::Inbox;
use super::lock;
use crate::store::redis::link::{Link, RESPONSE_MAX};

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(1000);
/// A server that does not answer within its time is taken for dead: asked this often.
const PING_EVERY: Duration = Duration::from_secs(2);
/// A Cluster is asked again for everything this often: a subscription that got lost in a fail-over comes back.
const AGAIN_EVERY: Duration = Duration::from_secs(15);
/// Channels in one command, or commands at a time.
const CHANNELS: usize = 256;
/// Attempts to subscribe before a Cluster is connected to anew.
const ATTEMPTS: usize = 5;

/// A connection that listens.
#[derive(Clone)]
pub(super) enum Ear {
    Line(MultiplexedConnection),
    Cluster(Box<ClusterConnection>),
}

pub(super) struct Keeper {
    pub(super) link: Arc<Link>,
    pub(super) followed: Arc<Mutex<HashSet<String>>>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) up: watch::Sender<Option<Ear>>,
}

/// What one connection hears. The end of an older one says nothing of this one.
struct Hears {
    inbox: Arc<Inbox>,
    broken: Arc<Notify>,
}

impl AsyncPushSender for Hears {
    fn send(&self, push: PushInfo) -> Result<(), SendError> {
        if self.inbox.take(push) {
            self.broken.notify_one();
        }
        Ok(())
    }
}

impl Ear {
    pub(super) async fn subscribe(&mut self, channels: &[String]) -> RedisResult<()> {
        for channels in channels.chunks(CHANNELS) {
            match self {
                Ear::Line(connection) => connection.subscribe(channels).await?,
                // They live in different slots.
                Ear::Cluster(connection) => {
                    let one = |channel: &String| {
                        let (mut connection, channel) = (connection.clone(), channel.clone());
                        async move { connection.ssubscribe(channel).await }
                    };
                    try_join_all(channels.iter().map(one).collect::<Vec<_>>()).await?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn unsubscribe(&mut self, channels: &[String]) -> RedisResult<()> {
        for channels in channels.chunks(CHANNELS) {
            match self {
                Ear::Line(connection) => connection.unsubscribe(channels).await?,
                Ear::Cluster(connection) => {
                    let one = |channel: &String| {
                        let (mut connection, channel) = (connection.clone(), channel.clone());
                        async move { connection.sunsubscribe(channel).await }
                    };
                    try_join_all(channels.iter().map(one).collect::<Vec<_>>()).await?;
                }
            }
        }
        Ok(())
    }
}

impl Keeper {
    pub(super) async fn run(self) {
        let mut pause = Duration::ZERO;
        loop {
            sleep(pause).await;
            pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
            let broken = Arc::new(Notify::new());
            match self.connect(&broken).await {
                Ok(ear) => {
                    if self.listen(ear, &broken).await {
                        pause = Duration::ZERO;
                    }
                }
                Err(error) => tracing::debug!(%error, "cannot listen to Redis"),
            }
            self.up.send_replace(None);
        }
    }

    async fn connect(&self, broken: &Arc<Notify>) -> RedisResult<Ear> {
        let hears = || Hears { inbox: self.inbox.clone(), broken: broken.clone() };
        if let Some(connection) = self.link.dedicated(hears()).await {
            return Ok(Ear::Line(connection?));
        }
        let late = || redis::RedisError::from((redis::ErrorKind::Io, "no answer to an attempt to connect"));
        let cluster = timeout(2 * RESPONSE_MAX, self.link.dedicated_cluster(hears())).await.map_err(|_| late())?;
        Ok(Ear::Cluster(Box::new(cluster.ok_or_else(late)??)))
    }

    /// Until the connection is of no use any more; true if it ever was.
    async fn listen(&self, mut ear: Ear, broken: &Notify) -> bool {
        let (mut was_up, mut failures, mut may_have_missed) = (false, 0, true);
        loop {
            let channels: Vec<_> = lock(&self.followed).iter().cloned().collect();
            // Offered first: what is followed from now on is asked for by who follows it.
            self.up.send_replace(Some(ear.clone()));
            if let Err(error) = ear.subscribe(&channels).await {
                tracing::debug!(%error, "cannot subscribe again");
                (failures, may_have_missed) = (failures + 1, true);
                if matches!(ear, Ear::Line(_)) || failures >= ATTEMPTS {
                    return was_up;
                }
                sleep(PAUSE_MAX / 2).await;
                continue;
            }
            (was_up, failures) = (true, 0);
            if may_have_missed && !channels.is_empty() {
                self.inbox.lost();
            }
            may_have_missed = match &mut ear {
                Ear::Line(connection) => {
                    while_alive(connection, broken).await;
                    return true;
                }
                Ear::Cluster(_) => timeout(AGAIN_EVERY, broken.notified()).await.is_ok(),
            };
            if may_have_missed {
                // Several nodes, or many channels of one, often break together.
                sleep(PAUSE_MIN).await;
            }
        }
    }
}

/// Until the connection ends, or answers no more.
async fn while_alive(connection: &mut MultiplexedConnection, broken: &Notify) {
    loop {
        tokio::select! {
            () = broken.notified() => return,
            () = sleep(PING_EVERY) => {}
        }
        let ping: RedisResult<()> = redis::cmd("PING").query_async(connection).await;
        if ping.is_err() {
            return;
        }
    }
}
