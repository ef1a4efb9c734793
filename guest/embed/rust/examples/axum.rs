//! Resumable answers in an axum server of your own: `cargo run --example axum rejoin.wasm`, then the README's curl lines.
use axum::response::{IntoResponse, Response, Sse, sse};
use axum::{Router, extract::Path, extract::State, http, routing};
use dashmap::DashMap;
use futures_util::StreamExt;
use rejoin_embed::*;
use std::{convert::Infallible, env, sync::Arc};

/// The store: rows and logs in this process, gone when it ends. One that must outlive it writes a file or a database here.
struct Logs(DashMap<String, (Job, Vec<LogRecord>)>);

impl Store for Logs {
    fn read(&self, stream: &str, after: Option<Cursor>, count_max: usize) -> Option<(Job, Vec<LogRecord>)> {
        let (job, log) = &*self.0.get(stream)?;
        Some((job.clone(), log.iter().skip(job.known(after) as usize).take(count_max).cloned().collect()))
    }
    fn create(&self, stream: &str, previous: u64, job: Job) -> Outcome {
        let current = self.0.get(stream).map_or(0, |row| row.0.generation);
        if current != previous || (current == 0 && self.0.len() >= 10_000) {
            return Outcome::Refused(Refusal::GenerationReplaced(current));
        }
        self.0.insert(stream.into(), (job, vec![])); // `Streams` lets nobody else write to the stream meanwhile
        Outcome::Accepted
    }
    fn append(&self, stream: &str, first: Cursor, records: Vec<LogRecord>, change: &Change) -> Outcome {
        let Some(mut row) = self.0.get_mut(stream) else { return Outcome::Refused(Refusal::NotFound) };
        let outcome = row.0.append(first, records.len(), change, now_ms());
        row.1.extend(records.into_iter().filter(|_| outcome == Outcome::Accepted));
        outcome
    }
}

type App = State<Arc<Streams<Logs>>>;

async fn write(State(app): App, Path((stream, verb)): Path<(String, String)>, body: String) -> Response {
    let command = move |session: &mut Session<_>| match &*verb {
        "append" => session.push(&body),
        "complete" => session.complete(None, None),
        "stop" => session.abort(None),
        _ => session.create(None, None, "{}"),
    };
    let done = tokio::task::spawn_blocking(move || app.run(&stream, command)).await.expect("a command does not panic");
    done.map(|effect| format!("{effect:?}\n")).map_err(|error| (error.http_status(), error.to_string())).into_response()
}

async fn read(State(app): App, Path(stream): Path<String>, headers: http::HeaderMap) -> Response {
    let after = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let frame = |(at, record): (Cursor, LogRecord)| sse::Event::default().id(at.to_string()).data(record.json);
    let body = app.follow(&stream, after).map(|records| Sse::new(records.map(frame).map(Ok::<_, Infallible>)));
    body.map(|body| body.keep_alive(Default::default())).map_err(|error| error.http_status()).into_response()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = Arc::new(Streams::from_file(env::args().nth(1).ok_or("which rejoin.wasm?")?, Logs(DashMap::new()))?);
    let routes = Router::new().route("/{stream}/{verb}", routing::post(write)).route("/{stream}", routing::get(read));
    let listener = tokio::net::TcpListener::bind(env::var("LISTEN").unwrap_or("127.0.0.1:8000".into())).await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, routes.with_state(app)).await?)
}
