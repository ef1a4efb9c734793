//! Every route, as somebody who may not: a walk over all paths and methods that there are.

use anyhow::{Context, Result, ensure};
use rejoin_tests::client::Answer;
use rejoin_tests::server::Server;
use rejoin_tests::token::{token, token_with};
use serde_json::json;

use super::{ALL, User, guarded};

/// What everybody may see.
const FREE: [&str; 6] = ["/", "/healthz", "/readyz", "/openapi.json", "/inspector/api", "/inspector/{file}"];

/// Paths with their methods out of an OpenAPI document.
pub(crate) fn of_document(document: &serde_json::Value) -> Vec<(String, String)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let methods = ["get", "head", "post", "put", "patch", "delete"];
    let pairs = paths.flat_map(|(path, item)| {
        let known = methods.into_iter().filter(|method| item.get(method).is_some());
        known.map(|method| (path.clone(), method.to_uppercase())).collect::<Vec<_>>()
    });
    pairs.collect()
}

/// The ways in which one path and method are asked: query, `Accept`, body.
fn ways(path: &str, method: &str) -> Vec<(&'static str, &'static str, &'static str)> {
    let body = match path.rsplit('/').next() {
        _ if method == "GET" || method == "HEAD" || method == "DELETE" || method == "PUT" => "",
        Some("events") => r#"{"event":"x","data":{}}"#,
        Some("action") => r#"{"type":"resolve","actionId":"a","decision":null}"#,
        Some("ack") => r#"{"ids":[]}"#,
        _ => "{}",
    };
    match (path, method) {
        ("/v1/streams/{id}/events", "GET") => vec![
            ("", "text/event-stream", ""),
            ("?resume=true", "text/event-stream", ""),
            ("?after=1-1", "text/event-stream", ""),
            ("", "application/json", ""),
        ],
        ("/v1/streams/{id}/groups/{group}/events", _) => vec![("?consumer=c", "application/json", "")],
        ("/v1/streams/{id}", "GET") => vec![("", "*/*", ""), ("?content=false", "*/*", "")],
        _ => vec![("", "*/*", body)],
    }
}

struct Asked<'a> {
    path: &'a str,
    method: &'a str,
    way: (&'static str, &'static str, &'static str),
}

impl Asked<'_> {
    async fn by(&self, user: &User, stream: &str) -> Result<Answer> {
        let (query, accept, body) = self.way;
        let path = self.path.replace("{id}", stream).replace("{group}", "g").replace("{file}", "main.js");
        user.with(self.method, &format!("{path}{query}"), &[("accept", accept)], body).await
    }
}

/// Status, body, and the headers that are not about the moment.
fn seen(answer: &Answer) -> (u16, String, Vec<(String, String)>) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "date" && *name != "traceresponse");
    let headers = headers.map(|(name, value)| (name.to_string(), format!("{value:?}"))).collect();
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned(), headers)
}

/// Asks every path in every way as one who may not. The owner's stream is as it was afterwards.
pub(crate) async fn walk(server: &Server, pairs: &[(String, String)]) -> Result<()> {
    let owner = User::new(server, &token("owner", ALL));
    let stranger = User::new(server, &token("stranger", ALL));
    let elsewhere = User::new(server, &token_with("owner", ALL, &json!({"stream": "elsewhere-*"})));
    let powerless = User::new(server, &token("owner", "nothing"));
    owner.send("POST", "/v1/streams/theirs", "{}").await?.expect(201)?;
    owner.send("POST", "/v1/streams/theirs/events", r#"{"event":"secret","data":{}}"#).await?.expect(200)?;
    owner.send("PUT", "/v1/streams/theirs/groups/g", "").await?.expect(201)?;
    let before = owner.send("GET", "/v1/streams/theirs", "").await?.expect(200)?.body;

    for (path, method) in pairs {
        for (at, way) in ways(path, method).into_iter().enumerate() {
            let asked = Asked { path, method, way };
            let what = format!("{method} {path}{} {}", way.0, way.1);
            let target = path.replace("{id}", "theirs").replace("{group}", "g").replace("{file}", "main.js");
            let unnamed = server.client().send(method, &target, &[], way.2).await?;
            if FREE.contains(&path.as_str()) {
                ensure!(unnamed.status == 200, "{what} is free");
                continue;
            }
            ensure!(unnamed.status == 401, "{what} without a token: {}", unnamed.status);
            let refused = asked.by(&powerless, "theirs").await?;
            ensure!(refused.status == 403, "{what} without a scope: {}", refused.status);
            if !path.contains("{id}") {
                continue;
            }
            let creates = path == "/v1/streams/{id}" && method == "POST";
            let misfit = asked.by(&elsewhere, "theirs").await?;
            let answer = asked.by(&stranger, "theirs").await?;
            if creates {
                ensure!((misfit.status, answer.status) == (403, 403), "{what}: {} {}", misfit.status, answer.status);
            } else {
                let nothing = asked.by(&stranger, "nowhere").await?;
                ensure!(seen(&answer) == seen(&nothing), "{what}: {answer:?} is not {nothing:?}");
                let hidden = if way.0 == "?resume=true" { [204, 204] } else { [404, 404] };
                ensure!([answer.status, nothing.status] == hidden, "{what}: {}", answer.status);
                ensure!(misfit.status == 404, "{what} outside of its pattern: {}", misfit.status);
                for one in [&misfit, &answer] {
                    ensure!(!String::from_utf8_lossy(&one.body).contains("secret"), "{what}");
                }
            }
            // The same from whoever may: what was refused was not the request.
            let mine = format!("mine-{}-{at}", path.len());
            owner.send("POST", &format!("/v1/streams/{mine}"), "{}").await?;
            owner.send("PUT", &format!("/v1/streams/{mine}/groups/g"), "").await?;
            if method == "GET" {
                owner.send("POST", &format!("/v1/streams/{mine}/complete"), "{}").await?;
            }
            let fine = asked.by(&owner, &mine).await?;
            ensure!(![401, 403, 404].contains(&fine.status), "{what} by its owner: {fine:?}");
        }
    }
    let after = owner.send("GET", "/v1/streams/theirs", "").await?.expect(200)?.body;
    ensure!(before == after, "something has changed: {after:?}");
    let list = stranger.send("GET", "/v1/streams", "").await?.expect(200)?.json();
    ensure!(list["streams"] == json!([]), "{list}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_route_lets_anybody_near_a_stream_of_somebody_else() -> Result<()> {
    let server = guarded(|_| {}).await?;
    let document = server.client().get("/openapi.json").await?.expect(200)?.json();
    let pairs = of_document(&document);
    ensure!(pairs.len() > 25, "this walk goes nowhere: {pairs:?}");
    // What the walk knows best is in it.
    pairs.iter().find(|(path, _)| path.ends_with("/tickets")).context("tickets")?;
    walk(&server, &pairs).await?;
    server.stop().await
}

#[test]
fn a_document_names_its_paths_and_methods() {
    let document = json!({"paths": {"/a/{id}": {"get": {}, "post": {}, "parameters": []}}});
    let pair = |method: &str| ("/a/{id}".to_owned(), method.to_owned());
    assert_eq!(of_document(&document), [pair("GET"), pair("POST")]);
}
