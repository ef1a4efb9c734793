//! Who reads a stream, and how far behind each one is.

use anyhow::{Context, Result, ensure};
use rejoin::types::StreamId;
use rejoin_tests::client::Client;
use rejoin_tests::raw::Raw;
use rejoin_tests::server::Server;
use rejoin_tests::wait::until;
use rejoin_tests::{answer, delta};
use serde_json::{Value, json};

const SUBSCRIBERS: &str = "/v1/streams/s/subscribers";

async fn subscribers(client: &Client) -> Result<Value> {
    Ok(client.get(SUBSCRIBERS).await?.expect(200)?.json())
}

/// Waits until the lags are these, and names the last ones that were seen.
async fn until_lags(client: &Client, wanted: impl Fn(&[u64]) -> bool) -> Result<Value> {
    let mut seen = Value::Null;
    let waited = until("lags", async || {
        seen = subscribers(client).await?;
        let rows = seen["subscribers"].as_array().context("a list")?;
        let lags: Vec<_> = rows.iter().filter_map(|row| row["lag"].as_u64()).collect();
        ensure!(lags.len() == rows.len(), "no lag: {seen}");
        Ok(wanted(&lags).then(|| seen.clone()))
    });
    waited.await.with_context(|| format!("last seen: {seen}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_falls_behind_and_catches_up() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let generation = client.create("s", &json!({"userId": "u"})).await?;
    client.append("s", &answer(0)).await?.expect(200)?;
    let mut quick = client.follow("s", None).await?;
    let mut stuck = Raw::subscribe_unbuffered(server.address, "/v1/streams/s/events").await?;
    until_lags(&client, |lags| lags == [0, 0]).await?;
    // More than all buffers between server and reader take.
    let records = 400;
    let long = "x".repeat(8 * 1024);
    for _ in 0..records / 20 {
        client.append("s", &vec![delta(&long); 20]).await?.expect(200)?;
    }
    quick.take(records + 1).await?;
    let seen = until_lags(&client, |lags| lags.len() == 2 && lags[0] > 0 && lags[1] == 0).await?;
    assert_eq!((&seen["total"], &seen["listeners"], &seen["shared"]), (&json!(2), &json!(0), &json!(false)), "{seen}");
    let [behind, level] = [&seen["subscribers"][0], &seen["subscribers"][1]];
    let end = records as u64 + 1;
    assert_eq!(level["cursor"], format!("{generation}-{end}"));
    let at = behind["cursor"].as_str().and_then(|cursor| cursor.strip_prefix(&format!("{generation}-")));
    let at: u64 = at.context("of this generation")?.parse()?;
    assert_eq!(Some(at), behind["lag"].as_u64().map(|lag| end - lag), "{seen}");
    assert_eq!(behind["kind"], "live");
    ensure!(behind["id"] != level["id"] && behind["sinceMs"].as_u64() > Some(1_600_000_000_000), "{seen}");

    let reading = tokio::spawn(async move { stuck.rest().await });
    until_lags(&client, |lags| lags == [0, 0]).await?;
    client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    // The last record has the whole text: whoever does not read it is one behind until then.
    assert_eq!(quick.rest().await?.len(), 1);
    until_lags(&client, <[u64]>::is_empty).await?;
    let read = reading.await??;
    ensure!(read.len() > records * long.len(), "the lag was no loss: {} bytes", read.len());
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_more_than_a_thousand_readers_those_furthest_behind_have_a_row() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let generation = client.create("s", &json!({"userId": "u"})).await?;
    let stream = StreamId::parse("s").map_err(|rule| anyhow::anyhow!(rule))?;
    let held: Vec<_> = (0..1_005).map(|_| server.app.hub.subscribe(&stream, generation)).collect();
    ensure!(held.iter().all(Result::is_ok), "there is room");
    let _listener = client.subscribe("/v1/streams/s/signals", &[]).await?;
    let seen = subscribers(&client).await?;
    assert_eq!(seen["subscribers"].as_array().map(Vec::len), Some(1_000));
    assert_eq!((&seen["total"], &seen["listeners"]), (&json!(1_005), &json!(1)));
    assert_eq!(seen["host"], server.app.hub.host());
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_stream_has_no_readers_and_a_known_one_may_have_none() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    assert_eq!(client.get(SUBSCRIBERS).await?.problem(), (404, "not_found".to_owned()));
    client.create("s", &json!({"userId": "u"})).await?;
    assert_eq!(subscribers(&client).await?["subscribers"], json!([]));
    assert_eq!(client.send("HEAD", SUBSCRIBERS, &[], "").await?.status, 200);
    let refused = client.send("POST", SUBSCRIBERS, &[], "").await?;
    assert_eq!((refused.status, &refused.headers["allow"]), (405, &"GET, HEAD".parse()?));
    server.stop().await
}
