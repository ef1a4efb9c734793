//! The connection to Redis: one type over one server, a Cluster and Sentinel. It reconnects by itself; a command that
//! meets no connection waits a little for one, and none ever hangs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{AsyncPushSender, ConnectionLike as _, MultiplexedConnection, SendError};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisError};
use redis::{RedisResult, ServerErrorKind, Value};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::target::RedisTarget;
use crate::store::StoreError;

/// A server that says nothing for this long counts as unreachable.
pub(crate) const RESPONSE_MAX: Duration = Duration::from_secs(2);
/// One attempt to connect, log-in included.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(1);
/// A command without a connection waits this long for one.
const LINE_WAIT_MAX: Duration = Duration::from_secs(1);
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_millis(500);
/// How Redis says within a script that there is no memory left.
const OUT_OF_MEMORY: &str = "OOM command not allowed";
/// Commands that may wait for their turn to be written; whoever comes then waits before.
const QUEUE: usize = 1024;

/// A connection that stays.
pub(crate) struct Link {
    way: Way,
    /// The server's `maxmemory`, for the words of an error.
    bytes_max: u64,
}

enum Way {
    Line(Box<Line>),
    Cluster(Box<Cluster>),
}

/// To one server at a time.
struct Line {
    source: Source,
    state: watch::Receiver<State>,
    lost: watch::Sender<u64>,
    keeper: JoinHandle<()>,
}

struct Cluster {
    nodes: Vec<ConnectionInfo>,
    connection: ClusterConnection,
}

#[derive(Clone)]
enum State {
    /// And why, as the last attempt said.
    Down(Arc<str>),
    Up {
        epoch: u64,
        connection: MultiplexedConnection,
    },
}

/// Where a new connection comes from.
#[derive(Clone)]
pub(super) enum Source {
    Single(Box<Client>),
    /// Asked anew each time: after a fail-over they name another master.
    Sentinel(Arc<Mutex<SentinelClient>>),
}

impl Source {
    pub(super) fn single(node: &ConnectionInfo) -> RedisResult<Self> {
        Ok(Source::Single(Box::new(Client::open(node.clone())?)))
    }

    pub(super) fn sentinel(target: &RedisTarget) -> RedisResult<Option<Self>> {
        let RedisTarget::Sentinel { sentinels, master, login } = target else { return Ok(None) };
        let builder = SentinelClientBuilder::new(sentinels.clone(), master, SentinelServerType::Master)?;
        let mut builder =
            builder.set_client_to_redis_protocol(ProtocolVersion::RESP3).set_client_to_redis_db(login.db());
        if let Some(username) = login.username() {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = login.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        Ok(Some(Source::Sentinel(Arc::new(Mutex::new(builder.build()?)))))
    }

    pub(super) async fn connect(&self, config: &AsyncConnectionConfig) -> RedisResult<MultiplexedConnection> {
        let connect = async {
            match self {
                Source::Single(client) => client.get_multiplexed_async_connection_with_config(config).await,
                Source::Sentinel(client) => client.lock().await.get_async_connection_with_config(config).await,
            }
        };
        let late = |_| RedisError::from((redis::ErrorKind::Io, "no answer to an attempt to connect"));
        timeout(RESPONSE_MAX, connect).await.map_err(late)?
    }
}

/// How a connection is made: bounded in all it does.
pub(super) fn bounded() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_MAX))
        .set_response_timeout(Some(RESPONSE_MAX))
        .set_pipeline_buffer_size(QUEUE)
}

fn cluster_builder(nodes: &[ConnectionInfo]) -> ClusterClientBuilder {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    ClusterClient::builder(nodes.to_vec())
        .use_protocol(ProtocolVersion::RESP3)
        .connection_timeout(CONNECT_MAX)
        .response_timeout(RESPONSE_MAX)
        .overall_response_timeout(Some(RESPONSE_MAX))
        .retries(8)
        .min_retry_wait(ms(BACK_OFF_MIN))
        .max_retry_wait(ms(BACK_OFF_MAX))
}

impl Link {
    /// Connects for good. `bytes_max` is the server's `maxmemory`. The start-up checks stand in `check.rs`.
    pub(super) async fn open(target: &RedisTarget, bytes_max: u64) -> RedisResult<Self> {
        let way = match target {
            RedisTarget::Single(node) => Way::Line(Box::new(Line::open(Source::single(node)?))),
            RedisTarget::Cluster(nodes) => {
                // The crate heals single nodes by itself.
                let connection = cluster_builder(nodes).build()?.get_async_connection().await?;
                Way::Cluster(Box::new(Cluster { nodes: nodes.clone(), connection }))
            }
            RedisTarget::Sentinel { .. } => {
                let source = Source::sentinel(target)?.expect("the arm says that it is one");
                Way::Line(Box::new(Line::open(source)))
            }
        };
        Ok(Link { way, bytes_max })
    }

    /// Whether keys of different streams may live on different servers.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.way, Way::Cluster(_))
    }

    /// Runs one command and gives its answer as it came. In a Cluster it goes where its first key lives.
    pub(crate) async fn run(&self, command: &Cmd) -> RedisResult<Value> {
        match &self.way {
            Way::Line(line) => line.run(command).await,
            Way::Cluster(cluster) => cluster.connection.clone().req_packed_command(command).await?.extract_error(),
        }
    }

    /// What it means when a command in a script failed, in Redis' words.
    pub(crate) fn failed(&self, why: String) -> StoreError {
        if why.contains(OUT_OF_MEMORY) {
            return StoreError::Full { bytes_max: self.bytes_max };
        }
        StoreError::Unavailable(why)
    }

    /// What an error of Redis means to whoever uses the store.
    pub(crate) fn refused(&self, error: &RedisError) -> StoreError {
        if is_out_of_memory(error) {
            return StoreError::Full { bytes_max: self.bytes_max };
        }
        StoreError::Unavailable(error.to_string())
    }

    /// Hook for pub/sub on one server or a Sentinel's master: a connection of one's own, whose pushes (RESP3 messages,
    /// `PushKind::Disconnection` at its end) go to `heard`. It does not reconnect: ask again, with a back-off. None on a
    /// Cluster.
    pub(crate) async fn dedicated(&self, heard: impl AsyncPushSender) -> Option<RedisResult<MultiplexedConnection>> {
        let Way::Line(line) = &self.way else { return None };
        Some(line.source.connect(&bounded().set_push_sender(heard)).await)
    }

    /// Hook for sharded pub/sub on a Cluster: connections of one's own, whose pushes go to `heard`. It reconnects and
    /// subscribes again by itself. None anywhere else.
    pub(crate) async fn dedicated_cluster(
        &self,
        heard: impl AsyncPushSender,
    ) -> Option<RedisResult<ClusterConnection>> {
        let Way::Cluster(cluster) = &self.way else { return None };
        Some(match cluster_builder(&cluster.nodes).push_sender(heard).build() {
            Ok(client) => client.get_async_connection().await,
            Err(error) => Err(error),
        })
    }
}

impl Line {
    fn open(source: Source) -> Self {
        let (lost, _) = watch::channel(0);
        let (up, state) = watch::channel(State::Down("not connected yet".into()));
        let keeper = tokio::spawn(keep(source.clone(), up, lost.clone()));
        Line { source, state, lost, keeper }
    }

    async fn run(&self, command: &Cmd) -> RedisResult<Value> {
        let (epoch, mut connection) = self.connection().await?;
        let answer = connection.req_packed_command(command).await.and_then(Value::extract_error);
        if answer.as_ref().is_err_and(is_lost) {
            set_lost(&self.lost, epoch);
        }
        answer
    }

    async fn connection(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        let mut state = self.state.clone();
        let up = timeout(LINE_WAIT_MAX, state.wait_for(|state| matches!(state, State::Up { .. }))).await;
        if let Ok(Ok(up)) = &up
            && let State::Up { epoch, connection } = &**up
        {
            return Ok((*epoch, connection.clone()));
        }
        drop(up);
        let why = match &*self.state.borrow() {
            State::Down(why) => why.to_string(),
            State::Up { .. } => "just connected".to_owned(),
        };
        Err((redis::ErrorKind::Io, "no connection", why).into())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Keeps one connection up. Owner: the [`Line`], whose drop ends it.
async fn keep(source: Source, up: watch::Sender<State>, lost: watch::Sender<u64>) {
    let mut seen = lost.subscribe();
    let mut pause = Duration::ZERO;
    for epoch in 1_u64.. {
        let connection = loop {
            tokio::time::sleep(pause).await;
            let (was_lost, heard) = (lost.clone(), on_disconnect);
            let heard = heard(move || set_lost(&was_lost, epoch));
            match source.connect(&bounded().set_push_sender(heard)).await {
                Ok(connection) => break connection,
                Err(error) => {
                    up.send_replace(State::Down(error.to_string().into()));
                    pause = (pause * 2).clamp(BACK_OFF_MIN, BACK_OFF_MAX);
                }
            }
        };
        let began = Instant::now();
        up.send_replace(State::Up { epoch, connection });
        if epoch > 1 {
            tracing::info!("connection to Redis is back");
        }
        if seen.wait_for(|lost| *lost >= epoch).await.is_err() {
            return;
        }
        tracing::warn!("connection to Redis was lost");
        up.send_replace(State::Down("connection lost".into()));
        // The first attempt comes at once, unless connections are of no use: one to a server that may not write, say.
        pause = if began.elapsed() > BACK_OFF_MAX { Duration::ZERO } else { BACK_OFF_MAX };
    }
}

fn set_lost(lost: &watch::Sender<u64>, epoch: u64) {
    lost.send_if_modified(|known| {
        let newer = epoch > *known;
        *known = epoch.max(*known);
        newer
    });
}

/// A listener that cares only for the end of the connection.
fn on_disconnect(act: impl Fn() + Send + Sync + 'static) -> impl AsyncPushSender {
    move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            act();
        }
        Ok::<(), SendError>(())
    }
}

/// Whether a new connection may help: this one is dead, says nothing, or leads to a server that is no master any more.
fn is_lost(error: &RedisError) -> bool {
    let demoted = [ServerErrorKind::ReadOnly, ServerErrorKind::MasterDown].map(redis::ErrorKind::Server);
    error.is_io_error() || error.is_unrecoverable_error() || demoted.contains(&error.kind())
}

/// Redis says so itself (`OOM`), or a script says that a command in it met it.
fn is_out_of_memory(error: &RedisError) -> bool {
    error.code() == Some("OOM") || error.detail().is_some_and(|detail| detail.contains(OUT_OF_MEMORY))
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("cluster", &self.is_cluster()).finish_non_exhaustive()
    }
}
