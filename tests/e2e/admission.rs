//! How many active jobs there may be: on the host, and of one user.

use anyhow::{Context, Result, ensure};
use rejoin_tests::answer;
use rejoin_tests::server::Server;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_with_all_its_jobs_refuses_the_next_until_one_ends() -> Result<()> {
    let server = Server::start_with(|config| config.jobs_max = 2).await?;
    let client = server.client();
    client.create("a", &json!({"userId": "u1"})).await?;
    client.create("b", &json!({"userId": "u2"})).await?;
    let refused = client.post("/v1/streams/c", &json!({"userId": "u3"})).await?;
    refused.refused_for_now(429, "too_many_jobs")?;
    // A new turn takes the place of its own predecessor.
    client.create("a", &json!({"userId": "u1"})).await?;
    client.append("a", &answer(3)).await?.expect(200)?;
    client.post("/v1/streams/b/complete", &json!({})).await?.expect(200)?;
    client.create("c", &json!({"userId": "u3"})).await?;
    client.post("/v1/streams/b", &json!({"userId": "u2"})).await?.refused_for_now(429, "too_many_jobs")?;
    client.post("/v1/streams/a/abort", &json!({})).await?.expect(200)?;
    client.create("b", &json!({"userId": "u2"})).await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_all_their_jobs_is_refused_and_others_are_not() -> Result<()> {
    let server = Server::start_with(|config| config.jobs_per_user_max = 1).await?;
    let client = server.client();
    client.create("a", &json!({"userId": "u1"})).await?;
    client.post("/v1/streams/b", &json!({"userId": "u1"})).await?.refused_for_now(429, "too_many_jobs")?;
    client.create("c", &json!({"userId": "u2"})).await?;
    // Waiting for a person is active too.
    let pause = json!({"type": "request", "action": {"id": "x"}});
    client.post("/v1/streams/a/action", &pause).await?.expect(200)?;
    client.post("/v1/streams/b", &json!({"userId": "u1"})).await?.refused_for_now(429, "too_many_jobs")?;
    client.post("/v1/streams/a/abort", &json!({})).await?.expect(200)?;
    client.create("b", &json!({"userId": "u1"})).await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_a_user_holds_however_the_user_is_named() -> Result<()> {
    let server = Server::start_with(|config| config.jobs_per_user_max = 1).await?;
    let client = server.client();
    let json = [("content-type", "application/json")];
    // The owner is what the component reads: the last of two members, and `anonymous` where there is none.
    for (user, body) in [
        ("u", r#"{"userId":"u","userId":"u"}"#),
        ("u", r#"{"userId":"v","userId":"u"}"#),
        ("w", r#"{"userId":"\u0077","sender":"\u0041"}"#),
        ("anonymous", "{}"),
    ] {
        let first = client.send("POST", &format!("/v1/streams/{user}"), &json, body).await?.expect(201)?;
        assert_eq!(first.json()["job"]["userId"], user, "{body}");
        let second = client.send("POST", "/v1/streams/second", &json, body).await?;
        second.refused_for_now(429, "too_many_jobs").context(body)?;
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_that_is_sent_again_gets_its_answer_even_when_there_is_no_room_for_another() -> Result<()> {
    let server = Server::start_with(|config| config.jobs_max = 1).await?;
    let client = server.client();
    let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
    let made = client.send("POST", "/v1/streams/a", &headers, "{}").await?.expect(201)?;
    client.post("/v1/streams/a/complete", &json!({})).await?.expect(200)?;
    client.create("b", &json!({})).await?;
    let again = client.send("POST", "/v1/streams/a", &headers, "{}").await?.expect(200)?;
    assert_eq!(again.json()["generation"], made.json()["generation"]);
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creates_that_come_together_do_not_pass_the_limit_of_jobs() -> Result<()> {
    let server = Server::start_with(|config| config.jobs_max = 5).await?;
    let client = server.client();
    let creating = (0..40).map(|n| {
        let client = server.client();
        tokio::spawn(async move { client.post(&format!("/v1/streams/s{n}"), &json!({"userId": n.to_string()})).await })
    });
    let creating: Vec<_> = creating.collect();
    let mut made = 0;
    for create in creating {
        let answer = create.await??;
        match answer.status {
            201 => made += 1,
            _ => answer.refused_for_now(429, "too_many_jobs")?,
        }
    }
    // Some may have been refused for the sake of others that were refused too; one by one there is room for five.
    ensure!((1..=5).contains(&made), "{made} jobs");
    for n in made..5 {
        client.create(&format!("t{n}"), &json!({"userId": format!("t{n}")})).await?;
    }
    client.post("/v1/streams/t5", &json!({"userId": "t5"})).await?.refused_for_now(429, "too_many_jobs")?;
    server.stop().await
}
