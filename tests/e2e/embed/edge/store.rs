//! A store that does not take what it is sent.

use anyhow::{Result, ensure};
use rejoin_tests::delta;
use rejoin_tests::redis::Server;
use rejoin_tests::steady::steady;
use rejoin_tests::wait::soon;
use serde_json::json;

use super::events;
use super::host::{Edition, Host, TOKEN};
use super::upstash::{Large, REST_TOKEN, Upstash};

with_both!(
    what_a_store_says_before_it_has_read_a_request_is_told,
    a_request_that_a_store_leaves_lying_is_given_up_and_does_not_pass_for_whole,
);

/// Appends more than the store takes at a time, with a host that does not ask again for long.
async fn append(edition: Edition, front: &Upstash) -> Result<(Host, String)> {
    let store = [("REJOIN_REST_URL", front.url.as_str()), ("REJOIN_REST_TOKEN", REST_TOKEN)];
    let host = Host::start(edition, &[&store[..], &[("REJOIN_STORE_WAIT", "10ms"), TOKEN]].concat()).await?;
    let client = host.client();
    client.create("s", &json!({})).await?;
    let list = vec![delta(&"x".repeat(1_000_000)); 7].join(",");
    let json = [("content-type", "application/json")];
    let refused = soon("an answer", client.send("POST", &events("s"), &json, format!("[{list}]"))).await??;
    ensure!(refused.problem() == (503, "store_unavailable".to_owned()), "{refused:?}");
    let detail = refused.json()["detail"].as_str().unwrap_or_default().to_owned();
    // The host serves on, and nothing of it is there.
    client.append("s", &[delta("small")]).await?.expect(200)?;
    assert_eq!(client.records("s").await?, [delta("small")]);
    Ok((host, detail))
}

async fn what_a_store_says_before_it_has_read_a_request_is_told(edition: Edition) -> Result<()> {
    steady(async || {
        let redis = Server::start()?;
        let front = Upstash::start(&redis, Large::Refused).await?;
        let (_host, detail) = append(edition, &front).await?;
        ensure!(detail.contains("max request size"), "{detail}");
        Ok(())
    })
    .await
}

async fn a_request_that_a_store_leaves_lying_is_given_up_and_does_not_pass_for_whole(edition: Edition) -> Result<()> {
    steady(async || {
        let redis = Server::start()?;
        let front = Upstash::start(&redis, Large::LeftLying).await?;
        let _still_there = append(edition, &front).await?;
        let missing = front.read_on().await?;
        ensure!(missing > 1_000_000, "but for {missing} bytes it was sent");
        Ok(())
    })
    .await
}
