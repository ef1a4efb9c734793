//! A real nginx with the settings that are shipped: nothing waits in it.

use std::time::Duration;

use anyhow::{Result, ensure};
use rejoin_tests::answer;
use rejoin_tests::nginx::Nginx;
use rejoin_tests::server::Server;
use rejoin_tests::steady::steady;
use serde_json::json;

/// Each line is sent when the one before has reached the reader: a proxy that waits for more would wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_and_lines_pass_the_shipped_nginx_one_by_one() -> Result<()> {
    let server = Server::start().await?;
    let nginx = Nginx::start(server.address, &[]).await?;
    let client = nginx.client();
    client.create("s", &json!({})).await?;
    let mut reader = client.follow("s", None).await?;
    let lines = answer(10);
    let upload = client.upload("/v1/streams/s/events", &[("content-type", "application/x-ndjson")]);
    for line in &lines {
        upload.send(format!("{line}\n")).await?;
        assert_eq!(reader.frame().await?.data, *line);
    }
    assert_eq!(upload.finish().await?.expect(200)?.json()["appended"], lines.len());
    // A returning reader's header, and a body above what nginx takes unless told.
    let mut back = client.follow("s", reader_cursor(&client, 9).await?.as_deref()).await?;
    assert_eq!(back.frame().await?.data, lines[9]);
    let large = vec![json!({"event": "x", "data": "x".repeat(60_000)}).to_string(); 40];
    client.append("s", &large).await?.expect(200)?;
    server.stop().await
}

/// The cursor of the record with this number.
async fn reader_cursor(client: &rejoin_tests::client::Client, sequence: u64) -> Result<Option<String>> {
    let generation = client.get("/v1/streams/s?content=false").await?.json()["generation"].as_u64();
    Ok(generation.map(|generation| format!("{generation}-{sequence}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keep_alives_pass_and_keep_the_stream_open_beyond_the_time_out() -> Result<()> {
    steady(async || {
        let server = Server::start_with(|config| config.keep_alive = Duration::from_millis(300)).await?;
        let nginx = Nginx::start(server.address, &[("proxy_read_timeout 60s;", "proxy_read_timeout 1s;")]).await?;
        let client = nginx.client();
        client.create("s", &json!({})).await?;
        let mut reader = client.follow("s", None).await?;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        client.append("s", &answer(1)).await?.expect(200)?;
        reader.take(2).await?;
        ensure!(reader.comments >= 3, "{} comments", reader.comments);
        server.stop().await
    })
    .await
}
