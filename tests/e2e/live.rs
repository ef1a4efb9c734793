//! The live stream as the wire describes it: bytes, headers, comments, ways in, and when there is nothing to send.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rejoin_tests::client::Client;
use rejoin_tests::raw::Raw;
use rejoin_tests::server::Server;
use rejoin_tests::sse::Frame;
use rejoin_tests::steady::steady;
use rejoin_tests::{answer, delta};
use serde_json::json;
use tokio::time::Instant;

const EVENTS: &str = "/v1/streams/s/events";
const LIVE: (&str, &str) = ("accept", "text/event-stream");

fn datas(frames: &[Frame]) -> Vec<&str> {
    frames.iter().map(|frame| frame.data.as_str()).collect()
}

/// A stream with these records and its end.
async fn finished(client: &Client, lines: &[String]) -> Result<u64> {
    let generation = client.create("s", &json!({"userId": "u"})).await?;
    client.append("s", lines).await?.expect(200)?;
    client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    Ok(generation)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_delivered_byte_for_byte() -> Result<()> {
    let records = [
        r#"{"event":"on_message_delta","data":{"id":"s","delta":{"content":[{"type":"text","text":"Hi"}]}}}"#,
        r#"{ "b" :	1 , "a":  [ ] ,"c":{ } }"#,
        r#"{"a":"\u0041\/\"\\\b\f\n\r\t\u00e9\ud83e\udd80 é🦀"}"#,
        r#"{"same":1,"same":2,"same":{"same":[1,1]}}"#,
        r#"{"n":[1.0,1e400,-0,-0.0,1E+2,0.1e-9,12345678901234567890,1234567890.123456789012345678901]}"#,
        r#"{"event":"no such event","data":null,"final":"true","created":1,"_internal":0}"#,
        r#"{"":"","line":"\u2028\u2029 data: x\\n\\nid: 7"}"#,
        "{\"trailing\":true}   ",
        "  {\"leading\":true}",
        "{}",
    ];
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({"userId": "u"})).await?;
    let mut live = client.follow("s", None).await?;
    client.append("s", &records).await?.expect(200)?;
    // Blanks around a line belong to the framing, not to the record.
    let sent: Vec<&str> = records.iter().map(|record| record.trim_matches(' ')).collect();
    assert_eq!(datas(&live.take(records.len()).await?), sent, "live");
    assert_eq!(datas(&client.follow("s", None).await?.take(records.len()).await?), sent, "from the log");
    assert_eq!(client.records("s").await?, sent, "as a page");
    // As members of a list their line breaks are blanks, everything else stays.
    let list = format!("[{}]", sent.join(" ,\n "));
    client.send("POST", EVENTS, &[("content-type", "application/json")], list).await?.expect(200)?;
    assert_eq!(datas(&live.take(records.len()).await?), sent, "from a list");
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn internal_records_are_kept_and_folded_but_never_sent() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let generation = client.create("s", &json!({"userId": "u"})).await?;
    let mut live = client.follow("s", None).await?;
    let hidden = delta("hidden ").replacen('{', r#"{"_internal":true,"#, 1);
    let [step, first, second] = &answer(2)[..] else { unreachable!("a step and two deltas") };
    client.append("s", &[step, &hidden, first, &hidden]).await?.expect(200)?;
    let head = client.append("s", &[second, &hidden]).await?.expect(200)?.json()["last"].clone();
    assert_eq!(head, format!("{generation}-6"), "they have places in the log");
    assert_eq!(client.text("s").await?, "hidden w0 hidden w1 hidden ", "they are folded");

    client.post("/v1/streams/s/complete", &json!({"finalEvent": {"mine": 1}})).await?.expect(200)?;
    let frames = live.rest().await?;
    let finals = r#"{"final":true,"mine":1}"#;
    assert_eq!(datas(&frames), [step.as_str(), first, second, finals]);
    let at = |sequence: u64| format!("{generation}-{sequence}");
    let ids: Vec<_> = frames.iter().filter_map(|frame| frame.id.clone()).collect();
    assert_eq!(ids, [at(1), at(3), at(5), at(7)]);
    assert_eq!(client.follow("s", None).await?.rest().await?, frames, "from the log");
    for (after, left) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3)] {
        let rest = client.follow("s", Some(&at(after))).await?.rest().await?;
        assert_eq!(rest, frames[left..], "after {after}");
    }
    assert_eq!(client.records("s").await?, datas(&frames), "nor in a page");
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_stream_says_when_to_come_back_and_asks_for_no_buffering() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({"userId": "u"})).await?;
    let mut connected = Vec::new();
    for path in [EVENTS, "/v1/streams/s/events?resume=true", "/v1/streams/s/signals"] {
        let mut live = client.subscribe(path, &[]).await?;
        let headers = live.headers.clone();
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(header("content-type"), Some("text/event-stream; charset=utf-8"), "{path}");
        assert_eq!(header("cache-control"), Some("no-cache, no-transform"), "{path}");
        assert_eq!(header("x-accel-buffering"), Some("no"), "{path}");
        assert_eq!(header("content-encoding"), Some("identity"), "{path}");
        if path == EVENTS {
            client.append("s", &answer(0)).await?.expect(200)?;
        }
        live.frame().await?;
        assert_eq!(live.retry_ms, Some(1000), "{path}");
        connected.push(live);
    }
    let (mut raw, mut body) = (Raw::subscribe(server.address, EVENTS).await?, String::new());
    while body.len() < "retry: 1000\n\nid: ".len() {
        body.push_str(std::str::from_utf8(&raw.sip(64).await?)?);
    }
    ensure!(body.starts_with("retry: 1000\n\nid: "), "the first words are {body:?}");
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_stream_sends_comments() -> Result<()> {
    steady(async || {
        let keep_alive = Duration::from_millis(200);
        let server = Server::start_with(|config| config.keep_alive = keep_alive).await?;
        let client = server.client();
        client.create("s", &json!({"userId": "u"})).await?;
        for path in ["/v1/streams/s/signals", EVENTS] {
            let start = Instant::now();
            let mut live = client.subscribe(path, &[]).await?;
            live.comment().await?;
            live.comment().await?;
            let took = start.elapsed();
            ensure!((2 * keep_alive..20 * keep_alive).contains(&took), "{path}: two comments after {took:?}");
        }
        let mut live = client.follow("s", None).await?;
        live.comment().await?;
        client.append("s", &answer(1)).await?.expect(200)?;
        assert_eq!(datas(&live.take(2).await?), answer(1), "records go on after comments");
        server.stop().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http2_the_frames_are_the_same() -> Result<()> {
    let server = Server::start().await?;
    let (client, http2) = (server.client(), Client::http2(server.address));
    client.create("s", &json!({"userId": "u"})).await?;
    let mut one = client.follow("s", None).await?;
    // Many on one connection, and the producer as well.
    let mut many = Vec::new();
    for _ in 0..20 {
        many.push(http2.follow("s", None).await?);
    }
    let upload = http2.upload(EVENTS, &[("content-type", "application/x-ndjson")]);
    for line in answer(50) {
        upload.send(format!("{line}\n")).await?;
    }
    assert_eq!(upload.finish().await?.expect(200)?.json()["appended"], 51);
    http2.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    let frames = one.rest().await?;
    assert_eq!(frames.len(), 52);
    for mut reader in many {
        assert_eq!(reader.rest().await?, frames);
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_a_live_stream_or_a_page_as_the_client_accepts() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    finished(&client, &answer(1)).await?;
    for (accept, status, content_type) in [
        ("text/event-stream", 200, "text/event-stream; charset=utf-8"),
        ("application/json", 200, "application/json"),
        ("text/event-stream, */*;q=0.1", 200, "text/event-stream; charset=utf-8"),
        ("image/png", 406, "application/problem+json"),
    ] {
        let answer = client.send("GET", EVENTS, &[("accept", accept)], "").await?.expect(status)?;
        assert_eq!(answer.header("content-type"), content_type, "{accept}");
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_says_whether_a_stream_exists_and_opens_nothing() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({"userId": "u"})).await?;
    for path in ["/v1/streams/s", EVENTS, "/v1/streams/s/signals", "/v1/streams/s/resume"] {
        let known = client.send("HEAD", path, &[LIVE], "").await?.expect(200)?;
        assert_eq!(known.body, "", "{path}");
        let unknown = client.send("HEAD", &path.replace("/s", "/nobody"), &[LIVE], "").await?.expect(404)?;
        assert_eq!(unknown.body, "", "{path}");
    }
    assert_eq!(server.app.hub.subscribers(), 0);
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_hold_every_record_once_whatever_their_size() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let generation = finished(&client, &answer(40)).await?;
    let whole = client.log("s").await?;
    assert_eq!(whole.len(), 42);
    assert_eq!(whole[41].0, format!("{generation}-42"));
    for limit in [1, 2, 7, 41, 42, 43, 1000] {
        let (mut cursors, mut after, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = client.get(&format!("{EVENTS}?limit={limit}&after={after}")).await?.expect(200)?.json();
            assert_eq!(page["end"], format!("{generation}-42"));
            let records = page["records"].as_array().context("records")?;
            ensure!(records.len() <= limit, "{} records in a page of {limit}", records.len());
            cursors.extend(records.iter().map(|record| record["cursor"].as_str().unwrap_or_default().to_owned()));
            pages += 1;
            match page["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(cursors, whole.iter().map(|(cursor, _)| cursor.as_str()).collect::<Vec<_>>(), "limit {limit}");
        assert_eq!(pages, 42_usize.div_ceil(limit), "limit {limit}");
    }
    for limit in ["0", "1001", "many"] {
        client.get(&format!("{EVENTS}?limit={limit}")).await?.refused(400, "invalid_query")?;
    }
    client.get(&format!("{EVENTS}?after=yesterday")).await?.refused(400, "invalid_cursor")?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_terminal_record_comes_once_and_after_it_there_is_nothing() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let generation = finished(&client, &answer(3)).await?;
    let at = |sequence: u64| format!("{generation}-{sequence}");
    for (path, cursor, expected) in [
        (EVENTS, "", 5),
        (EVENTS, at(4).as_str(), 1),
        ("/v1/streams/s/events?resume=true", "", 2),
        // Who has a cursor has the state: it wins over the query that a browser repeats.
        ("/v1/streams/s/events?resume=true", at(4).as_str(), 1),
        (&format!("{EVENTS}?after={}", at(2)), "", 3),
        // What a browser saw last wins over what its address says.
        (&format!("{EVENTS}?after={}", at(2)), at(4).as_str(), 1),
    ] {
        let headers = if cursor.is_empty() { vec![] } else { vec![("last-event-id", cursor)] };
        let frames = client.subscribe(path, &headers).await?.rest().await?;
        assert_eq!(frames.len(), expected, "{path} {cursor}: {frames:?}");
        assert_eq!(frames.iter().filter(|frame| frame.is_terminal()).count(), 1, "{path} {cursor}");
        let last = frames.last().context("a frame")?;
        assert_eq!((last.id.as_deref(), last.is_terminal()), (Some(at(5).as_str()), true), "{path} {cursor}");
    }
    let terminal = at(5);
    for (path, headers) in [
        (EVENTS.to_owned(), vec![LIVE, ("last-event-id", terminal.as_str())]),
        ("/v1/streams/s/events?resume=true".to_owned(), vec![LIVE, ("last-event-id", terminal.as_str())]),
        (format!("{EVENTS}?after={terminal}"), vec![LIVE]),
    ] {
        let nothing = client.send("GET", &path, &headers, "").await?.expect(204)?;
        assert_eq!(nothing.body, "", "{path}");
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_stream_is_404_but_nothing_to_resume_is_204() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.send("GET", EVENTS, &[LIVE], "").await?.refused(404, "not_found")?;
    client.send("GET", EVENTS, &[LIVE, ("last-event-id", "1-1")], "").await?.refused(404, "not_found")?;
    client.send("GET", &format!("{EVENTS}?resume=true"), &[LIVE], "").await?.expect(204)?;
    client.get("/v1/streams/s/resume").await?.refused(404, "not_found")?;
    client.send("GET", "/v1/streams/s/signals", &[LIVE], "").await?.refused(404, "not_found")?;
    client.get(EVENTS).await?.refused(404, "not_found")?;
    client.create("s", &json!({"userId": "u"})).await?;
    for garbage in ["x", "1", "-1", "1-", "1-1-1"] {
        let headers = [LIVE, ("last-event-id", garbage)];
        client.send("GET", EVENTS, &headers, "").await?.refused(400, "invalid_cursor")?;
    }
    server.stop().await
}
