//! Another node takes the master's place, with all that was written or without the last of it.

use anyhow::{Result, ensure};
use rejoin_tests::redis::{Cluster, Sentinel};

use super::load::Load;
use super::{blocking, turn, two};

/// It serves some of the streams.
const KEY: &str = "rejoin:{load-0}:job";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fail_over_in_agreement_loses_nothing() -> Result<()> {
    let _turn = turn().await;
    let cluster = blocking(|| Cluster::start(3, 1))?;
    let hosts = two(&cluster.url(), &[]).await?;
    let cluster = &cluster;
    let trouble = Load::on(&hosts).during(|counts| async move {
        counts.acknowledged(2000).await?;
        blocking(|| {
            let master = cluster.master_of(KEY)?;
            cluster.fail_over(cluster.replicas_of(master).start, false)?;
            ensure!(cluster.master_of(KEY)? != master, "it did not move");
            Ok(())
        })
    });
    trouble.await?;
    Ok(())
}

/// The replica has nothing of what its master acknowledged last, and takes its place. The host that wrote it lives: it brings it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fail_over_that_forgets_loses_no_content_and_is_never_silent() -> Result<()> {
    let _turn = turn().await;
    let cluster = blocking(|| Cluster::start(3, 1))?;
    let hosts = two(&cluster.url(), &[]).await?;
    let cluster = &cluster;
    let load = Load { producers_at: Some(0), forgets: true, ..Load::on(&hosts) };
    let trouble = load.during(|counts| async move {
        counts.acknowledged(1500).await?;
        let master = cluster.master_of(KEY)?;
        let replica = cluster.replicas_of(master).start;
        blocking(|| cluster.cut_off(master, replica))?;
        // A third of that will be forgotten.
        counts.acknowledged(3000).await?;
        blocking(|| {
            cluster.nodes[master].server.kill()?;
            cluster.nodes[replica].server.cont()?;
            cluster.fail_over(replica, true)
        })
    });
    trouble.await?;
    let kept = hosts[1].client().log("load-0").await?.len();
    ensure!(kept < 301, "nothing was forgotten");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_follow_the_sentinels_to_the_new_master() -> Result<()> {
    let _turn = turn().await;
    let sentinel = blocking(|| Sentinel::start(1))?;
    let hosts = two(&sentinel.url(), &[]).await?;
    let sentinel = &sentinel;
    // Replication is asynchronous: the last of it may be forgotten.
    let load = Load { producers_at: Some(0), forgets: true, ..Load::on(&hosts) };
    let trouble = load.during(|counts| async move {
        counts.acknowledged(2000).await?;
        blocking(|| {
            let before = sentinel.master_port()?;
            sentinel.servers[0].kill()?;
            sentinel.moved_from(before)
        })
    });
    trouble.await?;
    Ok(())
}
