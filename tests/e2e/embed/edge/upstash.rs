//! A REST front in the dialect of Upstash, before a real Redis.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use rejoin_tests::redis::{Connection, Reply, Server};
use rejoin_tests::wait::until;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The token that [`Upstash`] wants.
pub(super) const REST_TOKEN: &str = "rest-token";

const LARGE: usize = 1024 * 1024;

/// What becomes of a request with more than 1 MiB.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Large {
    /// It is carried out.
    Taken,
    /// It is answered with 413 before its body is read, as services with a limit do.
    Refused,
    /// Nobody reads its body, until [`Upstash::read_on`].
    LeftLying,
}

/// The REST dialect of Upstash in front of a real Redis: a command is a list in the body of `POST /`, the answer
/// `{"result": …}` or, with status 400, `{"error": "…"}`; a wrong token gets 401. Nothing of the store is in here.
///
/// It stands for a service that cannot be run here. Source of the shapes: https://upstash.com/docs/redis/features/restapi
pub(super) struct Upstash {
    pub(super) url: String,
    task: JoinHandle<()>,
    lying: Arc<Lying>,
}

/// The requests that are left lying.
#[derive(Default)]
struct Lying {
    read_on: Notify,
    /// Of each of them, once it was read: how many bytes never came.
    missing: Mutex<Vec<usize>>,
}

impl Upstash {
    pub(super) async fn start(redis: &Server, large: Large) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (url, port) = (format!("http://{}", listener.local_addr()?), redis.port());
        let lying = Arc::new(Lying::default());
        let told = lying.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let lying = told.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, port, large, &lying).await {
                        eprintln!("a request to the REST front: {error:#}");
                    }
                });
            }
        });
        Ok(Upstash { url, task, lying })
    }

    /// Reads what was left lying, and says how many bytes of it never came.
    pub(super) async fn read_on(&self) -> Result<usize> {
        self.lying.read_on.notify_one();
        until("the end of a request that was left lying", async || {
            Ok(self.lying.missing.lock().expect("unpoisoned").pop())
        })
        .await
    }
}

impl Drop for Upstash {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request a connection.
async fn serve(stream: TcpStream, redis: u16, large: Large, lying: &Lying) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut line, mut head) = (String::new(), Vec::new());
    while stream.read_line(&mut line).await? > 2 {
        head.push(std::mem::take(&mut line).trim_end().to_owned());
    }
    let header = |wanted: &str| {
        let pairs = head.iter().skip(1).filter_map(|line| line.split_once(": "));
        pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.to_owned())
    };
    let length: usize = header("content-length").context("a length")?.parse()?;
    let (status, answer) = if header("authorization") != Some(format!("Bearer {REST_TOKEN}")) {
        (401, json!({"error": "Unauthorized"}))
    } else if length > LARGE && large == Large::Refused {
        (413, json!({"error": "ERR max request size exceeded"}))
    } else if length > LARGE && large == Large::LeftLying {
        lying.read_on.notified().await;
        let mut body = Vec::new();
        // A connection that is reset says as well that no more comes.
        let _ = stream.read_to_end(&mut body).await;
        lying.missing.lock().expect("unpoisoned").push(length.saturating_sub(body.len()));
        return Ok(());
    } else {
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let words: Vec<String> = serde_json::from_slice(&body)?;
        tokio::task::spawn_blocking(move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match Connection::open(redis).and_then(|mut connection| connection.call(&words)) {
                Ok(reply) => (200, json!({"result": value(reply)})),
                Err(error) => (400, json!({"error": error.to_string()})),
            }
        })
        .await?
    };
    let text = answer.to_string();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", text.len());
    stream.write_all(format!("{head}connection: close\r\n\r\n{text}").as_bytes()).await?;
    // Until the sender has closed: with bytes unread the system would reset the connection, and the answer with it.
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(())
}

fn value(reply: Reply) -> Value {
    match reply {
        Reply::Text(text) => text.into(),
        Reply::Number(number) => number.into(),
        Reply::Nil => Value::Null,
        Reply::List(replies) => replies.into_iter().map(value).collect(),
    }
}
