//! API.md section 7: every limit has its answer, and whoever stays below it notices nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rejoin_tests::client::Client;
use rejoin_tests::server::Server;
use rejoin_tests::{answer, delta, wait};
use serde_json::{Value, json};

/// Waits until a figure of `GET /v1/stats` is this one.
async fn until_stats(client: &Client, figure: &str, wanted: u64) -> Result<()> {
    let what = format!("{figure} {wanted}");
    wait::until(&what, async || {
        let stats = client.get("/v1/stats").await?.expect(200)?.json();
        Ok((stats.pointer(figure).and_then(Value::as_u64) == Some(wanted)).then_some(()))
    })
    .await
}

/// A generation that has reached its limit: `kept` records, then the end, for those who were there and those who come.
async fn check_full(client: &Client, stream: &str, lines: &[String], kept: usize) -> Result<()> {
    let generation = client.create(stream, &json!({})).await?;
    let mut live = client.follow(stream, None).await?;
    let problem = client.append(stream, lines).await?.refused(409, "log_full")?;
    assert_eq!(problem["appended"], kept, "{problem}");
    assert_eq!(problem["line"], kept + 1, "{problem}");
    let cursors = (json!(format!("{generation}-1")), json!(format!("{generation}-{kept}")));
    assert_eq!((&problem["first"], &problem["last"]), (&cursors.0, &cursors.1), "{problem}");
    for mut reader in [live.rest().await?, client.follow(stream, None).await?.rest().await?] {
        let end = reader.pop().context("an end")?;
        assert_eq!(end.event.as_deref(), Some("error"));
        assert_eq!(end.id, Some(format!("{generation}-{}", kept + 1)));
        ensure!(end.json()["error"].as_str().is_some_and(|error| error.contains("full")), "{}", end.data);
        assert_eq!(reader.iter().map(|frame| frame.data.as_str()).collect::<Vec<_>>(), lines[..kept]);
    }
    let state = client.state(stream).await?;
    assert_eq!((&state["status"], state["content"].as_array().map(Vec::len)), (&json!("error"), Some(1)));
    let refused = client.append(stream, &lines[..1]).await?.refused(409, "not_active")?;
    assert_eq!(refused["jobStatus"], "error");
    // The next generation starts empty.
    client.create(stream, &json!({})).await?;
    client.append(stream, &lines[..kept]).await?.expect(200)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generation_of_too_many_records_ends_in_error_and_keeps_what_it_has() -> Result<()> {
    let server = Server::start_with(|config| config.records_max = 6).await?;
    let client = server.client();
    check_full(&client, "at-once", &answer(9), 6).await?;

    // The same limit over several appends, with a neighbour that is at the limit and not over it.
    let lines = answer(6);
    client.create("fits", &json!({})).await?;
    client.create("s", &json!({})).await?;
    for line in &lines[..6] {
        client.append("s", &[line]).await?.expect(200)?;
        client.append("fits", &[line]).await?.expect(200)?;
    }
    let problem = client.append("s", &lines[6..]).await?.refused(409, "log_full")?;
    assert_eq!((&problem["appended"], &problem["line"]), (&json!(0), &json!(1)), "{problem}");
    let completed = client.post("/v1/streams/fits/complete", &json!({})).await?.expect(200)?;
    assert_eq!(completed.json()["job"]["status"], "complete", "the end needs no room");
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generation_of_too_many_bytes_ends_in_error_and_keeps_what_it_has() -> Result<()> {
    let lines = answer(9);
    let bytes: usize = lines[..5].iter().map(String::len).sum();
    let server = Server::start_with(|config| {
        (config.record_bytes_max, config.log_bytes_max) = (1000, bytes as u64);
    })
    .await?;
    let client = server.client();
    check_full(&client, "at-once", &lines, 5).await?;
    // A session that is opened again from the log counts on.
    client.create("s", &json!({})).await?;
    client.append("s", &lines[..3]).await?.expect(200)?;
    server.app.sessions.forget(&rejoin::types::StreamId::parse("s").map_err(anyhow::Error::msg)?);
    let problem = client.append("s", &lines[3..]).await?.refused(409, "log_full")?;
    assert_eq!(problem["appended"], 2, "{problem}");
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_or_a_stream_with_all_its_subscribers_refuses_the_next_until_one_leaves() -> Result<()> {
    let server = Server::start_with(|config| {
        (config.subscribers_max, config.subscribers_per_stream_max) = (3, 2);
    })
    .await?;
    let client = server.client();
    for stream in ["a", "b"] {
        client.create(stream, &json!({})).await?;
    }
    let live = [("accept", "text/event-stream")];
    let mut first = client.follow("a", None).await?;
    let second = client.follow("a", None).await?;
    for query in ["", "?resume=true", "?after=1-1"] {
        let path = format!("/v1/streams/a/events{query}");
        let refused = client.send("GET", &path, &live, "").await?;
        refused.refused_for_now(429, "too_many_subscribers").context(query)?;
    }
    let _third = client.follow("b", None).await?;
    let refused = client.send("GET", "/v1/streams/b/events", &live, "").await?;
    refused.refused_for_now(503, "too_many_subscribers")?;
    // Those who are there go on, and pages are free.
    client.append("a", &answer(1)).await?.expect(200)?;
    first.take(2).await?;
    assert_eq!(client.records("a").await?.len(), 2);

    drop(second);
    until_stats(&client, "/subscribers", 2).await?;
    client.follow("a", None).await?.take(2).await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_says_so_loses_nothing_and_goes_on_when_there_is_room() -> Result<()> {
    let server = Server::start_with(|config| config.memory_bytes_max = 512 << 10).await?;
    let client = server.client();
    client.create("filler", &json!({})).await?;
    client.create("s", &json!({})).await?;
    let mut live = client.follow("s", None).await?;
    let mut kept = answer(1);
    client.append("s", &kept).await?.expect(200)?;
    let mut frames = live.take(kept.len()).await?;

    let large = delta(&"x".repeat(20_000));
    let refused = loop {
        let answer = client.append("filler", &[&large]).await?;
        if answer.status != 200 {
            break answer;
        }
    };
    refused.refused_for_now(503, "store_full")?;
    let filled = client.records("filler").await?;
    ensure!((5..30).contains(&filled.len()) && filled.iter().all(|record| *record == large), "{}", filled.len());

    // What does not fit is refused as a whole and said so; whoever sent it still has it.
    let more: Vec<String> = std::iter::once(delta("y")).chain((0..3).map(|_| large.clone())).collect();
    let problem = client.append("s", &more).await?;
    problem.refused_for_now(503, "store_full")?;
    let appended = usize::try_from(problem.json()["appended"].as_u64().context("appended")?)?;
    kept.extend_from_slice(&more[..appended]);
    assert_eq!(client.records("s").await?, kept);
    client
        .post("/v1/streams/another", &json!({"sender": "x".repeat(20_000)}))
        .await?
        .refused_for_now(503, "store_full")?;

    // An end still fits; a stream that is forgotten makes room.
    let completed = client.post("/v1/streams/filler/complete", &json!({"error": "full"})).await?.expect(200)?;
    assert_eq!(completed.json()["job"]["status"], "error");
    client.send("DELETE", "/v1/streams/filler", &[], "").await?.expect(204)?;
    // Other records take the place of those that were refused: nobody has seen these.
    let instead = vec![delta("z"); more.len()];
    client.append("s", &instead).await?.expect(200)?;
    kept.extend(instead);
    client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    frames.extend(live.rest().await?);
    assert_eq!(frames[..frames.len() - 1].iter().map(|frame| frame.data.as_str()).collect::<Vec<_>>(), kept);
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_streams_than_sessions_take_turns() -> Result<()> {
    let server = Server::start_with(|config| config.sessions_max = 4).await?;
    let client = server.client();
    let lines = answer(2);
    let mut refused = 0;
    for line in &lines {
        for stream in 0..12 {
            let path = format!("/v1/streams/s{stream}");
            wait::until(&path, async || {
                let answer = if *line == lines[0] && client.get(&format!("{path}?content=false")).await?.status == 404 {
                    client.post(&path, &json!({})).await?
                } else {
                    client.append(&format!("s{stream}"), &[line]).await?
                };
                match answer.status {
                    200 => return Ok(Some(())),
                    201 => {}
                    _ => {
                        answer.refused_for_now(503, "overloaded")?;
                        refused += 1;
                    }
                }
                ensure!(server.app.sessions.open() <= 4, "{} sessions", server.app.sessions.open());
                Ok(None)
            })
            .await?;
        }
    }
    println!("{refused} times refused");
    for stream in 0..12 {
        assert_eq!(client.records(&format!("s{stream}")).await?, lines[..], "s{stream}");
    }
    server.stop().await
}

/// The largest bodies that the limits allow must not meet those of the component.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_as_large_as_a_body_may_be_is_taken_at_once() -> Result<()> {
    // Memory is what is looked at: a machine that does other things besides may take its time.
    let server = Server::start_with(|config| config.call_max = Duration::from_secs(20)).await?;
    let client = server.client();
    let step = |n| json!({"event": "on_run_step", "data": {"id": format!("s{n}"), "index": n, "stepDetails": {}}});
    let record = |name: &str, n: usize| match (name, n) {
        ("tiny", _) => "{\"a\":1}".to_owned(),
        ("steps", n) => step(n).to_string(),
        (_, 0) => answer(0).concat(),
        ("text", _) => delta("twelve bytes"),
        _ => delta(&"x".repeat(1_000_000)),
    };
    for name in ["tiny", "text", "large", "steps"] {
        client.create(name, &json!({})).await?;
        let (mut body, mut count) = (String::from("["), 0);
        let most = if name == "steps" { 20_000 } else { 199_999 };
        while count < most {
            let next = record(name, count);
            if body.len() + next.len() + 2 > 8 << 20 {
                break;
            }
            body += if count == 0 { "" } else { "," };
            body += &next;
            count += 1;
        }
        let path = format!("/v1/streams/{name}/events");
        let sent = client.send("POST", &path, &[("content-type", "application/json")], body + "]").await?;
        assert_eq!(sent.expect(200).context(name)?.json()["appended"], count, "{name}");
        let state = client.state(name).await?;
        let text = state["content"].as_array().context("content")?.iter().filter_map(|part| part["text"].as_str());
        let text: String = text.collect();
        let wanted = match name {
            "text" => (count - 1) * 12,
            "large" => (count - 1) * 1_000_000,
            _ => 0,
        };
        assert_eq!((text.len(), &state["status"]), (wanted, &json!("running")), "{name}");
        // A final event holds the answer twice: of eight megabytes that may be more than the component's memory, and then
        // the generation has ended all the same, and says why.
        let end = client.post(&format!("/v1/streams/{name}/complete"), &json!({})).await?;
        let job = client.get(&format!("/v1/streams/{name}?content=false")).await?.expect(200)?.json()["job"].take();
        if end.status == 200 {
            assert_eq!(job["status"], "complete", "{name}");
        } else {
            end.refused(500, "limit_exceeded").context(name)?;
            assert_eq!((name, &job["status"], &job["error"]), ("large", &json!("error"), &json!("limit exceeded")));
        }
    }
    server.stop().await
}
