//! One host is cut off from the store while the world goes on through the other.

use anyhow::{Context, Result, ensure};
use rejoin_tests::answer;
use rejoin_tests::client::Client;
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
    until("the other is ready", async || Ok((near.get("/readyz").await?.status == 200).then_some(()))).await?;
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

/// 200 where the machine stood still for so long that it was asked for again.
async fn make_group(client: &Client, path: &str) -> Result<()> {
    let made = client.send("PUT", path, &[], "").await?;
    ensure!(matches!(made.status, 200 | 201), "{made:?}");
    Ok(())
}

/// Refused connections are noticed at once, and nothing else changes: see above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_asked_waits_out_a_store_that_is_away_for_a_moment() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let proxy = Proxy::start(redis.port()).await?;
    // Longer than a machine stands still.
    let host = Replica::start(&proxy.url(), &["--store-wait", "60s"]).await?;
    let client = host.client();
    client.create("s", &json!({"userId": "u"})).await?;
    make_group(&client, "/v1/streams/s/groups/old").await?;
    let lines = answer(5);
    let mut reader = client.follow("s", None).await?;
    client.append("s", &lines[..2]).await?.expect(200)?;
    proxy.refuse();
    until("it is not ready", async || Ok((client.get("/readyz").await?.status == 503).then_some(()))).await?;
    let (appending, late) = (client.clone(), lines[2..].to_vec());
    let append = tokio::spawn(async move { appending.append("s", &late).await });
    let grouping = client.clone();
    let group = tokio::spawn(async move { make_group(&grouping, "/v1/streams/s/groups/new").await });
    let questions = [
        ("GET", "/v1/streams", 200),
        ("GET", "/v1/streams?userId=u", 200),
        ("GET", "/v1/stats", 200),
        ("GET", "/v1/streams/s", 200),
        ("GET", "/v1/streams/s/events", 200),
        ("GET", "/v1/streams/s/groups/old/pending", 200),
        ("DELETE", "/v1/streams/s/groups/old", 204),
    ];
    let questions = questions.map(|(method, path, status)| {
        let client = client.clone();
        let json = [("accept", "application/json")];
        (path, status, tokio::spawn(async move { client.send(method, path, &json, "").await }))
    });
    // Each of these meets the refusal: who does not wait is told 503, now or below.
    for _ in 0..3 {
        client.get("/readyz").await?.refused_for_now(503, "store_unavailable")?;
    }
    ensure!(!append.is_finished(), "the append did not wait");
    ensure!(!group.is_finished(), "the new group did not wait");
    for (path, _, question) in &questions {
        ensure!(!question.is_finished(), "{path} did not wait");
    }
    proxy.heal();
    append.await??.expect(200)?;
    group.await??;
    for (path, status, question) in questions {
        question.await??.expect(status).with_context(|| path)?;
    }
    let groups = blocking(|| redis.cli(&["XINFO", "GROUPS", "rejoin:{s}:log"]))?;
    ensure!(groups.contains("new") && !groups.contains("old"), "{groups}");
    let frames = reader.take(6).await?;
    ensure!(frames.iter().map(|frame| &frame.data).eq(&lines), "{frames:?}");
    Ok(())
}

/// The deletion is done, its answer is lost, and it is asked for again and again. Meanwhile the stream has a next generation,
/// whose group of the same name is another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_whose_deletion_was_not_answered_is_deleted_once_and_not_that_of_the_next_generation() -> Result<()> {
    const GROUP: &str = "/v1/streams/s/groups/g";
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let proxy = Proxy::start(redis.port()).await?;
    let here = Replica::start(&redis.url(), &[]).await?;
    let there = Replica::start(&proxy.url(), &["--store-wait", "60s"]).await?;
    let (near, far) = (here.client(), there.client());
    near.create("s", &json!({"userId": "u"})).await?;
    make_group(&near, GROUP).await?;
    proxy.lose_answers_to("delete");
    let deletion = tokio::spawn(async move { far.send("DELETE", GROUP, &[], "").await });
    let groups = || blocking(|| redis.cli(&["XINFO", "GROUPS", "rejoin:{s}:log"]));
    until("it is deleted", async || Ok(groups()?.is_empty().then_some(()))).await?;

    near.create("s", &json!({"userId": "u"})).await?;
    near.append("s", &answer(1)).await?.expect(200)?;
    make_group(&near, GROUP).await?;
    let events = format!("{GROUP}/events?consumer=c&redeliverAfter=0");
    until("it is read", async || Ok((near.get(&events).await?.status == 200).then_some(()))).await?;
    ensure!(!deletion.is_finished(), "nobody has heard that it was done");
    proxy.heal();
    deletion.await??.expect(204)?;
    let pending = near.get(&format!("{GROUP}/pending")).await?.expect(200)?.json();
    ensure!(pending["pending"].as_array().is_some_and(|pending| pending.len() == 1), "it is as it was: {pending}");
    Ok(())
}
