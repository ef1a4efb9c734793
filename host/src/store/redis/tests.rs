//! The store on real servers: `conformance` on one server and on a Cluster, and what is true of this store alone.

mod cluster;
mod damage;
mod groups;
mod lifetime;
mod racing;
mod wakes;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use futures_util::future::BoxFuture;
use rejoin_tests::redis::{Connection, Server};
use tokio::runtime::Runtime;

use super::{RedisConfig, RedisStore, RedisTarget};
use crate::store::conformance::{Bench, IDLE, IDLE_PAUSED, RETENTION, TestClock, conforms};

/// Random mixes of commands: each waits for the server some thousand times.
const MODELS: u32 = 24;

/// A clock that only the test moves. It also keeps the servers: they end with the last test that uses them.
struct Hand<S> {
    now_ms: AtomicU64,
    _servers: Arc<S>,
}

impl<S: Send + Sync> TestClock for Hand<S> {
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn advance_ms(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads start")
    })
}

fn wait(future: BoxFuture<'_, ()>) {
    runtime().block_on(future);
}

/// What all tests of this program share while any of them runs.
fn shared<S>(place: &'static Mutex<Weak<S>>, start: impl FnOnce() -> S) -> Arc<S> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    let running = place.upgrade().unwrap_or_else(|| Arc::new(start()));
    *place = Arc::downgrade(&running);
    running
}

fn server() -> Arc<Server> {
    static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    shared(&SERVER, || Server::start().expect("redis-server runs"))
}

/// Keys of one test.
fn prefix() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("test{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn config(url: &str, prefix: &str) -> RedisConfig {
    RedisConfig {
        target: RedisTarget::parse(url).expect("it is an address"),
        prefix: prefix.to_owned(),
        idle: IDLE,
        idle_paused: IDLE_PAUSED,
        retention: RETENTION,
        jobs_max: u64::MAX,
        jobs_per_user_max: u64::MAX,
    }
}

fn open_on<S: Send + Sync + 'static>(servers: Arc<S>, config: RedisConfig) -> (Arc<RedisStore>, Bench) {
    // In the past: Redis takes no delivery to a consumer that is ahead of its own clock.
    let clock = Arc::new(Hand { now_ms: AtomicU64::new(1_700_000_000_000), _servers: servers });
    let time = Arc::clone(&clock);
    let store = RedisStore::with_clock(config, Arc::new(move || time.now_ms()));
    let store = Arc::new(runtime().block_on(store).expect("the server is fit"));
    (Arc::clone(&store), Bench { store, clock, block_on: wait })
}

fn open() -> Bench {
    let server = server();
    let config = config(&server.url(), &prefix());
    open_on(server, config).1
}

/// A store, and a way to its server behind its back.
struct Open {
    store: Arc<RedisStore>,
    bench: Bench,
    prefix: String,
    server: Arc<Server>,
    connection: Connection,
}

impl Open {
    fn new(change: impl FnOnce(&mut RedisConfig)) -> Self {
        Self::on(server(), change)
    }

    fn on(server: Arc<Server>, change: impl FnOnce(&mut RedisConfig)) -> Self {
        let prefix = prefix();
        let mut config = config(&server.url(), &prefix);
        change(&mut config);
        let (store, bench) = open_on(server.clone(), config);
        let connection = server.connect().expect("it answers");
        Open { store, bench, prefix, server, connection }
    }

    /// Another replica on the same data, by the same clock.
    fn other(&self) -> Bench {
        let time = self.bench.clock.clone();
        let store = RedisStore::with_clock(config(&self.server.url(), &self.prefix), Arc::new(move || time.now_ms()));
        let store = runtime().block_on(store).expect("the server is fit");
        Bench { store: Arc::new(store), clock: self.bench.clock.clone(), block_on: wait }
    }

    /// Runs a command; `@` stands for the prefix.
    fn cli(&mut self, command: &[&str]) -> String {
        let command: Vec<_> = command.iter().map(|word| word.replace('@', &self.prefix)).collect();
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        self.connection.call(&command).expect("Redis does it").to_string()
    }

    /// All keys of this test.
    fn keys(&mut self) -> Vec<String> {
        let keys = self.cli(&["KEYS", "@:*"]);
        keys.lines().map(str::to_owned).collect()
    }

    fn ttl_ms(&mut self, key: &str) -> i64 {
        self.cli(&["PTTL", key]).parse().expect("a number")
    }
}

conforms!(open, MODELS);
