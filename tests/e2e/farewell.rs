//! How a server ends: readers are let go in order, producers may finish, and nothing of it is left.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use rejoin_tests::answer;
use rejoin_tests::client::Client;
use rejoin_tests::server::Server;
use rejoin_tests::steady::steady;
use rejoin_tests::wait::{soon, until};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::Instant;

const EVENTS: &str = "/v1/streams/s/events";
/// Whoever waits for it waits for longer than any test does.
const NEVER: Duration = Duration::from_secs(3600);
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_are_let_go_without_an_end_of_their_stream() -> Result<()> {
    let mut server = Server::start_with(|config| config.shutdown_max = NEVER).await?;
    let (client, app) = (server.client(), server.app.clone());
    client.create("s", &json!({"userId": "u"})).await?;
    client.append("s", &answer(3)).await?.expect(200)?;
    let mut readers = Vec::new();
    for client in [client.clone(), Client::http2(server.address)] {
        readers.push((client.follow("s", None).await?, 4));
        readers.push((client.subscribe(&format!("{EVENTS}?resume=true"), &[]).await?, 1));
        let mut signals = client.subscribe("/v1/streams/s/signals", &[]).await?;
        signals.frame().await?;
        readers.push((signals, 0));
    }
    for (reader, count) in &mut readers {
        let frames = reader.take(*count).await?;
        ensure!(frames.iter().all(|frame| !frame.is_terminal()));
    }
    server.begin_stop();
    for (reader, _) in &mut readers {
        // A clean end, after which a client comes back by itself; an error would be a cut.
        let rest = reader.rest().await?;
        ensure!(rest.is_empty(), "{rest:?}");
    }
    // Nothing was left to wait for.
    soon("the server's end", server.stop()).await??;
    assert_eq!(app.hub.subscribers(), 0);
    assert_eq!(Arc::strong_count(&app), 1, "a task of the server still holds it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_may_finish_while_nobody_else_comes_in() -> Result<()> {
    steady(async || {
        let mut server = Server::start_with(|config| config.shutdown_max = Duration::from_secs(20)).await?;
        let (client, app, address) = (server.client(), server.app.clone(), server.address);
        client.create("s", &json!({"userId": "u"})).await?;
        let mut live = client.follow("s", None).await?;
        let lines = answer(3);
        let upload = client.upload(EVENTS, &[NDJSON]);
        upload.send(format!("{}\n", lines[0])).await?;
        live.frame().await?;

        server.begin_stop();
        assert_eq!(live.rest().await?, []);
        let refused = async || Ok(TcpStream::connect(address).await.is_err().then_some(()));
        until("connections are refused", refused).await?;
        for line in &lines[1..] {
            upload.send(format!("{line}\n")).await?;
        }
        let answer = upload.finish().await?.expect(200)?.json();
        assert_eq!(answer["appended"], 4, "{answer}");
        soon("the server's end", server.stop()).await??;
        assert_eq!(Arc::strong_count(&app), 1, "a task of the server still holds it");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_does_not_finish_is_cut_at_the_deadline() -> Result<()> {
    steady(async || {
        let shutdown_max = Duration::from_secs(1);
        let mut server = Server::start_with(|config| config.shutdown_max = shutdown_max).await?;
        let (client, app) = (server.client(), server.app.clone());
        client.create("s", &json!({"userId": "u"})).await?;
        let mut live = client.follow("s", None).await?;
        let upload = client.upload(EVENTS, &[NDJSON]);
        upload.send(format!("{}\n", answer(0)[0])).await?;
        live.frame().await?;

        let start = Instant::now();
        server.begin_stop();
        soon("the server's end", server.stop()).await??;
        let took = start.elapsed();
        ensure!((shutdown_max..5 * shutdown_max).contains(&took), "it took {took:?}");
        assert!(soon("the cut", upload.answer()).await?.is_err(), "the producer is told nothing it could believe");
        assert_eq!(Arc::strong_count(&app), 1, "a task of the server still holds it");
        Ok(())
    })
    .await
}
