//! What time does to a job: one that is silent for too long ends, one that has ended is forgotten.

use std::time::Duration;

use anyhow::{Result, ensure};
use rejoin_tests::answer;
use rejoin_tests::server::Server;
use rejoin_tests::steady::steady;
use rejoin_tests::wait::until;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};

const LIVE: (&str, &str) = ("accept", "text/event-stream");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_job_times_out_before_its_readers_eyes_and_a_paused_one_waits() -> Result<()> {
    steady(async || {
        let server = Server::start_with(|config| config.job_idle = Duration::from_secs(1)).await?;
        let client = server.client();
        let start = Instant::now();
        client.create("paused", &json!({"userId": "u"})).await?;
        let action = json!({"type": "request", "action": {"id": "a"}});
        client.post("/v1/streams/paused/action", &action).await?.expect(200)?;
        let generation = client.create("silent", &json!({"userId": "u"})).await?;
        client.append("silent", &answer(1)).await?.expect(200)?;
        let mut live = client.follow("silent", None).await?;
        let mut producer = client.subscribe("/v1/streams/silent/signals", &[]).await?;

        let frames = live.rest().await?;
        ensure!(start.elapsed() >= Duration::from_secs(1), "it ended after {:?}", start.elapsed());
        let last = frames.last().map(|frame| (frame.event.as_deref(), frame.id.clone(), frame.data.as_str()));
        assert_eq!(last, Some((Some("error"), Some(format!("{generation}-3")), r#"{"error":"timed out"}"#)));
        assert_eq!(producer.rest().await?.last().map(|frame| frame.json()["status"].clone()), Some(json!("error")));
        let state = client.state("silent").await?;
        assert_eq!((&state["status"], &state["job"]["error"]), (&json!("error"), &json!("timed out")));
        client.append("silent", &answer(0)).await?.refused(409, "not_active")?;
        assert_eq!(client.state("paused").await?["status"], "requires_action");
        let jobs = client.get("/v1/stats").await?.json()["jobs"].clone();
        assert_eq!(jobs, json!({"running": 0, "requires_action": 1, "complete": 0, "error": 1, "aborted": 0}));
        server.stop().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_job_times_out_in_its_own_time() -> Result<()> {
    steady(async || {
        let server = Server::start_with(|config| config.paused_idle = Duration::from_secs(1)).await?;
        let client = server.client();
        client.create("paused", &json!({"userId": "u"})).await?;
        let mut live = client.follow("paused", None).await?;
        let action = json!({"type": "request", "action": {"id": "a"}});
        client.post("/v1/streams/paused/action", &action).await?.expect(200)?;
        let frames = live.rest().await?;
        assert_eq!(frames.last().map(|frame| frame.data.as_str()), Some(r#"{"error":"timed out"}"#));
        assert_eq!(client.state("paused").await?["status"], "error");
        server.stop().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_append_gives_a_job_new_time() -> Result<()> {
    steady(async || {
        let idle = Duration::from_secs(2);
        let server = Server::start_with(|config| config.job_idle = idle).await?;
        let client = server.client();
        client.create("s", &json!({"userId": "u"})).await?;
        let (start, mut every) = (Instant::now(), interval(idle / 20));
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while start.elapsed() < 2 * idle + idle / 2 {
            every.tick().await;
            client.append("s", &answer(0)).await?.expect(200)?;
        }
        let state = client.state("s").await?;
        ensure!(state["status"] == "running", "{state}");
        server.stop().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settled_job_can_be_read_for_its_retention_and_is_then_unknown() -> Result<()> {
    steady(async || {
        let retention = Duration::from_secs(2);
        let server = Server::start_with(|config| config.retention = retention).await?;
        let client = server.client();
        client.create("active", &json!({"userId": "u"})).await?;
        let generation = client.create("s", &json!({"userId": "u"})).await?;
        client.append("s", &answer(1)).await?.expect(200)?;
        let settled = Instant::now();
        client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
        let frames = client.follow("s", Some(&format!("{generation}-1"))).await?.rest().await?;
        assert_eq!(frames.len(), 2, "a moment late is in time");

        let gone = async || Ok((client.get("/v1/streams/s").await?.status == 404).then(|| settled.elapsed()));
        let after = until("it is forgotten", gone).await?;
        ensure!(after >= retention, "forgotten after {after:?}");
        for path in ["/v1/streams/s", "/v1/streams/s/events", "/v1/streams/s/resume"] {
            client.get(path).await?.refused(404, "not_found")?;
        }
        client.send("GET", "/v1/streams/s/events?resume=true", &[LIVE], "").await?.expect(204)?;
        client.append("s", &answer(0)).await?.refused(404, "not_found")?;
        // The row goes with it, and nothing that came late has brought it back.
        until("it is counted no more", async || {
            Ok((client.get("/v1/stats").await?.json()["jobs"]["complete"] == 0).then_some(()))
        })
        .await?;
        assert_eq!(client.state("active").await?["status"], "running", "an active job has no retention");
        server.stop().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_may_be_forgotten_at_once_but_not_before_its_readers_have_the_end() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    for (path, body) in [("complete", json!({"finalEvent": {"n": 1}})), ("abort", json!({}))] {
        client.create("s", &json!({"userId": "u"})).await?;
        let mut live = client.follow("s", None).await?;
        client.post(&format!("/v1/streams/s/{path}?retention=0"), &body).await?.expect(200)?;
        let frames = live.rest().await?;
        ensure!(frames.len() == 1 && frames[0].is_terminal(), "{path}: {frames:?}");
        let gone = async || Ok((client.get("/v1/streams/s").await?.status == 404).then_some(()));
        until("it is forgotten", gone).await?;
    }
    server.stop().await
}
