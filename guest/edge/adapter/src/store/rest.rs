//! One command, one HTTP request. Everything is waited for until one point in time.

use std::time::Duration;

use serde_json::Value;

use super::StoreError;
use super::dialect::{self, Failed};
use crate::clock::Deadline;
use crate::config::Endpoint;
use crate::wasi::{self, Read};

/// One request: a store that takes longer is asked again.
const REQUEST_MAX: Duration = Duration::from_secs(5);
/// Bytes of an answer. A page of the log is asked for by size, but holds one append at least.
const ANSWER_BYTES_MAX: usize = 96 * 1024 * 1024;

/// What became of a command.
pub(super) enum Answer {
    /// It was carried out.
    Value(Value),
    /// Redis refused it: what it said.
    Refused(String),
}

/// Sends one command. Errors: whether it was carried out is not known.
pub(super) async fn command(endpoint: &Endpoint, words: &[&str]) -> Result<Answer, StoreError> {
    let (status, body) = exchange(endpoint, words).await.map_err(StoreError::Unavailable)?;
    match dialect::decode(endpoint.dialect, words.first().copied().unwrap_or_default(), &body) {
        Ok(value) if status == 200 => Ok(Answer::Value(value)),
        Err(Failed::Refused(said)) if status < 500 => Ok(Answer::Refused(said)),
        Ok(_) | Err(Failed::Refused(_)) => Err(StoreError::Unavailable(format!("the REST endpoint answers {status}"))),
        Err(Failed::Unreadable(why)) if status == 200 => Err(StoreError::Unavailable(why.to_owned())),
        Err(Failed::Unreadable(_)) => Err(StoreError::Unavailable(format!("the REST endpoint answers {status}"))),
    }
}

async fn exchange(endpoint: &Endpoint, words: &[&str]) -> Result<(u16, Vec<u8>), String> {
    let deadline = Deadline::after(REQUEST_MAX);
    let (content_type, text) = dialect::encode(endpoint.dialect, words);
    let mut headers = vec![
        ("content-type".to_owned(), content_type.as_bytes().to_vec()),
        ("content-length".to_owned(), text.len().to_string().into_bytes()),
    ];
    if let Some(token) = &endpoint.token {
        headers.push(("authorization".to_owned(), format!("Bearer {}", token.0).into_bytes()));
    }
    let (status, body) = wasi::exchange(endpoint, &headers, text.as_bytes(), deadline).await?;
    let mut bytes = Vec::new();
    loop {
        match body.next(deadline).await {
            Read::Bytes(more) if bytes.len() + more.len() > ANSWER_BYTES_MAX => {
                return Err(format!("an answer has more than {ANSWER_BYTES_MAX} bytes"));
            }
            Read::Bytes(more) => bytes.extend_from_slice(&more),
            Read::End => return Ok((status, bytes)),
            Read::BrokeOff => return Err("the answer broke off".to_owned()),
            Read::Late => return Err(format!("no answer in {REQUEST_MAX:?}")),
        }
    }
}
