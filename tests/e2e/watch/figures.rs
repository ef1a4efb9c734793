//! `/metrics`: after what is known to have happened it says exactly that, and nothing about whom.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::header::AUTHORIZATION;
use rejoin::metrics::{Metrics, Now};
use rejoin_tests::client::Client;
use rejoin_tests::command::Program;
use rejoin_tests::redis;
use rejoin_tests::replica::Replica;
use rejoin_tests::server::Server;
use rejoin_tests::steady::steady;
use rejoin_tests::wait::{all, until};
use rejoin_tests::{answer, root};
use serde_json::json;

use super::Figures;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_figures_after_a_known_scenario_are_exactly_these() -> Result<()> {
    let server = Server::start_with(|config| config.session_idle = Duration::from_secs(600)).await?;
    let client = server.client();
    let lines = answer(9);
    let generation = client.create("s", &json!({"userId": "u"})).await?;
    let mut readers = vec![client.follow("s", None).await?, client.follow("s", None).await?];
    for batch in [&lines[..4], &lines[4..7], &lines[7..]] {
        client.append("s", batch).await?.expect(200)?;
    }
    for reader in &mut readers {
        reader.take(10).await?;
    }
    readers.push(client.follow("s", Some(&format!("{generation}-8"))).await?);
    readers[2].take(2).await?;
    readers.push(client.subscribe("/v1/streams/s/events?resume=true", &[]).await?);
    assert_eq!(readers[3].frame().await?.json()["sync"], true);

    let stored: usize = lines.iter().map(|line| line.len() + 1).sum();
    let figures = Figures::of(&client).await?;
    figures.expect(&[
        ("rejoin_generations_total", 1.0),
        ("rejoin_appended_records_total", 10.0),
        ("rejoin_appended_bytes_total", stored as f64),
        ("rejoin_append_seconds_count", 3.0),
        ("rejoin_append_records_count", 3.0),
        ("rejoin_append_records_bucket{le=\"2.0\"}", 0.0),
        ("rejoin_append_records_bucket{le=\"4.0\"}", 3.0),
        ("rejoin_append_records_sum", 10.0),
        ("rejoin_delivered_records_total", 22.0),
        ("rejoin_resumes_total{kind=\"start\"}", 2.0),
        ("rejoin_resumes_total{kind=\"cursor\"}", 1.0),
        ("rejoin_resumes_total{kind=\"snapshot\"}", 1.0),
        ("rejoin_resumes_total{kind=\"reset\"}", 0.0),
        ("rejoin_subscribers", 4.0),
        ("rejoin_listeners", 0.0),
        ("rejoin_sessions", 1.0),
        ("rejoin_sessions_opened_total", 1.0),
        ("rejoin_sessions_dropped_total", 0.0),
        ("rejoin_sessions_rescued_total", 0.0),
        ("rejoin_instance_start_seconds_count", 1.0),
        ("rejoin_jobs{status=\"running\"}", 1.0),
        ("rejoin_store_up", 1.0),
        ("rejoin_aborts_total", 0.0),
        ("rejoin_component_traps_total", 0.0),
    ])?;

    // One refusal, one reset, one abort, which every reader gets as one more record.
    let refused = client.post("/v1/streams/s", &json!({"userId": "u", "ifActive": "reject"})).await?;
    refused.refused(409, "already_active")?;
    let mut reset = client.follow("s", Some("1-1")).await?;
    assert_eq!(reset.frame().await?.json()["reset"], true);
    readers.push(reset);
    client.post("/v1/streams/s/abort", &json!({})).await?.expect(200)?;
    for mut reader in readers {
        assert_eq!(reader.rest().await?.len(), 1);
    }
    client.get("/v1/streams/nothing").await?.refused(404, "not_found")?;
    let figures = until("the readers are gone", async || {
        let figures = Figures::of(&client).await?;
        Ok((figures.value("rejoin_subscribers")? == 0.0).then_some(figures))
    });
    figures.await?.expect(&[
        ("rejoin_appended_records_total", 11.0),
        ("rejoin_append_seconds_count", 4.0),
        ("rejoin_delivered_records_total", 27.0),
        ("rejoin_resumes_total{kind=\"reset\"}", 1.0),
        ("rejoin_refusals_total{reason=\"already_active\"}", 1.0),
        ("rejoin_refusals_total{reason=\"not_found\"}", 0.0),
        ("rejoin_http_problems_total{code=\"already_active\"}", 1.0),
        ("rejoin_http_problems_total{code=\"not_found\"}", 1.0),
        ("rejoin_http_requests_total{route=\"/v1/streams/{id}/abort\",status=\"2xx\"}", 1.0),
        ("rejoin_http_requests_total{route=\"/v1/streams/{id}\",status=\"4xx\"}", 2.0),
        ("rejoin_aborts_total", 1.0),
        ("rejoin_settled_total{status=\"aborted\"}", 1.0),
        ("rejoin_settled_total{status=\"complete\"}", 0.0),
        ("rejoin_jobs{status=\"running\"}", 0.0),
        ("rejoin_jobs{status=\"aborted\"}", 1.0),
        ("rejoin_store_errors_total{kind=\"unavailable\"}", 0.0),
    ])?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_and_users_are_no_more_series_and_no_name_is_in_them() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let one = async |client: Client, n: usize| -> Result<()> {
        let (stream, user) = (format!("secret-stream-{n}"), format!("secret-user-{n}"));
        let path = format!("/v1/streams/{stream}?token=secret-token-{n}");
        let headers = [("content-type", "application/json"), (AUTHORIZATION.as_str(), "Bearer secret-token")];
        let answer = client.send("POST", &path, &headers, json!({"userId": user}).to_string()).await?;
        ensure!([201, 400].contains(&answer.status), "{}", answer.status);
        client.get(&format!("/v1/streams/{stream}/secret-path-{n}")).await?.expect(404)?;
        client.get(&format!("/v1/streams/{stream}/events?after=secret-cursor")).await?.expect(400)?;
        Ok(())
    };
    one(client.clone(), 0).await?;
    let before = Figures::of(&client).await?;
    // Its own first answer is a series as well.
    let before = before.series().len() + usize::from(!before.text().contains("route=\"/metrics\""));
    all(8, (1..1000).map(|n| one(client.clone(), n))).await?;
    let after = Figures::of(&client).await?;
    assert_eq!(after.series().len(), before, "{}", after.text());
    ensure!(!after.text().contains("secret"), "{}", after.text());
    ensure!(after.value("rejoin_http_requests_total{route=\"/v1/streams/{id}/events\",status=\"4xx\"}")? >= 1000.0);
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_and_each_limit_are_counted() -> Result<()> {
    let server = Server::start_trapping(|config| {
        config.session_bytes_max = 16 << 20;
        config.call_max = Duration::from_millis(200);
    })
    .await?;
    let client = server.client();
    for (what, code) in [("panic", "component_trap"), ("spin", "limit_exceeded"), ("memory", "limit_exceeded")] {
        client.create(what, &json!({})).await?;
        let record = json!({"event": format!("test_trap_{what}"), "data": {}}).to_string();
        client.append(what, &[record]).await?.refused(500, code)?;
    }
    Figures::of(&client).await?.expect(&[
        ("rejoin_component_traps_total", 1.0),
        ("rejoin_limit_kills_total{limit=\"time\"}", 1.0),
        ("rejoin_limit_kills_total{limit=\"memory\"}", 1.0),
        ("rejoin_settled_total{status=\"error\"}", 2.0),
        ("rejoin_http_problems_total{code=\"component_trap\"}", 1.0),
        ("rejoin_http_problems_total{code=\"limit_exceeded\"}", 2.0),
    ])?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_replicas_hear_is_measured_and_a_store_that_is_away_keeps_nobody_waiting() -> Result<()> {
    let store = tokio::task::block_in_place(redis::Server::start)?;
    let (one, other) = (Replica::start(&store.url(), &[]).await?, Replica::start(&store.url(), &[]).await?);
    let (near, far) = (one.client(), other.client());
    near.create("s", &json!({"userId": "u"})).await?;
    let mut reader = far.follow("s", None).await?;
    let lines = answer(3);
    for line in &lines {
        near.append("s", &[line]).await?.expect(200)?;
        reader.take(1).await?;
    }
    let there = Figures::of(&far).await?;
    ensure!(there.value("rejoin_wake_delivery_seconds_count")? >= 1.0, "{}", there.text());
    there.expect(&[("rejoin_appended_records_total", 0.0), ("rejoin_delivered_records_total", 4.0)])?;
    // What the store does not answer in time is left out.
    let here = until("the jobs are counted", async || {
        let here = Figures::of(&near).await?;
        Ok(here.value("rejoin_jobs{status=\"running\"}").is_ok().then_some(here))
    });
    let here = here.await?;
    here.expect(&[
        ("rejoin_appended_records_total", 4.0),
        ("rejoin_jobs{status=\"running\"}", 1.0),
        ("rejoin_delivered_records_total", 0.0),
    ])?;
    // One whose answer does not come within two seconds is sent again.
    ensure!(here.value("rejoin_store_commits_total")? >= 4.0, "{}", here.text());
    until("it is ready", async || Ok((near.get("/readyz").await?.status == 200).then_some(()))).await?;

    tokio::task::block_in_place(|| store.stop())?;
    let away = Figures::of(&near).await?;
    steady(async || {
        let began = std::time::Instant::now();
        Figures::of(&near).await?;
        ensure!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        Ok(())
    })
    .await?;
    away.expect(&[("rejoin_store_up", 0.0), ("rejoin_appended_records_total", 4.0)])?;
    ensure!(!away.text().contains("rejoin_jobs{"), "{}", away.text());
    near.get("/readyz").await?.refused(503, "store_unavailable")?;
    near.get("/healthz").await?.expect(200)?;
    ensure!(Figures::of(&near).await?.value("rejoin_store_errors_total{kind=\"unavailable\"}")? >= 1.0);
    tokio::task::block_in_place(|| store.cont())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_of_its_own_answers_the_figures_and_nothing_else() -> Result<()> {
    let mut program = Program::start(&["--metrics-listen", "127.0.0.1:0"]).await?;
    let address = loop {
        if let Some(address) = program.line().await?.strip_prefix("metrics: http://") {
            break address.trim_end_matches("/metrics").parse()?;
        }
    };
    let figures = Client::new(address);
    program.client().create("s", &json!({})).await?;
    Figures::of(&figures).await?.expect(&[("rejoin_generations_total", 1.0)])?;
    figures.get("/healthz").await?.expect(200)?;
    figures.get("/v1/streams/s").await?.refused(404, "unknown_path")?;
    figures.get("/").await?.refused(404, "unknown_path")?;
    figures.post("/metrics", &json!({})).await?.refused(405, "method_not_allowed")?;
    assert_eq!(figures.send("HEAD", "/metrics", &[], "").await?.expect(200)?.body, "");
    // A visitor who says nothing holds nothing up.
    let _silent = tokio::net::TcpStream::connect(address).await?;
    program.signal("TERM").await?;
    assert_eq!(program.end().await?, Some(0));

    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.to_string();
    let output = rejoin_tests::command::run(&["--listen", "127.0.0.1:0", "--metrics-listen", &port], &[]).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && said.contains("--metrics-listen") && said.contains(&port), "{said}");
    Ok(())
}

/// Every figure is in the README's table, and nothing in the table or in the alert rules is not a figure.
#[test]
fn every_figure_is_documented_and_every_documented_one_exists() -> Result<()> {
    let metrics = Metrics::new("memory");
    metrics.http.answered("/", 404);
    metrics.http.problem("unknown_path");
    let text = metrics.text(&Now { jobs: Some([0; 5]), commits: Some(0), ..Now::default() });
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE rejoin_")?.split_once(' '));
    let exist: BTreeSet<String> = types
        .filter(|(name, _)| *name != "build")
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .collect();
    let readme = std::fs::read_to_string(root().join("README.md"))?;
    let table = readme.split("| metric (`rejoin_…`)").nth(1).context("the table")?;
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let names = rows.filter_map(|row| row.split('|').nth(1)).flat_map(|cell| cell.split(','));
    let names = names.map(|name| name.trim().trim_matches('`').split('{').next().unwrap_or_default().to_owned());
    // `{route,status}` has a comma of its own.
    let documented: BTreeSet<String> = names.filter(|name| !name.ends_with('}')).collect();
    assert_eq!(documented, exist);
    let rules = std::fs::read_to_string(root().join("deploy/alerts.yml"))?;
    let used = rules.lines().filter(|line| line.trim_start().starts_with("expr:"));
    let used = used.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
    let used: Vec<_> = used.filter_map(|word| word.strip_prefix("rejoin_")).collect();
    ensure!(used.len() > 4, "this test looks at nothing: {used:?}");
    for name in used {
        ensure!(exist.contains(name.trim_end_matches("_bucket")), "the rules ask for {name}");
    }
    Ok(())
}
