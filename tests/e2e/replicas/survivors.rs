//! Hosts die under load; the others, and those that come back, go on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, ensure};
use rejoin_tests::redis::Server;
use rejoin_tests::replica::Replica;

use super::load::Load;
use super::{blocking, turn, two};

/// The measure of the others: what one host without a store beside it makes of the same load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_host_alone_bears_the_load() -> Result<()> {
    let _turn = turn().await;
    let host = [Replica::start("memory", &[]).await?];
    let counts = Load::on(&host).during(|_| async { Ok(()) }).await?;
    ensure!(counts.interruptions.load(Ordering::Relaxed) == 0, "somebody was cut");
    ensure!(counts.repeats.load(Ordering::Relaxed) == 0, "somebody was not answered");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_share_a_load_and_everybody_sees_all_of_it() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let hosts = two(&redis.url(), &[]).await?;
    Load::on(&hosts).during(|_| async { Ok(()) }).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_killed_loses_nothing_for_anybody() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let mut hosts = two(&redis.url(), &[]).await?;
    let load = Load::on(&hosts);
    let [one, two] = &mut hosts;
    let trouble = load.during(|counts| async move {
        counts.acknowledged(1200).await?;
        one.kill().await?;
        // The other one has it all for a while.
        counts.acknowledged(2400).await?;
        one.restart().await?;
        counts.acknowledged(3600).await?;
        two.kill().await?;
        two.restart().await
    });
    let counts = trouble.await?;
    ensure!(counts.repeats.load(Ordering::Relaxed) > 0, "nobody noticed");
    Ok(())
}

/// It sleeps through what the other one does to its streams, and wakes up with sessions that are all out of date.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_sleeps_for_a_while_loses_nothing_for_anybody() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let hosts = two(&redis.url(), &[]).await?;
    let sleeper = &hosts[0];
    let trouble = Load::on(&hosts).during(|counts| async move {
        counts.acknowledged(1200).await?;
        sleeper.stop().await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        sleeper.cont().await
    });
    trouble.await?;
    Ok(())
}
