//! Requests that meet in one instance, which only `wasi:http` 0.3 knows.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rejoin_tests::wait::until;
use rejoin_tests::{answer, delta};
use serde_json::json;

use super::host::{Edge, Edition};
use super::{RARELY, data, events};

/// Nothing but a wake makes a reader look.
async fn edge(further: &[(&str, &str)]) -> Result<Edge> {
    let times = [("REJOIN_KEEP_ALIVE", "1h"), ("REJOIN_LIVE_MAX", "2h")];
    Edge::start_with(Edition::P3, 1, &[&RARELY[..], &times, further].concat()).await
}

#[tokio::test]
async fn a_reader_is_woken_by_what_its_own_instance_writes() -> Result<()> {
    let edge = edge(&[]).await?;
    let client = edge.client(0);
    client.create("s", &json!({})).await?;
    let mut readers = Vec::new();
    for _ in 0..5 {
        readers.push(client.follow("s", None).await?);
    }
    for (line, sequence) in answer(10).iter().zip(1..) {
        client.append("s", &[line]).await?.expect(200)?;
        for reader in &mut readers {
            assert_eq!(data(&[reader.frame().await?], sequence)?, [line.as_str()]);
        }
    }
    readers.truncate(1);
    client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    assert_eq!(readers[0].rest().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_reader_that_is_woken_again_and_again_does_not_look_each_time() -> Result<()> {
    const RECORDS: u32 = 40;
    let edge = edge(&[]).await?;
    let client = edge.client(0);
    client.create("s", &json!({})).await?;
    let mut reader = client.follow("s", None).await?;
    let upload = client.upload(&events("s"), &[]);
    let begin = Instant::now();
    for n in 0..RECORDS {
        upload.send(format!("{}\n", delta(&n.to_string()))).await?;
        reader.frame().await?;
    }
    // A look a record, and between two of them the pause.
    ensure!(begin.elapsed() >= Duration::from_millis(20) * (RECORDS - 1), "{:?}", begin.elapsed());
    upload.finish().await?.expect(200)?;
    Ok(())
}

/// The host would bring 300 at a time: what keeps it from that is the instance.
#[tokio::test]
async fn an_instance_with_sixteen_bodies_in_memory_gets_no_further_request() -> Result<()> {
    let edge = edge(&[("--max-instance-concurrent-reuse-count", "300")]).await?;
    let client = edge.client(0);
    client.create("s", &json!({})).await?;
    let mut reader = client.follow("s", None).await?;
    let mut others = Vec::new();
    for at in 0..16 {
        let stream = format!("other-{at}");
        client.create(&stream, &json!({})).await?;
        others.push((client.follow(&stream, None).await?, stream));
    }
    let mut uploads = Vec::new();
    for (other, stream) in &mut others {
        let upload = client.upload(&events(stream), &[]);
        upload.send(format!("{}\n", delta("x"))).await?;
        // Its reader is woken: the body is in this instance.
        other.frame().await?;
        uploads.push(upload);
    }
    // Written by another instance, it wakes nobody in the full one.
    client.append("s", &[delta("0")]).await?.expect(200)?;
    let early = tokio::time::timeout(Duration::from_secs(1), reader.frame()).await;
    ensure!(early.is_err(), "the full instance has taken a request: {early:?}");
    for upload in uploads {
        upload.finish().await?.expect(200)?;
    }
    // With room again it is one of those that get requests.
    let mut sent = 1;
    let frames = until("a request to the first instance", async || {
        client.append("s", &[delta(&sent.to_string())]).await?.expect(200)?;
        sent += 1;
        let woken = tokio::time::timeout(Duration::from_millis(300), reader.frame()).await;
        woken.ok().transpose()
    })
    .await?;
    assert_eq!(data(&[frames], 1)?, [delta("0")]);
    Ok(())
}
