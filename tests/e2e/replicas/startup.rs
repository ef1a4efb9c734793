//! A host that cannot have its store says so and ends: it never serves from anywhere else.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rejoin_tests::command::run;
use rejoin_tests::redis::{Cluster, Server, free_port};

use super::{blocking, turn};

/// It ends by itself with one line that holds all of `says` and nothing secret.
async fn check(store: &str, says: &[&str]) -> Result<()> {
    let begun = Instant::now();
    let output = run(&["--listen", "127.0.0.1:0", "--store", store], &[]).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code().is_some_and(|code| code != 0), "{store}: {}\n{said}", output.status);
    ensure!(output.stdout.is_empty(), "{store}: it listened: {}", String::from_utf8_lossy(&output.stdout));
    ensure!(said.trim_end().lines().count() == 1, "{store}: not one line:\n{said}");
    for part in says {
        ensure!(said.contains(part), "{store}: {part:?} is missing in {said}");
    }
    ensure!(!said.contains("secret"), "{store}: a password in {said}");
    ensure!(begun.elapsed() < Duration::from_secs(20), "{store}: only after {:?}", begun.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_be_reached_is_named() -> Result<()> {
    let _turn = turn().await;
    let address = format!("127.0.0.1:{}", free_port()?);
    check(&format!("redis://{address}"), &[&address, "--store", "REJOIN_STORE"]).await?;
    check(&format!("redis://:secret@{address}"), &[&address]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_says_nothing_is_named() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    redis.stop()?;
    let address = format!("127.0.0.1:{}", redis.port());
    check(&redis.url(), &[&address]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_and_not_shown() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(|| Server::start_with(&["--requirepass", "the-right-one"]))?;
    let address = format!("127.0.0.1:{}", redis.port());
    check(&format!("redis://:secret@{address}"), &[&address, "password"]).await?;
    check(&format!("redis://{address}"), &[&address, "password"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_none_of_whose_nodes_answers_is_named() -> Result<()> {
    let _turn = turn().await;
    let cluster = blocking(|| Cluster::start(3, 0))?;
    let url = cluster.url();
    let address = format!("127.0.0.1:{}", cluster.nodes[0].server.port());
    drop(cluster);
    check(&url, &[&address]).await
}
