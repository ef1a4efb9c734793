//! Several hosts over one Redis, under load, while something breaks: what was acknowledged is delivered once and in order.

mod failover;
mod load;
mod partition;
mod producer;
mod races;
mod reader;
mod shared;
mod signals;
mod startup;
mod store;
mod survivors;

use anyhow::Result;
use rejoin_tests::command::program;
use rejoin_tests::replica::Replica;
use tokio::sync::{Mutex, MutexGuard};

/// One of these tests at a time: each wants the machine for itself, and measures.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    let turn = TURN.lock().await;
    // Built now, so that nobody measures it. An error is told by whoever starts the program.
    let _ = blocking(|| program().map(drop));
    turn
}

/// Two hosts over one store.
async fn two(store: &str, arguments: &[&str]) -> Result<[Replica; 2]> {
    let (one, two) = tokio::join!(Replica::start(store, arguments), Replica::start(store, arguments));
    Ok([one?, two?])
}

/// Work that blocks, in an async test: a Redis is started, killed or asked.
fn blocking<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    tokio::task::block_in_place(work)
}
