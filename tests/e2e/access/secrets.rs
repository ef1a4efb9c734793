//! What is never written down.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use rejoin_tests::client::Client;
use rejoin_tests::command::program;
use rejoin_tests::token::{SECRET, Signer, claims, sign, token};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use super::{ALL, file};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_tickets_and_keys_are_in_no_log_line() -> Result<()> {
    let key = file(SECRET)?;
    let mut child = Command::new(tokio::task::block_in_place(program)?)
        .args(["--listen", "127.0.0.1:0", "--auth-key-file"])
        .arg(key.path())
        // All of it: what hyper and h2 say of a request, too.
        .env("RUST_LOG", "trace")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut log = child.stderr.take().context("stderr")?;
    let reading = tokio::spawn(async move {
        let mut text = String::new();
        log.read_to_string(&mut text).await.map(|_| text)
    });
    let mut lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
    let first = rejoin_tests::wait::soon("a greeting", lines.next_line()).await??.context("a greeting")?;
    let address = first.split_once("http://").context("an address")?.1.trim().parse()?;
    let client = Client::new(address);

    let good = token("ann", ALL);
    let bad = sign(&json!({"alg": "HS256"}), &claims("ann", ALL, &json!({})), &Signer::Secret(&[3; 40]));
    let bearer = format!("Bearer {good}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    client.send("POST", "/v1/streams/visible", &headers, "{}").await?.expect(201)?;
    client.send("POST", "/v1/streams/visible/complete", &headers, "{}").await?.expect(200)?;
    let answer = client.send("POST", "/v1/streams/visible/tickets", &headers, "").await?.expect(201)?.json();
    let ticket = answer["ticket"].as_str().context("a ticket")?.to_owned();
    for (status, with) in [(200, &ticket), (401, &ticket), (401, &good)] {
        let path = format!("/v1/streams/visible/events?ticket={with}");
        client.send("GET", &path, &[("accept", "text/event-stream")], "").await?.expect(status)?;
    }
    for wrong in [format!("Bearer {bad}"), bad.clone(), format!("Basic {good}")] {
        client.send("GET", "/v1/streams/visible", &[("authorization", &wrong)], "").await?.expect(401)?;
    }
    std::fs::write(key.path(), format!("{SECRET}!\n"))?;
    rejoin_tests::wait::until("the other key", async || {
        Ok((client.send("GET", "/v1/streams", &headers, "").await?.status == 401).then_some(()))
    })
    .await?;

    child.start_kill()?;
    let text = rejoin_tests::wait::soon("the log", reading).await???;
    ensure!(text.contains("/v1/streams/{id}/events"), "this log says nothing: {text}");
    // The ends of the tokens are enough to know them by; their beginnings are the same in all of them.
    for secret in [&good, &bad, &ticket].map(|secret| &secret[secret.len() - 30..]).into_iter().chain([SECRET]) {
        let told: Vec<_> = text.lines().filter(|line| line.contains(secret)).collect();
        ensure!(told.is_empty(), "{told:#?}");
    }
    Ok(())
}
