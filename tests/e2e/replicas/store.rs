//! The store stops, dies, forgets its scripts and cuts its clients, under load.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rejoin_tests::answer;
use rejoin_tests::redis::{AOF_ALWAYS, Server};
use rejoin_tests::replica::Replica;
use serde_json::json;
use tokio::time::{interval, sleep};

use super::load::Load;
use super::{blocking, turn, two};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_says_nothing_for_three_seconds_loses_nothing() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let hosts = two(&redis.url(), &[]).await?;
    let redis = &redis;
    let trouble = Load::on(&hosts).during(|counts| async move {
        counts.acknowledged(2000).await?;
        blocking(|| redis.stop())?;
        sleep(Duration::from_secs(3)).await;
        blocking(|| redis.cont())
    });
    trouble.await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_killed_with_its_log_on_the_disk_loses_nothing() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(|| Server::start_with(AOF_ALWAYS))?;
    let hosts = two(&redis.url(), &[]).await?;
    let redis = &redis;
    let trouble = Load::on(&hosts).during(|counts| async move {
        for after in [1500, 3500] {
            counts.acknowledged(after).await?;
            blocking(|| redis.kill())?;
            sleep(Duration::from_millis(500)).await;
            blocking(|| redis.restart())?;
        }
        Ok(())
    });
    trouble.await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_full_says_so_loses_nothing_and_still_takes_an_end() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let host = Replica::start(&redis.url(), &[]).await?;
    let client = host.client();
    let memory = |bytes: &str| blocking(|| redis.cli(&["CONFIG", "SET", "maxmemory", bytes]));
    let lines = answer(3);
    let generation = client.create("s", &json!({"userId": "u"})).await?;
    client.create("ending", &json!({})).await?;
    client.append("s", &lines[..2]).await?.expect(200)?;
    memory("1")?;
    client.append("s", &lines[2..]).await?.refused_for_now(503, "store_full")?;
    // A stream of that name is not replaced by one that does not fit.
    for stream in ["s", "another"] {
        let created = client.post(&format!("/v1/streams/{stream}"), &json!({"userId": "u"})).await?;
        created.refused_for_now(503, "store_full").context(stream)?;
    }
    assert_eq!(
        (client.state("s").await?["generation"].as_u64(), client.records("s").await?),
        (Some(generation), lines[..2].to_vec())
    );
    client.get("/v1/streams/another").await?.refused(404, "not_found")?;
    client.post("/v1/streams/ending/complete", &json!({})).await?.expect(200)?;
    memory("0")?;
    client.append("s", &lines[2..]).await?.expect(200)?;
    client.create("another", &json!({})).await?;
    assert_eq!(client.records("s").await?, lines);
    Ok(())
}

/// What it forgot is given back by the host that wrote it, however little room there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_forgets_and_is_full_is_given_back_what_was_acknowledged() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let host = Replica::start(&redis.url(), &[]).await?;
    let client = host.client();
    let redis = |words: &[&str]| blocking(|| redis.cli(words));
    let lines = answer(3);
    let generation = client.create("s", &json!({"userId": "u"})).await?;
    client.append("s", &lines[..2]).await?.expect(200)?;
    redis(&["FLUSHALL"])?;
    redis(&["CONFIG", "SET", "maxmemory", "1"])?;
    let told = client.append("s", &lines[2..3]).await?;
    redis(&["CONFIG", "SET", "maxmemory", "0"])?;
    if told.status != 200 {
        told.refused_for_now(503, "store_full")?;
        client.append("s", &lines[2..3]).await?.expect(200)?;
    }
    let state = client.state("s").await?;
    assert_eq!(
        (&state["generation"], &state["content"]),
        (&json!(generation), &json!([{"type": "text", "text": "w0 w1 "}]))
    );
    client.append("s", &lines[3..]).await?.expect(200)?;
    assert_eq!(client.state("s").await?["content"], json!([{"type": "text", "text": "w0 w1 w2 "}]));
    Ok(())
}

/// Nothing was on the disk. The host that wrote it lives, and gives it back: what stays lost are the single records before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_comes_back_empty_loses_no_content_and_is_never_silent() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let hosts = two(&redis.url(), &[]).await?;
    let redis = &redis;
    let load = Load { producers_at: Some(0), forgets: true, ..Load::on(&hosts) };
    let trouble = load.during(|counts| async move {
        counts.acknowledged(2000).await?;
        blocking(|| redis.restart())
    });
    trouble.await?;
    let kept = hosts[1].client().log("load-0").await?.len();
    ensure!(kept < 301, "nothing was forgotten");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_forgets_its_scripts_again_and_again_loses_nothing() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let hosts = two(&redis.url(), &[]).await?;
    let mut connection = redis.connect()?;
    let trouble = Load::on(&hosts).during(|_| async move {
        let mut every = interval(Duration::from_millis(200));
        loop {
            every.tick().await;
            blocking(|| connection.call(&["SCRIPT", "FLUSH"]))?;
        }
    });
    let counts = trouble.await?;
    ensure!(counts.repeats.load(Ordering::Relaxed) == 0, "producers had to hear of it");
    ensure!(counts.interruptions.load(Ordering::Relaxed) == 0, "readers had to hear of it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cuts_all_its_clients_again_and_again_loses_nothing() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let hosts = two(&redis.url(), &[]).await?;
    let mut connection = redis.connect()?;
    let trouble = Load::on(&hosts).during(|counts| async move {
        let mut every = interval(Duration::from_millis(400));
        for kind in ["normal", "pubsub"].iter().cycle() {
            every.tick().await;
            counts.acknowledged(100).await?;
            blocking(|| connection.call(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]))?;
        }
        Ok(())
    });
    trouble.await?;
    Ok(())
}
