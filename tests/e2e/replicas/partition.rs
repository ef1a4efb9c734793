//! One host is cut off from the store while the world goes on through the other.

use anyhow::{Context, Result, ensure};
use rejoin_tests::answer;
use rejoin_tests::proxy::Proxy;
use rejoin_tests::redis::Server;
use rejoin_tests::replica::Replica;
use rejoin_tests::wait::until;
use serde_json::json;

use super::{blocking, turn};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_cut_off_refuses_and_catches_up_and_its_zombie_is_told() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let proxy = Proxy::start(redis.port()).await?;
    let here = Replica::start(&redis.url(), &[]).await?;
    let arguments = ["--keep-alive", "1s", "--store-wait", "2s"];
    let there = Replica::start(&proxy.url(), &arguments).await?;
    let (near, far) = (here.client(), there.client());

    let old = near.create("replaced", &json!({"userId": "u"})).await?;
    let kept = near.create("kept", &json!({"userId": "u"})).await?;
    let lines = answer(9);
    let mut readers = Vec::new();
    for stream in ["replaced", "kept"] {
        far.append(stream, &lines[..4]).await?.expect(200)?;
        let mut reader = far.follow(stream, None).await?;
        ensure!(reader.take(4).await?[3].data == lines[3]);
        readers.push(reader);
    }

    proxy.black_hole();
    let zombie = format!("/v1/streams/replaced/events?generation={old}");
    let headers = [("content-type", "application/x-ndjson")];
    let refused = far.send("POST", &zombie, &headers, "{\"from\":\"a zombie\"}\n").await?;
    refused.refused_for_now(503, &refused.problem().1)?;
    let ready = far.get("/readyz").await?;
    ensure!(ready.status == 503, "ready although it cannot reach the store: {ready:?}");
    ensure!(near.get("/readyz").await?.status == 200);
    far.get("/healthz").await?.expect(200)?;

    let new = near.create("replaced", &json!({"userId": "u"})).await?;
    near.append("replaced", &lines[..2]).await?.expect(200)?;
    near.append("kept", &lines[4..]).await?.expect(200)?;
    for reader in &mut readers {
        // Nothing but signs of life, and the connection is not given up.
        reader.comment().await?;
        reader.comment().await?;
    }

    proxy.heal();
    let told = until("the zombie is told", async || {
        let answer = far.send("POST", &zombie, &headers, "{\"from\":\"a zombie\"}\n").await?;
        Ok((answer.status != 503).then_some(answer))
    });
    ensure!(told.await?.refused(409, "generation_replaced")?["generation"] == new);
    until("it is ready again", async || Ok((far.get("/readyz").await?.status == 200).then_some(()))).await?;

    let end = readers[0].rest().await?;
    let [end] = &end[..] else { anyhow::bail!("more than the end: {end:?}") };
    let end = end.json();
    ensure!(end["reconcile"] == true && end["reconcileReason"] == "generation_replaced", "{end}");
    ensure!(end["generation"] == new, "{end}");
    for (frame, n) in readers[1].take(6).await?.iter().zip(5..) {
        ensure!(frame.id == Some(format!("{kept}-{n}")) && frame.data == lines[n - 1], "{frame:?} is not {n}");
    }
    for client in [&near, &far] {
        ensure!(client.records("replaced").await? == lines[..2], "the zombie has written");
        ensure!(client.records("kept").await? == lines);
    }
    Ok(())
}

/// Refused connections are noticed at once, and nothing else changes: see above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_asked_waits_out_a_store_that_is_away_for_a_moment() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let proxy = Proxy::start(redis.port()).await?;
    let host = Replica::start(&proxy.url(), &[]).await?;
    let client = host.client();
    client.create("s", &json!({"userId": "u"})).await?;
    let lines = answer(5);
    let mut reader = client.follow("s", None).await?;
    client.append("s", &lines[..2]).await?.expect(200)?;
    proxy.refuse();
    until("it is not ready", async || Ok((client.get("/readyz").await?.status == 503).then_some(()))).await?;
    let (appending, late) = (client.clone(), lines[2..].to_vec());
    let append = tokio::spawn(async move { appending.append("s", &late).await });
    let questions =
        ["/v1/streams", "/v1/streams?userId=u", "/v1/stats", "/v1/streams/s", "/v1/streams/s/events"].map(|path| {
            let client = client.clone();
            let json = [("accept", "application/json")];
            (path, tokio::spawn(async move { client.send("GET", path, &json, "").await }))
        });
    // Each of these meets the refusal: who does not wait is told 503, now or below.
    for _ in 0..3 {
        client.get("/readyz").await?.refused_for_now(503, "store_unavailable")?;
    }
    ensure!(!append.is_finished(), "the append did not wait");
    for (path, question) in &questions {
        ensure!(!question.is_finished(), "{path} did not wait");
    }
    proxy.heal();
    append.await??.expect(200)?;
    for (path, question) in questions {
        question.await??.expect(200).with_context(|| path)?;
    }
    let frames = reader.take(6).await?;
    ensure!(frames.iter().map(|frame| &frame.data).eq(&lines), "{frames:?}");
    Ok(())
}
