//! The API document against the server that serves it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rejoin_tests::browser::Browser;
use rejoin_tests::client::Client;
use rejoin_tests::foreign;
use rejoin_tests::server::Server;
use rejoin_tests::sse::{Frame, Sse};
use rejoin_tests::{answer, root};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const EVENTS: &str = "/v1/streams/{id}/events";
const SIGNALS: &str = "/v1/streams/{id}/signals";
/// Requests that schemathesis makes of each operation when it guesses, beside examples and edges.
const EXAMPLES: &str = "20";
const SEED: &str = "20261122";

/// A program of the Python that `cargo xtask test` prepared.
fn python(program: &str) -> Result<PathBuf> {
    let path = root().join("target/tools/schemathesis/bin").join(program);
    ensure!(path.exists(), "no {}: `cargo xtask test openapi` installs it", path.display());
    Ok(path)
}

async fn document(client: &Client) -> Result<Value> {
    Ok(client.get("/openapi.json").await?.expect(200)?.json())
}

#[tokio::test]
async fn the_document_is_sent_once_and_then_only_when_it_has_changed() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let first = client.get("/openapi.json").await?.expect(200)?;
    assert_eq!(
        (&first.headers["content-type"], &first.headers["cache-control"]),
        (&"application/json".parse()?, &"no-cache".parse()?)
    );
    assert_eq!(first.json()["info"]["version"], env!("CARGO_PKG_VERSION"));
    let etag = first.headers["etag"].to_str()?.to_owned();
    let again = client.send("GET", "/openapi.json", &[("if-none-match", &etag)], "").await?.expect(304)?;
    assert!(again.body.is_empty() && again.headers["etag"] == etag.as_str());
    let head = client.send("HEAD", "/openapi.json", &[], "").await?.expect(200)?;
    assert_eq!(head.headers["content-length"], first.body.len().to_string().as_str());
    assert_eq!(client.send("POST", "/openapi.json", &[], "").await?.problem(), (405, "method_not_allowed".into()));
    Ok(())
}

#[tokio::test]
async fn the_page_shows_every_operation_and_takes_nothing_from_elsewhere() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let document = document(&client).await?;
    let paths = document["paths"].as_object().context("paths")?;
    let methods = ["get", "head", "post", "put", "patch", "delete"];
    let operations: usize =
        paths.values().map(|path| methods.iter().filter(|method| path.get(**method).is_some()).count()).sum();
    let page = client.get("/inspector/api").await?.expect(200)?;
    assert!(page.headers["content-security-policy"].to_str()?.starts_with("default-src 'none'"));
    let mut browser = Browser::open(&format!("http://{}/inspector/api#abortGeneration", server.address)).await?;
    browser.until("document.querySelectorAll('main > details').length > 20").await?;
    let shown = browser.value("document.querySelectorAll('main > details:not([id^=schema-])').length").await?;
    assert_eq!(shown, operations);
    let open = "[...document.querySelectorAll('details[open]')].map((one) => one.id).join()";
    assert_eq!(browser.value(open).await?, "abortGeneration", "the address names what is open");
    let filter = "filter.value = 'cursor_gone'; filter.dispatchEvent(new Event('input')); [...document.querySelectorAll('main > details:not([hidden])')].map((one) => one.id).join()";
    assert_eq!(browser.value(filter).await?, "readRecords", "found by an error code");
    browser.value("document.documentElement.style.width = '320px'").await?;
    assert_eq!(browser.value("document.documentElement.scrollWidth <= Math.max(320, innerWidth)").await?, true);
    assert_eq!(browser.complaints, Vec::<String>::new());
    Ok(())
}

/// Frames of one live answer, as `frames.py` wants them.
fn frames(path: &str, frames: &[Frame]) -> Vec<Value> {
    let frame = |frame: &Frame| json!({"path": path, "id": frame.id, "event": frame.event, "data": frame.json()});
    frames.iter().map(frame).collect()
}

/// Every kind of frame that there is, from a real server.
async fn every_frame(client: &Client) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    let mut take = |path: &str, found: Vec<Frame>| all.extend(frames(path, &found));
    let signals = async |stream: &str| client.subscribe(&format!("/v1/streams/{stream}/signals"), &[]).await;
    let resumed = async |stream: &str| client.subscribe(&format!("/v1/streams/{stream}/events?resume=true"), &[]).await;
    let settle = async |stream: &str, what: &str, body: Value| -> Result<()> {
        client.post(&format!("/v1/streams/{stream}/{what}"), &body).await?.expect(200).map(drop)
    };

    client.create("well", &json!({"userId": "u", "userMessage": {"messageId": "m", "text": "hi"}})).await?;
    client.append("well", &answer(3)).await?.expect(200)?;
    let mut producer: Sse = signals("well").await?;
    let mut reader = client.follow("well", None).await?;
    take(EVENTS, reader.take(4).await?);
    take(SIGNALS, producer.take(1).await?);
    drop(reader);
    take(SIGNALS, producer.take(1).await?);
    settle("well", "action", json!({"type": "request", "action": {"id": "a"}})).await?;
    settle("well", "action", json!({"type": "resolve", "actionId": "a", "decision": {"yes": true}})).await?;
    take(SIGNALS, producer.take(1).await?);
    take(EVENTS, resumed("well").await?.take(1).await?);
    settle("well", "complete", json!({})).await?;
    let rest = producer.rest().await?;
    take(SIGNALS, rest);
    take(EVENTS, client.follow("well", None).await?.rest().await?);
    let beyond = client.follow("well", Some("1-1")).await?.rest().await?;
    ensure!(beyond[0].json()["reset"] == true, "{beyond:?}");
    take(EVENTS, beyond);

    client.create("badly", &json!({})).await?;
    settle("badly", "complete", json!({"error": "no answer"})).await?;
    take(EVENTS, client.follow("badly", None).await?.rest().await?);
    take(SIGNALS, signals("badly").await?.rest().await?);

    client.create("stopped", &json!({})).await?;
    settle("stopped", "abort", json!({})).await?;
    take(EVENTS, client.follow("stopped", None).await?.rest().await?);
    take(SIGNALS, signals("stopped").await?.rest().await?);

    client.create("taken", &json!({})).await?;
    client.append("taken", &answer(1)).await?.expect(200)?;
    let (mut reader, mut producer) = (client.follow("taken", None).await?, signals("taken").await?);
    take(EVENTS, reader.take(2).await?);
    client.create("taken", &json!({})).await?;
    take(EVENTS, reader.rest().await?);
    take(SIGNALS, producer.rest().await?);
    Ok(all)
}

#[tokio::test]
async fn every_kind_of_frame_is_sent_as_its_schema_says() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let document = document(&client).await?;
    let frames = every_frame(&client).await?;
    let mut wanted = BTreeSet::new();
    for path in [EVENTS, SIGNALS] {
        let kinds = &document["paths"][path]["get"]["responses"]["200"]["content"]["text/event-stream"]["x-frames"];
        wanted.extend(kinds.as_object().context("x-frames")?.keys().map(|kind| format!("{path} {kind}")));
    }
    let mut check = Command::new(python("python")?);
    check
        .arg(root().join("tests/e2e/openapi/frames.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut check = check.kill_on_drop(true).spawn()?;
    let given = json!({"document": document, "frames": frames}).to_string();
    check.stdin.take().context("stdin")?.write_all(given.as_bytes()).await?;
    let output = check.wait_with_output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen = String::from_utf8(output.stdout)?;
    assert_eq!(seen.lines().map(str::to_owned).collect::<BTreeSet<_>>(), wanted);
    Ok(())
}

/// Ends what runs, so that no live answer stays open, and keeps two streams that requests can be about: `chat-1`, which
/// runs for a moment again and again, and `done-1`, which has ended.
async fn keep_house(client: Client) -> Result<()> {
    loop {
        for stream in client.get("/v1/streams?status=running&limit=1000").await?.json()["streams"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let name: String =
                stream["streamId"].as_str().unwrap_or_default().bytes().map(|byte| format!("%{byte:02X}")).collect();
            client.post(&format!("/v1/streams/{name}/abort?retention=60"), &json!({})).await?;
        }
        for stream in ["chat-1", "done-1"] {
            if client.post(&format!("/v1/streams/{stream}"), &json!({"userId": "u1"})).await?.status == 201 {
                client.append(stream, &answer(3)).await?;
                client.send("PUT", &format!("/v1/streams/{stream}/groups/indexer"), &[], "").await?;
            }
        }
        client.post("/v1/streams/done-1/complete", &json!({})).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_answers_as_the_document_says_whatever_is_asked() -> Result<()> {
    let program = python("schemathesis")?;
    let server = Server::start_with(|config| config.job_idle = Duration::from_secs(1)).await?;
    let house = tokio::spawn(keep_house(server.client()));
    let folder = root().join("target/tmp/schemathesis");
    std::fs::create_dir_all(&folder)?;
    let mut run = Command::new(program);
    run.current_dir(&folder)
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", root().join("tests/e2e/openapi"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["run", &format!("http://{}/openapi.json", server.address), "--workers=1"])
        .args(["--phases=examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", SEED])
        .args(["--generation-deterministic", "--no-shrink", "--no-color"])
        .args(["--request-timeout=10", "--suppress-health-check=all", "--warnings=off", "--continue-on-failure"])
        .arg("--checks=not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,frame_conformance");
    let (status, said) = foreign::run(&mut run, Duration::from_secs(240)).await.context("schemathesis")?;
    ensure!(!house.is_finished(), "the house was left");
    house.abort();
    println!("{said}");
    ensure!(status.success(), "schemathesis: {status}\n{said}");
    Ok(())
}
