//! The component under a stock `wasmtime serve`.

/// Each of these is a test of both components.
macro_rules! with_both {
    ($($name:ident),* $(,)?) => {
        mod wasi_http_0_2 {
            $(#[tokio::test]
            async fn $name() -> anyhow::Result<()> {
                super::$name(super::Edition::P2).await
            })*
        }
        mod wasi_http_0_3 {
            $(#[tokio::test]
            async fn $name() -> anyhow::Result<()> {
                super::$name(super::Edition::P3).await
            })*
        }
    };
}

mod bodies;
mod host;
mod instance;
mod store;
mod upstash;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rejoin_tests::redis::Server;
use rejoin_tests::replica::Replica;
use rejoin_tests::sse::Frame;
use rejoin_tests::steady::steady;
use rejoin_tests::wait::{soon, until};
use rejoin_tests::{answer, delta};
use serde_json::{Value, json};

use host::{Edge, Edition, Host, made};
use upstash::{Large, REST_TOKEN, Upstash};

with_both!(
    a_stream_is_made_written_read_and_ended,
    an_edge_host_and_a_server_serve_the_same_stream,
    two_hosts_write_one_stream_at_the_same_time_and_nothing_is_lost,
    an_abort_wins_over_a_producer_that_goes_on,
    a_replaced_generation_ends_its_readers_and_a_provider_s_body_is_taken_as_it_is,
    what_is_wrong_is_answered_as_the_server_does,
    a_host_over_upstash_s_dialect_lets_in_who_has_a_token,
    a_job_that_nobody_writes_to_ends_when_somebody_looks,
    what_is_appended_is_soon_at_a_silent_reader_and_silence_is_cheap,
    comments_and_the_end_come_in_time_however_rarely_the_log_is_looked_at,
);

/// An hour between two looks at the log: what comes sooner was not found by looking.
const RARELY: [(&str, &str); 2] = [("REJOIN_POLL_MIN", "1h"), ("REJOIN_POLL_MAX", "1h")];

fn events(stream: &str) -> String {
    format!("/v1/streams/{stream}/events")
}

/// What a reader was sent, without the cursors: and these without a gap or a repeat.
fn data(frames: &[Frame], first: u64) -> Result<Vec<String>> {
    for (frame, sequence) in frames.iter().zip(first..) {
        let id = frame.id.as_deref().context("an id")?;
        ensure!(id.ends_with(&format!("-{sequence}")), "{id} instead of {sequence}");
    }
    Ok(frames.iter().map(|frame| frame.data.clone()).collect())
}

#[test]
fn the_core_in_the_edge_components_is_the_shipped_one_byte_for_byte() -> Result<()> {
    let core = std::fs::read(made("rejoin.wasm")?)?;
    ensure!(
        xtask::sha256(&core) == rejoin::engine::COMPONENT_SHA256,
        "another component than this server's: `cargo xtask test` makes both"
    );
    // The path is part of the compiler's flags: another spelling would compile everything anew.
    let workspace = rejoin_tests::root().canonicalize()?;
    let of_now = |variant| xtask::build_component(&workspace, variant);
    let calls = of_now(xtask::Variant::EdgeCalls)?;
    for (edition, adapter) in [(Edition::P2, xtask::Variant::EdgeAdapter), (Edition::P3, xtask::Variant::EdgeAdapterP3)]
    {
        let edge = std::fs::read(made(edition.file())?)?;
        for part in [&core, &calls, &of_now(adapter)?] {
            let found = edge.windows(part.len()).any(|window| window == *part);
            ensure!(found, "a part of {} bytes is not in it: `cargo xtask edge` makes it anew", part.len());
        }
    }
    Ok(())
}

async fn a_stream_is_made_written_read_and_ended(edition: Edition) -> Result<()> {
    let edge = Edge::start(edition, 1).await?;
    let client = edge.client(0);
    let body = json!({"userId": "u", "conversationId": "c", "responseMessageId": "m", "sender": "Bot"});
    let key = [("idempotency-key", "k"), ("content-type", "application/json")];
    let made = client.send("POST", "/v1/streams/s", &key, body.to_string()).await?.expect(201)?.json();
    let again = client.send("POST", "/v1/streams/s", &key, body.to_string()).await?.expect(200)?.json();
    assert_eq!((&made, made["job"]["status"].as_str()), (&again, Some("running")));

    let lines = answer(20);
    let (head, tail) = lines.split_at(11);
    let producer = [("producer-id", "p"), ("producer-seq", "1")];
    let text = format!("{}\n", head.join("\n"));
    let first = client.send("POST", &events("s"), &producer, text.clone()).await?.expect(200)?.json();
    assert_eq!((&first["appended"], &first["duplicate"]), (&json!(11), &json!(0)));
    let repeat = client.send("POST", &events("s"), &producer, text).await?.expect(200)?.json();
    assert_eq!((&repeat["appended"], &repeat["duplicate"], &repeat["first"]), (&json!(0), &json!(11), &first["first"]));

    // As a list, and as a body that stays open.
    let list = format!("[{}]", tail[..2].join(","));
    client.send("POST", &events("s"), &[("content-type", "application/json")], list).await?.expect(200)?;
    let mut reader = client.follow("s", None).await?;
    assert_eq!(data(&reader.take(13).await?, 1)?, lines[..13]);
    let upload = client.upload(&events("s"), &[]);
    for (line, sequence) in tail[2..].iter().zip(14..) {
        upload.send(format!("{line}\n")).await?;
        assert_eq!(data(&[reader.frame().await?], sequence)?, [line.as_str()]);
    }
    upload.finish().await?.expect(200)?;

    let state = client.get("/v1/streams/s/resume").await?.expect(200)?.json();
    let text: String = (0..20).map(|n| format!("w{n} ")).collect();
    assert_eq!(state["aggregatedContent"][0]["text"], json!(text));
    let page = client.get("/v1/streams/s/events?after=&limit=5").await?.expect(200)?.json();
    assert_eq!((page["records"].as_array().map(Vec::len), page["next"].is_string()), (Some(5), true));

    client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    let last = reader.rest().await?;
    ensure!(last.len() == 1 && last[0].is_terminal(), "{last:?}");
    let late = client.follow("s", None).await?.rest().await?;
    assert_eq!((late.len(), late.last()), (22, last.last()));
    let done = client
        .send(
            "GET",
            &events("s"),
            &[("last-event-id", last[0].id.as_deref().unwrap_or_default()), ("accept", "text/event-stream")],
            "",
        )
        .await?;
    assert_eq!(done.status, 204);
    client.send("DELETE", "/v1/streams/s", &[], "").await?.expect(204)?;
    assert_eq!(client.get("/v1/streams/s").await?.problem(), (404, "not_found".to_owned()));
    Ok(())
}

async fn an_edge_host_and_a_server_serve_the_same_stream(edition: Edition) -> Result<()> {
    let edge = Edge::start(edition, 2).await?;
    let server = Replica::start(&edge.redis.url(), &[]).await?;
    let clients = [edge.client(0), server.client(), edge.client(1)];
    let lines = answer(30);
    clients[0].create("s", &json!({"userId": "u"})).await?;
    let mut readers = Vec::new();
    for client in &clients {
        readers.push(client.follow("s", None).await?);
    }
    for (at, line) in lines.iter().enumerate() {
        clients[at % 3].append("s", &[line]).await?.expect(200)?;
    }
    let mut all = Vec::new();
    for reader in &mut readers {
        all.push(reader.take(lines.len()).await?);
        assert_eq!(data(&all[0], 1)?, lines);
    }
    assert_eq!((&all[0], &all[0]), (&all[1], &all[2]));

    // Leave and come back, each time to another one.
    for (at, cut) in [1, 7, 15, 29].into_iter().enumerate() {
        let cursor = all[0][cut - 1].id.as_deref();
        let mut back = clients[at % 3].follow("s", cursor).await?;
        assert_eq!(back.take(lines.len() - cut).await?, all[0][cut..], "after {cut}");
    }
    let mut states = Vec::new();
    for client in &clients {
        let mut back = client.subscribe("/v1/streams/s/events?resume=true", &[]).await?;
        states.push(back.frame().await?);
    }
    assert_eq!((&states[0], &states[0]), (&states[1], &states[2]));
    assert_eq!(states[0].json()["sync"], true);

    // The row that the one has written is what the other reads: fields, times, revision.
    clients[0].send("PATCH", "/v1/streams/s", &[], r#"{"model":"m","sender":"Bot"}"#).await?.expect(200)?;
    let rows = [clients[0].get("/v1/streams/s").await?.json(), clients[1].get("/v1/streams/s").await?.json()];
    assert_eq!(rows[0], rows[1]);
    let listed = clients[1].get("/v1/streams?userId=u").await?.json();
    assert_eq!(listed["streams"][0]["streamId"], "s", "the index knows what an edge host has made");

    clients[2].post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    let mut ends = Vec::new();
    for reader in &mut readers {
        ends.push(reader.rest().await?);
    }
    assert_eq!((&ends[0], &ends[0]), (&ends[1], &ends[2]));
    assert_eq!(clients[1].get("/v1/stats").await?.json()["jobs"]["complete"], 1);
    Ok(())
}

/// Two writers a host: with 0.3 they meet in one instance.
async fn two_hosts_write_one_stream_at_the_same_time_and_nothing_is_lost(edition: Edition) -> Result<()> {
    let edge = Edge::start(edition, 2).await?;
    edge.client(0).create("s", &json!({})).await?;
    let write = async |at: usize| -> Result<()> {
        let client = edge.client(at % 2);
        for n in 0..10 {
            let lines = [delta(&format!("{at}-{n} "))];
            // Others write in between: what is refused as contended is sent again.
            let append = until("an append", async || {
                let answer = client.append("s", &lines).await?;
                Ok((answer.status != 503).then_some(answer))
            });
            append.await?.expect(200)?;
        }
        Ok(())
    };
    tokio::try_join!(write(0), write(1), write(2), write(3))?;
    let frames = edge.client(0).follow("s", None).await?.take(40).await?;
    let texts = data(&frames, 1)?;
    for at in 0..4 {
        let own: Vec<_> = texts.iter().filter(|text| text.contains(&format!("\"{at}-"))).collect();
        let sent: Vec<_> = (0..10).map(|n| delta(&format!("{at}-{n} "))).collect();
        assert!(own.iter().map(|text| text.as_str()).eq(sent.iter().map(String::as_str)), "{own:?}");
    }
    Ok(())
}

async fn an_abort_wins_over_a_producer_that_goes_on(edition: Edition) -> Result<()> {
    let edge = Edge::start(edition, 2).await?;
    let client = edge.client(0);
    client.create("s", &json!({"userId": "u", "responseMessageId": "m"})).await?;
    let mut reader = edge.client(1).follow("s", None).await?;
    let upload = client.upload(&events("s"), &[]);
    let lines = answer(3);
    upload.send(format!("{}\n", lines.join("\n"))).await?;
    reader.take(4).await?;
    let aborted = edge.client(1).post("/v1/streams/s/abort", &json!({})).await?.expect(200)?.json();
    assert_eq!((&aborted["success"], &aborted["text"]), (&json!(true), &json!("w0 w1 w2")));
    let last = reader.rest().await?;
    assert_eq!((last.len(), last[0].json()), (1, aborted["finalEvent"].clone()));
    upload.send(format!("{}\n", delta("late"))).await?;
    let refused = soon("the answer to the producer", upload.finish()).await??;
    assert_eq!(refused.problem(), (409, "not_active".to_owned()));
    assert_eq!((&refused.json()["appended"], &refused.json()["jobStatus"]), (&json!(4), &json!("aborted")));
    let second = client.post("/v1/streams/s/abort", &json!({})).await?;
    assert_eq!(second.problem(), (409, "already_settled".to_owned()));
    Ok(())
}

async fn a_replaced_generation_ends_its_readers_and_a_provider_s_body_is_taken_as_it_is(
    edition: Edition,
) -> Result<()> {
    let edge = Edge::start(edition, 1).await?;
    let client = edge.client(0);
    let old = client.create("s", &json!({})).await?;
    client.append("s", &answer(2)).await?.expect(200)?;
    let mut reader = client.follow("s", None).await?;
    reader.take(3).await?;
    let new = client.create("s", &json!({})).await?;
    let last = reader.rest().await?;
    assert_eq!((last.len(), &last[0].json()["reconcileReason"]), (1, &json!("generation_replaced")));
    let mut back = client.follow("s", Some(&format!("{old}-2"))).await?;
    assert_eq!((&back.frame().await?.json()["reset"], new > old), (&json!(true), true));

    let chunk = |text: &str| json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]});
    let body = format!("data: {}\n\ndata: {}\n\ndata: [DONE]\n\n", chunk("Hello "), chunk("you"));
    let provider = [("content-type", "text/event-stream; dialect=openai-chat")];
    client.send("POST", &events("s"), &provider, body).await?.expect(200)?;
    let content = client.get("/v1/streams/s").await?.expect(200)?.json();
    assert_eq!(content["content"][0]["text"], "Hello you");

    let action = json!({"type": "request", "action": {"id": "a", "question": "sure?"}});
    client.post("/v1/streams/s/action", &action).await?.expect(200)?;
    let resolve = json!({"type": "resolve", "actionId": "a", "decision": "yes"});
    client.post("/v1/streams/s/action", &resolve).await?.expect(200)?;
    assert_eq!(client.post("/v1/streams/s/action", &resolve).await?.problem(), (409, "no_such_action".to_owned()));
    Ok(())
}

async fn what_is_wrong_is_answered_as_the_server_does(edition: Edition) -> Result<()> {
    let edge = Edge::start_with(edition, 1, &[("REJOIN_RECORD_BYTES_MAX", "2000")]).await?;
    let server = Replica::start(&edge.redis.url(), &["--record-bytes-max", "2000"]).await?;
    edge.client(0).create("s", &json!({})).await?;
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(3000));
    /// Method, path, headers, body.
    type Asked<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);
    let cases: [Asked<'_>; 13] = [
        ("GET", "/v1/streams/unknown", &[], ""),
        ("GET", "/v1/streams/unknown/events", &[("accept", "text/event-stream")], ""),
        ("POST", "/v1/streams/unknown/events", &[], "{}\n"),
        ("POST", "/v1/streams/s/events", &[], &long),
        ("POST", "/v1/streams/s/events", &[("content-type", "text/html")], "x"),
        ("POST", "/v1/streams/s/events", &[("producer-id", "p")], "{}\n"),
        ("POST", "/v1/streams/s/events?generation=1", &[], "{}\n"),
        ("POST", "/v1/streams/s/complete", &[], "{"),
        ("POST", "/v1/streams/s/complete", &[], r#"{"other":1}"#),
        ("GET", "/v1/streams/s/events?limit=0", &[("accept", "application/json")], ""),
        ("GET", "/v1/streams/s/events", &[("last-event-id", "x")], ""),
        ("GET", "/v1/streams/%zz", &[], ""),
        ("PUT", "/v1/streams/s", &[], ""),
    ];
    for (method, path, headers, body) in cases {
        let ours = edge.client(0).send(method, path, headers, body.to_owned()).await?;
        let theirs = server.client().send(method, path, headers, body.to_owned()).await?;
        assert_eq!((ours.status, ours.json()), (theirs.status, theirs.json()), "{method} {path}");
        ensure!(ours.status >= 400 && ours.header("content-type") == "application/problem+json", "{method} {path}");
    }
    let bad = edge.client(0).append("s", &["{}", "no", "{}"]).await?;
    assert_eq!((bad.status, &bad.json()["line"], &bad.json()["appended"]), (422, &json!(2), &json!(1)));
    let absent = edge.client(0).get("/v1/streams/s/signals").await?;
    assert_eq!(absent.problem(), (501, "not_offered".to_owned()));
    // Without a secret: who asks by another name; and everybody, where the host does not tell the name.
    let store = [("REJOIN_REST_URL", "http://127.0.0.1:1"), ("REJOIN_STORE_WAIT", "10ms")];
    let open = Host::start(edition, &store).await?;
    let foreign = open.client().send("GET", "/v1/streams/s", &[("host", "example.com")], "").await?;
    assert_eq!(foreign.problem(), (403, "foreign_host".to_owned()));
    let own = open.client().get("/v1/streams/s").await?.problem();
    let wanted = if edition == Edition::P3 { (403, "foreign_host") } else { (503, "store_unavailable") };
    assert_eq!((own.0, own.1.as_str()), wanted);
    Ok(())
}

async fn a_host_over_upstash_s_dialect_lets_in_who_has_a_token(edition: Edition) -> Result<()> {
    let redis = Server::start()?;
    let front = Upstash::start(&redis, Large::Taken).await?;
    let store = [("REJOIN_REST_URL", front.url.as_str()), ("REJOIN_REST_TOKEN", REST_TOKEN)];
    let host =
        Host::start(edition, &[&store[..], &[("REJOIN_TOKEN", "all"), ("REJOIN_READ_TOKEN", "read")]].concat()).await?;
    let client = host.client();
    let (all, read) = ([("authorization", "Bearer all")], [("authorization", "Bearer read")]);
    for headers in [&[][..], &[("authorization", "Bearer wrong")], &[("authorization", "Basic all")]] {
        let refused = client.send("POST", "/v1/streams/s", headers, "{}").await?;
        assert_eq!(refused.problem(), (401, "unauthorized".to_owned()));
        ensure!(refused.header("www-authenticate").starts_with("Bearer"), "no challenge");
    }
    let refused = client.send("POST", "/v1/streams/s", &read, "{}").await?;
    assert_eq!(refused.problem(), (403, "insufficient_scope".to_owned()));
    client.send("POST", "/v1/streams/s", &all, "{}").await?.expect(201)?;
    let lines = answer(5).join("\n");
    client.send("POST", &events("s"), &all, lines.clone()).await?.expect(200)?;
    let mut reader = client.subscribe(&events("s"), &read).await?;
    assert_eq!(data(&reader.take(6).await?, 1)?.join("\n"), lines);
    client.send("POST", "/v1/streams/s/complete", &all, "{}").await?.expect(200)?;
    assert_eq!(reader.rest().await?.len(), 1);

    // A store that cannot be used is said to be one; the server over the same Redis has it all.
    let broken = [store[0], ("REJOIN_REST_TOKEN", "wrong"), ("REJOIN_STORE_WAIT", "100ms")];
    let broken = Host::start(edition, &broken).await?;
    assert_eq!(broken.client().get("/readyz").await?.problem(), (503, "store_unavailable".to_owned()));
    let nowhere = Host::start(edition, &[]).await?;
    assert_eq!(nowhere.client().get("/readyz").await?.problem(), (500, "misconfigured".to_owned()));
    let server = Replica::start(&redis.url(), &[]).await?;
    assert_eq!(server.client().follow("s", None).await?.rest().await?.len(), 7);
    Ok(())
}

async fn a_job_that_nobody_writes_to_ends_when_somebody_looks(edition: Edition) -> Result<()> {
    let edge = Edge::start_with(edition, 1, &[("REJOIN_JOB_IDLE", "3s"), ("REJOIN_KEEP_ALIVE", "200ms")]).await?;
    let client = edge.client(0);
    client.create("s", &json!({})).await?;
    let mut silent = client.follow("s", None).await?;
    silent.comment().await?;
    assert_eq!(silent.retry_ms, Some(1000));
    let job = until("the end", async || {
        let job = client.get("/v1/streams/s?content=false").await?.json();
        Ok((job["status"] == "error").then_some(job))
    });
    assert_eq!(job.await?["job"]["error"], json!("timed out"));
    let last = silent.rest().await?;
    assert_eq!((last.len(), last[0].event.as_deref()), (1, Some("error")));
    Ok(())
}

/// Not a measurement: a bound that a broken poll would miss by far. The figures are in guest/edge/README.md.
async fn what_is_appended_is_soon_at_a_silent_reader_and_silence_is_cheap(edition: Edition) -> Result<()> {
    steady(async || {
        let edge = Edge::start(edition, 2).await?;
        edge.client(0).create("s", &json!({})).await?;
        let mut reader = edge.client(1).follow("s", None).await?;
        let commands = || edge.redis.info("total_commands_processed");
        tokio::time::sleep(Duration::from_secs(4)).await;
        let before = (commands()?, Instant::now());
        tokio::time::sleep(Duration::from_secs(3)).await;
        let rate = (commands()? - before.0) / before.1.elapsed().as_secs_f64();
        ensure!(rate < 12.0, "{rate} commands a second for one silent reader");
        edge.client(0).append("s", &[delta("x")]).await?.expect(200)?;
        let acknowledged = Instant::now();
        reader.frame().await?;
        ensure!(acknowledged.elapsed() < Duration::from_secs(5), "{:?}", acknowledged.elapsed());
        let open: Value = edge.client(0).get("/healthz").await?.expect(200)?.json();
        assert_eq!(open["status"], "ok");
        Ok(())
    })
    .await
}

async fn comments_and_the_end_come_in_time_however_rarely_the_log_is_looked_at(edition: Edition) -> Result<()> {
    let times = [("REJOIN_KEEP_ALIVE", "200ms"), ("REJOIN_LIVE_MAX", "5s")];
    let edge = Edge::start_with(edition, 1, &[&RARELY[..], &times].concat()).await?;
    edge.client(0).create("s", &json!({})).await?;
    let mut reader = edge.client(0).follow("s", None).await?;
    reader.comment().await?;
    assert_eq!(reader.rest().await?, []);
    Ok(())
}
