//! The job table over HTTP: what may follow what, what is answered, listed and counted.

use anyhow::{Context, Result, bail, ensure};
use rejoin_tests::answer;
use rejoin_tests::client::{Answer, Client};
use rejoin_tests::server::Server;
use rejoin_tests::sse::Frame;
use serde_json::{Value, json};

const STATUSES: [&str; 5] = ["running", "requires_action", "complete", "error", "aborted"];
const COMMANDS: [&str; 6] = ["append", "complete", "fail", "abort", "pause", "resolve"];

async fn command(client: &Client, stream: &str, name: &str) -> Result<Answer> {
    let (path, body) = match name {
        "append" => ("events", json!({"event": "e"})),
        "complete" => ("complete", json!({})),
        "fail" => ("complete", json!({"error": "it broke"})),
        "abort" => ("abort", json!({})),
        "pause" => ("action", json!({"type": "request", "action": {"id": "a"}})),
        "resolve" => ("action", json!({"type": "resolve", "actionId": "a", "decision": true})),
        other => bail!("no command {other}"),
    };
    client.post(&format!("/v1/streams/{stream}/{path}"), &body).await
}

/// A stream whose job has this status.
async fn bring_to(client: &Client, stream: &str, status: &str) -> Result<()> {
    client.create(stream, &json!({"userId": "u"})).await?;
    let way = match status {
        "running" => return Ok(()),
        "requires_action" => "pause",
        "complete" => "complete",
        "error" => "fail",
        _ => "abort",
    };
    command(client, stream, way).await?.expect(200)?;
    Ok(())
}

/// What `command` makes of a job: its status afterwards, or the code of the refusal.
fn expected(status: &str, command: &str) -> Result<&'static str, &'static str> {
    match (status, command) {
        ("complete", "complete") => Ok("complete"),
        ("error", "fail") => Ok("error"),
        ("complete" | "error" | "aborted", "abort") => Err("already_settled"),
        ("complete" | "error" | "aborted", _) => Err("not_active"),
        (_, "fail") => Ok("error"),
        (_, "abort") => Ok("aborted"),
        ("requires_action", "append") => Ok("requires_action"),
        ("requires_action", "resolve") => Ok("running"),
        ("requires_action", _) => Err("requires_action"),
        (_, "append") => Ok("running"),
        (_, "complete") => Ok("complete"),
        (_, "pause") => Ok("requires_action"),
        (_, _) => Err("no_such_action"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_in_every_status_is_done_or_refused_by_the_table() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    for status in STATUSES {
        for name in COMMANDS {
            let stream = format!("{status}-{name}");
            bring_to(&client, &stream, status).await?;
            let before = client.log(&stream).await?;
            let answer = command(&client, &stream, name).await?;
            let after = match expected(status, name) {
                Ok(after) => {
                    answer.expect(200).with_context(|| format!("{name} in {status}"))?;
                    after
                }
                Err(code) => {
                    let problem = answer.refused(409, code).with_context(|| format!("{name} in {status}"))?;
                    if !matches!(code, "requires_action" | "no_such_action") {
                        ensure!(problem["jobStatus"] == status, "{name} in {status} does not say so: {problem}");
                    }
                    assert_eq!(client.log(&stream).await?, before, "{name} in {status} was refused");
                    status
                }
            };
            let state = client.state(&stream).await?;
            assert_eq!(state["status"], after, "{name} in {status}");
            let active = matches!(after, "running" | "requires_action");
            assert_eq!(state["active"], active, "{name} in {status}");
            assert_eq!(ends(&client, &stream, active).await?, usize::from(!active), "{name} in {status}");
        }
    }
    server.stop().await
}

/// How many terminal records a reader of the stream gets.
async fn ends(client: &Client, stream: &str, active: bool) -> Result<usize> {
    if active {
        let records = client.records(stream).await?;
        return Ok(records.iter().filter(|record| record.contains(r#""final":true"#)).count());
    }
    let frames = client.follow(stream, None).await?.rest().await?;
    Ok(frames.iter().filter(|frame| frame.is_terminal()).count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_end_changes_nothing() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    for (body, again) in [
        (json!({"finalEvent": {"first": 1}}), json!({"finalEvent": {"second": 2}})),
        (json!({"error": "first"}), json!({"error": "second"})),
    ] {
        client.create("s", &json!({"userId": "u"})).await?;
        let first = client.post("/v1/streams/s/complete", &body).await?.expect(200)?.json();
        let frames = client.follow("s", None).await?.rest().await?;
        let second = client.post("/v1/streams/s/complete", &again).await?.expect(200)?.json();
        assert_eq!(first, second);
        assert_eq!(client.follow("s", None).await?.rest().await?, frames);
        ensure!(frames.len() == 1 && !frames[0].data.contains("second"), "{frames:?}");
    }
    // A producer that writes the end itself, and says complete besides.
    client.create("s", &json!({"userId": "u"})).await?;
    client.append("s", &[r#"{"final":true,"title":"T"}"#]).await?.expect(200)?;
    client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    assert_eq!(client.records("s").await?, [r#"{"final":true,"title":"T"}"#]);
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_an_error_event_at_the_end_of_the_log() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let generation = client.create("s", &json!({"userId": "u"})).await?;
    let mut live = client.follow("s", None).await?;
    client.append("s", &answer(1)).await?.expect(200)?;
    let failed = client.post("/v1/streams/s/complete", &json!({"error": "out of \"luck\""})).await?.expect(200)?;
    assert_eq!(failed.json()["job"]["error"], "out of \"luck\"");
    let frames = live.rest().await?;
    let expected = Frame {
        id: Some(format!("{generation}-3")),
        event: Some("error".to_owned()),
        data: r#"{"error":"out of \"luck\""}"#.to_owned(),
    };
    assert_eq!(frames.last(), Some(&expected));
    assert_eq!(client.follow("s", Some(&format!("{generation}-2"))).await?.rest().await?, [expected]);
    server.stop().await
}

/// The shape is that of the system this one replaces: API.md section 3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_answers_and_records_what_there_is() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let generation = client.create("s", &json!({"userId": "u"})).await?;
    client.append("s", &answer(2)).await?.expect(200)?;
    let aborted = client.post("/v1/streams/s/abort", &json!({})).await?.expect(200)?.json();
    let content = json!([{"type": "text", "text": "w0 w1 "}]);
    assert_eq!((&aborted["success"], &aborted["text"]), (&json!(true), &json!("w0 w1")));
    assert_eq!((&aborted["content"], &aborted["job"]["status"]), (&content, &json!("aborted")));
    let message = json!({
        "messageId": "aborted_", "parentMessageId": null, "conversationId": null, "content": content, "text": "w0 w1",
        "sender": "AI", "unfinished": true, "error": false, "isCreatedByUser": false
    });
    let event = json!({
        "final": true, "aborted": true, "conversation": {"conversationId": null}, "title": "New Chat",
        "requestMessage": null, "responseMessage": message
    });
    assert_eq!(aborted["finalEvent"], event);
    let frames = client.follow("s", Some(&format!("{generation}-3"))).await?.rest().await?;
    assert_eq!(frames.iter().map(Frame::json).collect::<Vec<_>>(), [event]);

    client.create("s", &json!({"userId": "u", "sender": "Claude", "endpoint": "anthropic"})).await?;
    let created = json!({"created": true, "message": {
        "messageId": "m1", "parentMessageId": "m0", "conversationId": "c1", "text": "hi"
    }});
    client.append("s", &[created.to_string()]).await?.expect(200)?;
    let event = client.post("/v1/streams/s/abort", &json!({})).await?.expect(200)?.json()["finalEvent"].take();
    assert_eq!(event["conversation"]["conversationId"], "c1");
    assert_eq!(event["requestMessage"]["messageId"], "m1");
    let response = &event["responseMessage"];
    assert_eq!((&response["messageId"], &response["parentMessageId"]), (&json!("m1_"), &json!("m1")));
    assert_eq!((&response["sender"], &response["endpoint"]), (&json!("Claude"), &json!("anthropic")));
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_is_written_shown_and_removed_and_never_a_status() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({"userId": "u", "model": "m0"})).await?;
    let patch = async |body: &Value| {
        client.send("PATCH", "/v1/streams/s", &[("content-type", "application/json")], body.to_string()).await
    };
    let fields = json!({
        "conversationId": "c", "responseMessageId": "r", "sender": "S", "endpoint": "e", "iconURL": "i", "model": "m1",
        "promptTokens": 7, "userMessage": {"text": "hi", "n": 1.0}
    });
    patch(&fields).await?.expect(200)?;
    let job = client.state("s").await?["job"].take();
    for (name, value) in fields.as_object().context("an object")? {
        assert_eq!(&job[name], value, "{name}");
    }
    let resume = client.get("/v1/streams/s/resume").await?.expect(200)?.json();
    for name in ["conversationId", "responseMessageId", "sender", "userMessage"] {
        assert_eq!(resume[name], fields[name], "{name}");
    }
    patch(&json!({"sender": null})).await?.expect(200)?;
    assert_eq!(client.state("s").await?["job"]["sender"], Value::Null);
    for bad in
        [json!({"status": "complete"}), json!({"colour": "red"}), json!({"model": 5}), json!({"model": "m", "x": 1})]
    {
        patch(&bad).await?.refused(422, "invalid_request")?;
    }
    let state = client.state("s").await?;
    assert_eq!((&state["status"], &state["job"]["model"]), (&json!("running"), &json!("m1")));
    assert_eq!(client.log("s").await?.len(), 0, "metadata are no records");
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_job_is_aborted_first_and_then_unknown() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let generation = client.create("s", &json!({"userId": "u"})).await?;
    client.append("s", &answer(1)).await?.expect(200)?;
    let mut live = client.follow("s", None).await?;
    live.take(2).await?;
    let mut producer = client.subscribe("/v1/streams/s/signals", &[]).await?;
    client.send("DELETE", "/v1/streams/s", &[], "").await?.expect(204)?;
    let rest = live.rest().await?;
    ensure!(rest.len() == 1 && rest[0].json()["aborted"] == true, "{rest:?}");
    assert_eq!(rest[0].id, Some(format!("{generation}-3")));
    let signals = producer.rest().await?;
    let last = signals.last().context("a signal")?.json();
    assert_eq!((&last["signal"], &last["generation"]), (&json!("abort"), &json!(generation)));

    client.get("/v1/streams/s").await?.refused(404, "not_found")?;
    client.append("s", &answer(0)).await?.refused(404, "not_found")?;
    client.send("DELETE", "/v1/streams/s", &[], "").await?.refused(404, "not_found")?;
    for name in COMMANDS {
        command(&client, "s", name).await?.refused(404, "not_found")?;
    }
    let again = client.create("s", &json!({"userId": "another"})).await?;
    ensure!(again > generation, "{again} after {generation}: an old cursor must not fit");
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_five_statuses_are_counted_exactly() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    for (status, count) in STATUSES.into_iter().zip(1..) {
        for n in 0..count {
            bring_to(&client, &format!("{status}-{n}"), status).await?;
        }
    }
    let _readers = [client.follow("running-0", None).await?, client.follow("requires_action-0", None).await?];
    let stats = client.get("/v1/stats").await?.expect(200)?.json();
    let jobs = json!({"running": 1, "requires_action": 2, "complete": 3, "error": 4, "aborted": 5});
    assert_eq!((&stats["jobs"], &stats["subscribers"], &stats["store"]), (&jobs, &json!(2), &json!("memory")));
    // Replaced, forgotten, continued: each leaves the count it stood in.
    client.create("complete-0", &json!({"userId": "u"})).await?;
    client.send("DELETE", "/v1/streams/error-0", &[], "").await?.expect(204)?;
    client.send("DELETE", "/v1/streams/requires_action-1", &[], "").await?.expect(204)?;
    command(&client, "requires_action-0", "resolve").await?.expect(200)?;
    command(&client, "aborted-0", "complete").await?.refused(409, "not_active")?;
    let jobs = json!({"running": 3, "requires_action": 0, "complete": 2, "error": 3, "aborted": 5});
    assert_eq!(client.get("/v1/stats").await?.json()["jobs"], jobs);
    server.stop().await
}

async fn page(client: &Client, query: &str) -> Result<(Vec<String>, Option<String>)> {
    let page = client.get(&format!("/v1/streams?{query}")).await?.expect(200)?.json();
    let streams = page["streams"].as_array().context("streams")?;
    let names = streams.iter().map(|job| job["streamId"].as_str().unwrap_or_default().to_owned());
    Ok((names.collect(), page["next"].as_str().map(str::to_owned)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_listed_newest_first_by_user_and_status_in_pages() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let mut created = Vec::new();
    for n in 0..30 {
        let (stream, user) = (format!("s{n}"), format!("u{}", n % 3));
        let job = client.post(&format!("/v1/streams/{stream}"), &json!({"userId": user})).await?.expect(201)?.json();
        let at = job["job"]["createdAt"].as_u64().context("createdAt")?;
        if n % 2 == 0 {
            command(&client, &stream, "complete").await?.expect(200)?;
        }
        created.push((at, stream, n));
    }
    created.sort_by(|one, other| other.cmp(one));
    let wanted = |fits: &dyn Fn(usize) -> bool| -> Vec<String> {
        created.iter().filter(|(_, _, n)| fits(*n)).map(|(_, stream, _)| stream.clone()).collect()
    };
    for (query, wanted) in [
        ("", wanted(&|_| true)),
        ("userId=u1", wanted(&|n| n % 3 == 1)),
        ("status=complete", wanted(&|n| n % 2 == 0)),
        ("status=running&userId=u2", wanted(&|n| n % 2 == 1 && n % 3 == 2)),
        ("status=aborted", vec![]),
        ("userId=nobody", vec![]),
    ] {
        for limit in [1, 4, 30, 1000] {
            let (mut all, mut after) = (Vec::new(), String::new());
            loop {
                let (names, next) = page(&client, &format!("{query}&limit={limit}{after}")).await?;
                ensure!(names.len() <= limit, "{} in a page of {limit}", names.len());
                all.extend(names);
                match next {
                    Some(next) => after = format!("&after={next}"),
                    None => break,
                }
            }
            assert_eq!(all, wanted, "{query} limit {limit}");
        }
    }
    for bad in ["status=finished", "limit=0", "limit=1001", "after=x"] {
        client.get(&format!("/v1/streams?{bad}")).await?.refused(400, "invalid_query")?;
    }
    server.stop().await
}
