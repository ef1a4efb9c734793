//! Bodies of clients that end otherwise than whole: late, silent, broken off; and many of them.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rejoin_tests::steady::steady;
use rejoin_tests::wait::soon;
use rejoin_tests::{answer, delta};
use serde_json::json;

use super::host::{Edge, Edition};
use super::{data, events};

with_both!(
    a_whole_body_that_comes_too_slowly_is_408,
    an_open_body_that_brings_nothing_is_ended_and_what_came_is_kept,
    a_body_that_breaks_off_is_not_taken_for_whole,
    a_reader_misses_nothing_however_many_requests_write,
);

/// The limit under test.
const SHORT: Duration = Duration::from_secs(1);

async fn a_whole_body_that_comes_too_slowly_is_408(edition: Edition) -> Result<()> {
    steady(async || {
        let edge = Edge::start_with(edition, 1, &[("REJOIN_BODY_WAIT", "1s")]).await?;
        let client = edge.client(0);
        client.create("s", &json!({})).await?;
        let upload = client.upload(&events("s"), &[("content-type", "application/json")]);
        let began = Instant::now();
        // Bytes come all the time, and the answer in spite of them.
        while began.elapsed() < SHORT * 2 {
            if upload.send(" ").await.is_err() {
                break;
            }
            tokio::time::sleep(SHORT / 20).await;
        }
        let late = soon("an answer", upload.answer()).await??;
        assert_eq!(late.problem(), (408, "body_timeout".to_owned()));
        client.append("s", &[delta("on it goes")]).await?.expect(200)?;
        Ok(())
    })
    .await
}

async fn an_open_body_that_brings_nothing_is_ended_and_what_came_is_kept(edition: Edition) -> Result<()> {
    steady(async || {
        let edge = Edge::start_with(edition, 1, &[("REJOIN_APPEND_IDLE", "1s")]).await?;
        let client = edge.client(0);
        let lines = answer(4);
        for kind in ["application/x-ndjson", "text/event-stream; dialect=events"] {
            let generation = client.create("s", &json!({})).await?;
            let upload = client.upload(&events("s"), &[("content-type", kind)]);
            for line in &lines {
                let framed = if kind.contains("ndjson") { format!("{line}\n") } else { format!("data: {line}\n\n") };
                upload.send(framed).await?;
                // Together longer than it may be silent.
                tokio::time::sleep(SHORT / 3).await;
            }
            upload.send(r#"{"event":"half"#).await?;
            let idle = soon("an answer", upload.answer()).await??;
            let said = idle.json();
            ensure!(idle.problem() == (408, "body_idle".to_owned()), "{kind}: {idle:?}");
            ensure!(said["appended"] == 5 && said["last"] == format!("{generation}-5"), "{kind}: {said}");
            assert_eq!(client.records("s").await?, lines);
            client.append("s", &[delta("on it goes")]).await?.expect(200)?;
        }
        Ok(())
    })
    .await
}

async fn a_body_that_breaks_off_is_not_taken_for_whole(edition: Edition) -> Result<()> {
    let edge = Edge::start(edition, 1).await?;
    let client = edge.client(0);
    client.create("s", &json!({})).await?;
    let mut reader = client.follow("s", None).await?;
    let lines = answer(2);
    // A list to its last bracket, and a line that only the end of its body would end.
    let list = client.upload(&events("s"), &[("content-type", "application/json")]);
    list.send(format!("[{}]", delta("never"))).await?;
    let open = client.upload(&events("s"), &[]);
    open.send(format!("{}\n{}", lines.join("\n"), delta("never"))).await?;
    assert_eq!(data(&reader.take(lines.len()).await?, 1)?, lines);
    list.cut();
    open.cut();
    let more = tokio::time::timeout(SHORT, reader.frame()).await;
    ensure!(more.is_err(), "{more:?}");
    client.append("s", &[delta("on it goes")]).await?.expect(200)?;
    assert_eq!(client.records("s").await?, [&lines[..], &[delta("on it goes")]].concat());
    Ok(())
}

/// With 0.3 more than its instance takes, which is 128 under `wasmtime serve`: what further ones write wakes nobody.
async fn a_reader_misses_nothing_however_many_requests_write(edition: Edition) -> Result<()> {
    let edge = Edge::start(edition, 1).await?;
    let client = edge.client(0);
    client.create("s", &json!({})).await?;
    let mut reader = client.follow("s", None).await?;
    let lines: Vec<String> = (0..150).map(|n| delta(&n.to_string())).collect();
    for line in &lines {
        client.append("s", &[line]).await?.expect(200)?;
    }
    assert_eq!(data(&reader.take(lines.len()).await?, 1)?, lines);
    client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    assert_eq!(reader.rest().await?.len(), 1);
    Ok(())
}
