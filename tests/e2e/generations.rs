//! A stream is reused for every turn: what a new generation does to the readers and producers of the one before.

use anyhow::{Context, Result, ensure};
use rejoin_tests::answer;
use rejoin_tests::client::Client;
use rejoin_tests::server::Server;
use rejoin_tests::wait::soon;
use serde_json::{Value, json};

const EVENTS: &str = "/v1/streams/s/events";
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

async fn create(client: &Client) -> Result<u64> {
    client.create("s", &json!({"userId": "u"})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generations_of_a_stream_strictly_grow_within_one_millisecond_too() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let mut last = 0;
    for _ in 0..200 {
        let generation = create(&client).await?;
        ensure!(generation > last, "{generation} after {last}");
        last = generation;
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_removed_and_made_again_at_once_never_has_the_same_generation() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let mut last = create(&client).await?;
    for _ in 0..100 {
        client.send("DELETE", "/v1/streams/s", &[], "").await?.expect(204)?;
        let generation = create(&client).await?;
        ensure!(generation > last, "{generation} after {last}");
        last = generation;
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_a_replaced_generation_is_told_and_let_go() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    create(&client).await?;
    let mut from_the_start = client.follow("s", None).await?;
    client.append("s", &answer(2)).await?.expect(200)?;
    let mut resumed = client.subscribe(&format!("{EVENTS}?resume=true"), &[]).await?;
    assert_eq!(from_the_start.take(3).await?.len(), 3);
    resumed.frame().await?;

    let new = create(&client).await?;
    for reader in [&mut from_the_start, &mut resumed] {
        let rest = reader.rest().await?;
        let expected = json!({
            "final": true, "reconcile": true, "reconcileReason": "generation_replaced", "generation": new
        });
        ensure!(rest.len() == 1 && rest[0].json() == expected, "{rest:?}");
        // A client that kept an id from here would skip records of the new generation.
        ensure!(rest[0].id.is_none(), "{rest:?}");
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_that_names_its_generation_is_refused_everything() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let old = create(&client).await?;
    client.append("s", &answer(2)).await?.expect(200)?;
    let new = create(&client).await?;
    client.append("s", &answer(0)).await?.expect(200)?;
    let before = client.log("s").await?;

    let fenced = |path: &str| format!("/v1/streams/s/{path}?generation={old}");
    let action = json!({"type": "request", "action": {"id": "a"}});
    let resolve = json!({"type": "resolve", "actionId": "a", "decision": 1});
    for (path, body) in [
        (fenced("events"), json!({"event": "late"})),
        (fenced("events"), json!([{"final": true}])),
        (fenced("complete"), json!({})),
        (fenced("complete"), json!({"error": "late"})),
        (fenced("abort"), json!({})),
        (fenced("action"), action),
        (fenced("action"), resolve),
        ("/v1/streams/s/complete".to_owned(), json!({"generation": old})),
        ("/v1/streams/s/abort".to_owned(), json!({"generation": old})),
    ] {
        let problem = client.post(&path, &body).await?.refused(409, "generation_replaced")?;
        ensure!(problem["generation"] == new, "{path}: {problem}");
    }
    let early = client.post(&format!("{EVENTS}?generation={}", new + 1), &json!({"event": "early"})).await?;
    ensure!(early.refused(409, "generation_mismatch")?["generation"] == new);
    assert_eq!(client.log("s").await?, before, "nothing of it is in the log");
    assert_eq!(client.state("s").await?["status"], "running");
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_whose_body_is_open_is_refused_and_told_what_was_kept() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    for path in [EVENTS.to_owned(), format!("{EVENTS}?generation=")] {
        let old = create(&client).await?;
        let path = if path.ends_with('=') { format!("{path}{old}") } else { path };
        let mut live = client.follow("s", None).await?;
        let upload = client.upload(&path, &[NDJSON]);
        let lines = answer(2);
        upload.send(format!("{}\n{}\n", lines[0], lines[1])).await?;
        live.take(2).await?;

        let new = create(&client).await?;
        let mut reader = client.follow("s", None).await?;
        upload.send(format!("{}\n", lines[2])).await?;
        let problem = soon("an answer before the end of the body", upload.answer()).await??;
        let problem = problem.refused(409, "generation_replaced")?;
        assert_eq!(problem["generation"], new, "{path}");
        assert_eq!((&problem["appended"], &problem["line"]), (&json!(2), &json!(3)), "{path}");
        assert_eq!(problem["last"], format!("{old}-2"), "{path}");

        client.append("s", &[r#"{"mine":true}"#]).await?.expect(200)?;
        assert_eq!(reader.frame().await?.data, r#"{"mine":true}"#, "{path}: nothing of the zombie came before");
        assert_eq!(client.records("s").await?, [r#"{"mine":true}"#], "{path}");
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_is_not_of_this_log_is_answered_with_the_present_state() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let old = create(&client).await?;
    client.append("s", &answer(9)).await?.expect(200)?;
    let new = create(&client).await?;
    let lines = answer(3);
    client.append("s", &lines[..3]).await?.expect(200)?;
    let state = client.get("/v1/streams/s/resume").await?.expect(200)?.json();
    assert_eq!(state["cursor"], format!("{new}-3"));
    assert_eq!(state["aggregatedContent"], json!([{"type": "text", "text": "w0 w1 "}]));

    let cursors = [format!("{old}-2"), format!("{old}-10"), format!("{old}-0"), format!("{new}-99"), "1-1".to_owned()];
    let mut readers = Vec::new();
    for cursor in &cursors {
        let mut reader = client.follow("s", Some(cursor)).await?;
        let sync = reader.frame().await?;
        let json = sync.json();
        assert_eq!(sync.id, Some(format!("{new}-3")), "{cursor}");
        assert_eq!((&json["sync"], &json["reset"]), (&json!(true), &json!(true)), "{cursor}");
        assert_eq!(json["generation"], new, "{cursor}");
        for member in ["runSteps", "aggregatedContent"] {
            assert_eq!(json["resumeState"][member], state[member], "{cursor}");
        }
        readers.push(reader);
        client
            .send("GET", &format!("{EVENTS}?after={cursor}"), &[("accept", "application/json")], "")
            .await?
            .refused(410, "cursor_gone")?;
    }
    // Who is in time is not reset, and a plain resume is none.
    let mut resumed = client.subscribe(&format!("{EVENTS}?resume=true"), &[]).await?;
    assert_eq!(resumed.frame().await?.json()["reset"], Value::Null);
    readers.push(resumed);
    readers.push(client.follow("s", Some(&format!("{new}-3"))).await?);
    client.append("s", &lines[3..]).await?.expect(200)?;
    client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    for mut reader in readers {
        let rest = reader.rest().await?;
        let ids: Vec<_> = rest.iter().map(|frame| frame.id.as_deref().unwrap_or_default()).collect();
        assert_eq!(ids, [format!("{new}-4"), format!("{new}-5")]);
        assert_eq!(rest[0].data, lines[3]);
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_cursor_on_a_finished_generation_gets_the_state_and_the_end() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let old = create(&client).await?;
    client.append("s", &answer(1)).await?.expect(200)?;
    client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    let new = create(&client).await?;
    client.append("s", &answer(4)).await?.expect(200)?;
    client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    // 3 was the terminal record of the old generation: no reason for 204 on the new one.
    let frames = client.follow("s", Some(&format!("{old}-3"))).await?.rest().await?;
    let [sync, end] = &frames[..] else { anyhow::bail!("{frames:?}") };
    assert_eq!((sync.id.as_deref(), sync.json()["reset"] == true), (Some(&*format!("{new}-5")), true));
    assert_eq!((end.id.as_deref(), end.is_terminal()), (Some(&*format!("{new}-6")), true));
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_generation_inherits_nothing() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let metadata = json!({"userId": "u", "conversationId": "c", "sender": "Claude", "responseMessageId": "r"});
    client.create("s", &metadata).await?;
    client.append("s", &answer(2)).await?.expect(200)?;
    let created = r#"{"created":true,"message":{"messageId":"m","text":"hi"}}"#;
    client.append("s", &[created]).await?.expect(200)?;
    client.post("/v1/streams/s/action", &json!({"type": "request", "action": {"id": "a"}})).await?.expect(200)?;

    let new = create(&client).await?;
    let state = client.state("s").await?;
    assert_eq!((&state["status"], &state["content"]), (&json!("running"), &json!([])));
    assert_eq!((&state["cursor"], client.log("s").await?.len()), (&json!(format!("{new}-0")), 0));
    for field in ["conversationId", "sender", "responseMessageId", "userMessage", "pendingAction", "completedAt"] {
        assert_eq!(state["job"][field], Value::Null, "{field}");
    }
    let resume = client.get("/v1/streams/s/resume").await?.expect(200)?.json();
    assert_eq!(
        resume,
        json!({
            "cursor": format!("{new}-0"), "generation": new, "runSteps": [], "aggregatedContent": []
        })
    );
    let stats = client.get("/v1/stats").await?.json();
    let sum: u64 = stats["jobs"].as_object().context("jobs")?.values().filter_map(Value::as_u64).sum();
    assert_eq!((sum, &stats["jobs"]["running"]), (1, &json!(1)), "the replaced job is counted no more");
    server.stop().await
}
