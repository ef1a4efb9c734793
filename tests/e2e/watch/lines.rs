//! Log lines: one for each request, whole, with its figures, and without anything that is nobody's business.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rejoin_tests::answer;
use rejoin_tests::command::Program;
use rejoin_tests::wait::until;
use serde_json::{Value, json};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A producer and three readers: one stays to the end, one leaves, one is sent away by the shutdown. The log of it all.
async fn log_of_a_scenario(format: &str, folder: &Path) -> Result<String> {
    let path = folder.join(format!("{format}.log"));
    let mut program = Program::start_logging(&["--log-format", format], "rejoin=debug", File::create(&path)?).await?;
    let client = program.client();
    client.create("chat-1", &json!({"userId": "secret-user"})).await?;
    let mut stays = client.follow("chat-1", None).await?;
    let mut leaves = client.follow("chat-1", None).await?;
    let lines = answer(4);
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let headers = [
        ("content-type", "application/x-ndjson"),
        ("traceparent", parent.as_str()),
        ("authorization", "Bearer secret-token"),
        ("cookie", "secret-cookie"),
    ];
    let upload = client.upload("/v1/streams/chat-1/events?unknown=secret-query", &headers);
    upload.send(format!("{}\n", lines[0])).await?;
    stays.take(1).await?;
    leaves.take(1).await?;
    drop(leaves);
    upload.send(format!("{}\n{{\"event\":\"secret-payload\"}}\n", lines[1..].join("\n"))).await?;
    let answered = upload.finish().await?.expect(200)?;
    let told = answered.header("traceresponse");
    ensure!(told.starts_with(&format!("00-{TRACE}-")) && !told.contains("00f067aa0ba902b7"), "{told}");
    let refused = client.append("chat-1", &["secret, and no JSON"]).await?;
    ensure!(refused.status == 422 || refused.status == 400, "{}", refused.status);
    ensure!(refused.header("traceresponse").len() == 55, "{:?}", refused.headers);
    client.get("/secret-path").await?.expect(404)?;
    client.post("/v1/streams/chat-1/complete", &json!({})).await?.expect(200)?;
    stays.rest().await?;
    client.create("chat-2", &json!({})).await?;
    let mut sent_away = client.follow("chat-2", None).await?;
    sent_away.comment().await.ok();
    program.signal("TERM").await?;
    assert_eq!(sent_away.rest().await?, []);
    assert_eq!(program.end().await?, Some(0));
    let log =
        until("the log", async || Ok(std::fs::read_to_string(&path).ok().filter(|log| log.contains("shutdown: done"))));
    let log = log.await?;
    ensure!(!log.contains("secret"), "{log}");
    Ok(log)
}

/// The lines of one route, as objects.
fn of_route(log: &[Value], method: &str, route: &str) -> Vec<Value> {
    let is_it = |line: &&Value| line["message"] == "request" && line["method"] == method && line["route"] == route;
    log.iter().filter(is_it).cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_json_line_for_each_request_says_how_it_ended_and_what_it_brought() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = log_of_a_scenario("json", folder.path()).await?;
    let lines = log.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned()));
    let lines = lines.collect::<Result<Vec<Value>>>()?;
    for line in &lines {
        ensure!(line["timestamp"].is_string() && line["level"].is_string() && line["target"].is_string(), "{line}");
    }
    for line in lines.iter().filter(|line| line["message"] == "request") {
        assert_eq!(line["target"], "rejoin::request");
        ensure!(line["ms"].is_number() && line["status"].is_number() && line["bytes_out"].is_number(), "{line}");
        ensure!(line["trace"].as_str().is_some_and(|trace| trace.len() == 32), "{line}");
    }

    let created = of_route(&lines, "POST", "/v1/streams/{id}");
    assert_eq!(created.len(), 2);
    let generation = &created[0]["generation"];
    ensure!(generation.is_u64() && created[0]["status"] == 201 && created[0]["stream"] == "chat-1", "{}", created[0]);

    let appended = of_route(&lines, "POST", "/v1/streams/{id}/events");
    assert_eq!(appended.len(), 2, "{appended:?}");
    let (done, bad) = (&appended[0], &appended[1]);
    assert_eq!((&done["trace"], &done["records"], &done["generation"]), (&json!(TRACE), &json!(6), generation));
    ensure!(done["bytes_in"].as_u64().is_some_and(|bytes| bytes > 300) && done["ended"] == "finished", "{done}");
    ensure!(bad["code"].is_string() && bad["level"] == "INFO" && bad["status"].as_u64() >= Some(400), "{bad}");

    let read = of_route(&lines, "GET", "/v1/streams/{id}/events");
    let ended: Vec<_> = read.iter().map(|line| line["ended"].as_str().unwrap_or_default()).collect();
    assert_eq!(ended, ["client_left", "finished", "shutdown"], "{read:#?}");
    ensure!(read[0]["records"].as_u64() >= Some(1) && read[0]["generation"] == *generation, "{}", read[0]);
    assert_eq!(read[1]["records"], 7, "all of them and the end: {}", read[1]);
    ensure!(read[1]["bytes_out"].as_u64() > read[0]["bytes_out"].as_u64(), "{read:#?}");
    let begun = lines.iter().filter(|line| line["message"] == "response begins").count();
    assert_eq!(begun, 3, "at debug, one line when it begins");

    let unknown = of_route(&lines, "GET", "");
    assert_eq!((unknown.len(), &unknown[0]["status"], &unknown[0]["code"]), (1, &json!(404), &json!("unknown_path")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_line_has_the_same_for_people() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = log_of_a_scenario("text", folder.path()).await?;
    let of = |parts: &[&str]| log.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count();
    ensure!(!log.contains('\u{1b}'), "no colours in a file");
    assert_eq!(
        of(&["INFO rejoin::request: request method=POST", "route=\"/v1/streams/{id}\" ", "status=201"]),
        2,
        "{log}"
    );
    assert_eq!(
        of(&["rejoin::request: request method=GET", "stream=chat-1", "ended=\"finished\"", "records=7"]),
        1,
        "{log}"
    );
    assert_eq!(of(&["ended=\"client_left\""]), 1, "{log}");
    assert_eq!(of(&["method=POST", "records=6", TRACE]), 1, "{log}");
    Ok(())
}

/// An operator who does not want them says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_lines_can_be_switched_off() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log");
    let mut program = Program::start_logging(&[], "info,rejoin::request=warn", File::create(&path)?).await?;
    program.client().get("/healthz").await?.expect(200)?;
    program.signal("TERM").await?;
    assert_eq!(program.end().await?, Some(0));
    let log = std::fs::read_to_string(&path)?;
    ensure!(log.contains("shutdown: done") && !log.contains("/healthz"), "{log}");
    Ok(())
}
