//! A component that traps, spins or eats memory costs its own batch or generation, and nobody else's.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rejoin_tests::client::Client;
use rejoin_tests::server::Server;
use rejoin_tests::{answer, delta};
use serde_json::json;
use tokio::task::JoinHandle;

const PANIC: &str = r#"{"event":"test_trap_panic","data":{}}"#;
const SPIN: &str = r#"{"event":"test_trap_spin","data":{}}"#;
const MEMORY: &str = r#"{"event":"test_trap_memory","data":{}}"#;
const NDJSON: [(&str, &str); 1] = [("content-type", "application/x-ndjson")];

/// Few instances, little memory and short calls: what leaks or hangs shows soon.
async fn start() -> Result<Server> {
    Server::start_trapping(|config| {
        config.sessions_max = 48;
        config.session_bytes_max = 16 << 20;
        config.call_max = Duration::from_millis(200);
    })
    .await
}

/// A producer and a subscriber, each waiting for the other, from the first record to the last.
async fn neighbour(client: Client, stream: String, lines: Vec<String>) -> Result<()> {
    client.create(&stream, &json!({})).await?;
    let mut reader = client.follow(&stream, None).await?;
    let upload = client.upload(&format!("/v1/streams/{stream}/events"), &NDJSON);
    for line in &lines {
        upload.send(format!("{line}\n")).await?;
        assert_eq!(reader.frame().await?.data, *line, "{stream}");
    }
    assert_eq!(upload.finish().await?.expect(200)?.json()["appended"], lines.len(), "{stream}");
    client.post(&format!("/v1/streams/{stream}/complete"), &json!({})).await?.expect(200)?;
    let end = reader.rest().await?;
    assert_eq!((end.len(), &end[0].json()["final"]), (1, &json!(true)), "{stream}");
    assert_eq!(client.records(&stream).await?[..lines.len()], lines, "{stream}");
    Ok(())
}

fn neighbours(server: &Server) -> Vec<JoinHandle<Result<()>>> {
    let one = |n| tokio::spawn(neighbour(server.client(), format!("neighbour-{n}"), answer(40)));
    (0..20).map(one).collect()
}

async fn notice_nothing(neighbours: Vec<JoinHandle<Result<()>>>) -> Result<()> {
    for neighbour in neighbours {
        neighbour.await??;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_costs_its_batch_and_the_generation_goes_on() -> Result<()> {
    let server = start().await?;
    let client = server.client();
    let lines = answer(6);
    let generation = client.create("s", &json!({})).await?;
    let mut reader = client.follow("s", None).await?;

    // What came before in a body of its own, or in this body and was seen, is there.
    client.append("s", &lines[..2]).await?.expect(200)?;
    let upload = client.upload("/v1/streams/s/events", &NDJSON);
    upload.send(format!("{}\n", lines[2])).await?;
    reader.take(3).await?;
    upload.send(format!("{}\n{PANIC}\n{}\n", lines[3], lines[4])).await?;
    let problem = upload.finish().await?.refused(500, "component_trap")?;
    let appended = usize::try_from(problem["appended"].as_u64().context("appended")?)?;
    ensure!((1..=2).contains(&appended), "{problem}");
    assert_eq!(problem["line"], appended + 1, "the batch that trapped begins there: {problem}");
    ensure!(!problem.to_string().contains("test_trap"), "nothing of what was pushed: {problem}");
    assert_eq!(client.records("s").await?, lines[..2 + appended], "the answer tells the truth");

    // A batch that was pushed whole is refused whole, in every format.
    let list = format!("[{},{PANIC}]", lines[3]);
    let refused = client.send("POST", "/v1/streams/s/events", &[("content-type", "application/json")], list).await?;
    assert_eq!(refused.refused(500, "component_trap")?["appended"], 0);
    let events = format!("data: {}\n\ndata: {PANIC}\n\n", lines[3]);
    let kind = [("content-type", "text/event-stream; dialect=events")];
    let refused = client.send("POST", "/v1/streams/s/events", &kind, events).await?;
    assert_eq!(refused.refused(500, "component_trap")?["appended"], 0);

    // The same generation goes on where it was, for its reader too.
    let rest = client.append("s", &lines[2 + appended..]).await?.expect(200)?.json();
    assert_eq!(rest["first"], format!("{generation}-{}", 3 + appended));
    assert_eq!(client.state("s").await?["status"], "running");
    assert_eq!(client.text("s").await?, "w0 w1 w2 w3 w4 w5 ");
    client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    let frames = reader.rest().await?;
    assert_eq!(frames.iter().take(4).map(|frame| frame.data.as_str()).collect::<Vec<_>>(), lines[3..]);
    assert_eq!(frames.len(), 5);
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_repeats_what_a_trap_took_and_nothing_is_twice() -> Result<()> {
    let server = start().await?;
    let client = server.client();
    client.create("s", &json!({})).await?;
    let lines = answer(3);
    let headers = [NDJSON[0], ("producer-id", "p"), ("producer-seq", "1")];
    let trapping = format!("{}\n{PANIC}\n", lines[0]);
    client.send("POST", "/v1/streams/s/events", &headers, trapping).await?.refused(500, "component_trap")?;
    let whole: String = lines.iter().map(|line| format!("{line}\n")).collect();
    for expected in [4, 0] {
        let answer = client.send("POST", "/v1/streams/s/events", &headers, whole.clone()).await?.expect(200)?;
        assert_eq!(answer.json()["appended"], expected);
    }
    assert_eq!(client.records("s").await?, lines);
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_end_or_without_measure_ends_its_generation_and_its_readers_hear_why() -> Result<()> {
    let server = start().await?;
    let client = server.client();
    let lines = answer(2);
    for (bad, which) in [(SPIN, "time"), (MEMORY, "memory")] {
        let generation = client.create("s", &json!({})).await?;
        client.append("s", &lines).await?.expect(200)?;
        let mut reader = client.follow("s", None).await?;
        reader.take(3).await?;
        let problem = client.append("s", &[&lines[2], bad]).await?.refused(500, "limit_exceeded")?;
        assert_eq!(problem["appended"], 0);
        ensure!(problem["detail"].as_str().is_some_and(|detail| detail.contains(which)), "{problem}");

        let frames = reader.rest().await?;
        assert_eq!(frames.len(), 1, "{frames:?}");
        assert_eq!(frames[0].event.as_deref(), Some("error"));
        assert_eq!(frames[0].id, Some(format!("{generation}-4")));
        assert_eq!(frames[0].json()["error"], "limit exceeded");
        let state = client.state("s").await?;
        assert_eq!((&state["status"], &state["job"]["error"]), (&json!("error"), &json!("limit exceeded")));
        assert_eq!(client.text("s").await?, "w0 w1 ");
        assert_eq!(client.append("s", &lines).await?.refused(409, "not_active")?["jobStatus"], "error");
    }
    client.create("s", &json!({})).await?;
    client.append("s", &lines).await?.expect(200)?;
    server.stop().await
}

/// Content that grows until the component has no room for it: whichever call of a command meets the limit, the answer
/// says what is in the log, the readers hear of the end, and the stream can have a next generation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_that_outgrows_its_memory_ends_its_generation_and_not_its_stream() -> Result<()> {
    let server = start().await?;
    let client = server.client();
    for bytes in [900_000, 250_000, 60_000, 15_000] {
        client.create("s", &json!({})).await?;
        let mut reader = client.follow("s", None).await?;
        let reading = tokio::spawn(async move { reader.rest().await });
        let mut sent = answer(0);
        client.append("s", &sent).await?.expect(200)?;
        let large = delta(&"x".repeat(bytes));
        let problem = loop {
            let answer = client.append("s", &[&large, &large]).await?;
            let appended = answer.json()["appended"].as_u64().context("appended")?;
            sent.extend((0..appended).map(|_| large.clone()));
            if answer.status != 200 {
                break answer;
            }
            ensure!(sent.len() * bytes < 64 << 20, "16 MiB hold it all");
        };
        // Met on the way into the log the limit refuses the batch; met behind it, the batch is there and the next is late.
        if problem.status == 500 {
            problem.refused(500, "limit_exceeded")?;
        } else {
            assert_eq!(problem.refused(409, "not_active")?["jobStatus"], "error");
        }
        println!("records of {bytes} bytes: {} of them", sent.len());
        let row = client.get("/v1/streams/s?content=false").await?.expect(200)?.json();
        assert_eq!((&row["status"], &row["job"]["error"]), (&json!("error"), &json!("limit exceeded")), "{bytes}");
        let mut log = client.records("s").await?;
        ensure!(log.pop().is_some_and(|end| end.contains("limit exceeded")), "the log has its end");
        ensure!(log == sent, "{} records in the log, {} were acknowledged ({bytes})", log.len(), sent.len());
        let mut frames = reading.await??;
        let end = frames.pop().context("an end")?;
        assert_eq!((end.event.as_deref(), &end.json()["error"]), (Some("error"), &json!("limit exceeded")));
        ensure!(frames.iter().map(|frame| &frame.data).eq(&sent), "the reader had what was acknowledged ({bytes})");

        client.create("s", &json!({})).await?;
        client.append("s", &answer(2)).await?.expect(200)?;
        assert_eq!(client.text("s").await?, "w0 w1 ");
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_streams_beside_one_that_traps_without_pause_notice_nothing() -> Result<()> {
    let server = start().await?;
    let client = server.client();
    client.create("s", &json!({})).await?;
    let neighbours = neighbours(&server);
    let mut traps = 0;
    while traps < 10 || !neighbours.iter().all(JoinHandle::is_finished) {
        client.append("s", &[PANIC]).await?.refused(500, "component_trap")?;
        traps += 1;
    }
    println!("{traps} traps meanwhile");
    notice_nothing(neighbours).await?;
    client.append("s", &answer(1)).await?.expect(200)?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_streams_beside_one_that_spins_and_eats_memory_notice_nothing() -> Result<()> {
    let server = start().await?;
    let client = server.client();
    let neighbours = neighbours(&server);
    let mut ended = 0;
    while ended < 6 || !neighbours.iter().all(JoinHandle::is_finished) {
        client.create("s", &json!({})).await?;
        let bad = if ended % 2 == 0 { SPIN } else { MEMORY };
        client.append("s", &[bad]).await?.refused(500, "limit_exceeded")?;
        ended += 1;
    }
    println!("{ended} generations ended meanwhile");
    notice_nothing(neighbours).await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_traps_leak_no_session_and_no_instance() -> Result<()> {
    let server = start().await?;
    let client = server.client();
    for stream in ["a", "b"] {
        client.create(stream, &json!({})).await?;
    }
    client.append("b", &answer(1)).await?.expect(200)?;
    for round in 0..200 {
        // More than there are instances: were one lost each time, the pool would be empty soon.
        client.append("a", &[PANIC]).await?.refused(500, "component_trap").with_context(|| format!("trap {round}"))?;
        ensure!(server.app.sessions.open() <= 2, "{} sessions after {round} traps", server.app.sessions.open());
    }
    client.append("a", &answer(3)).await?.expect(200)?;
    assert_eq!(client.records("a").await?, answer(3));
    assert_eq!(client.records("b").await?, answer(1));
    server.stop().await
}
