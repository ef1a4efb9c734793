//! JSON in: whole bodies with a bound.

use http::{HeaderMap, StatusCode};
use serde::de::{Deserialize, IgnoredAny};

use super::negotiate::ContentType;
use super::request::Request;
use super::{App, Problem};
use crate::clock::Deadline;
use crate::wasi::Read;

/// Bytes of a command's body.
const COMMAND_BYTES_MAX: usize = 1024 * 1024;

/// The text of a command: JSON, at most 1 MiB; an empty body is `{}`.
///
/// Errors: as the server's.
pub(super) async fn command(app: &App, request: &Request) -> Result<String, Problem> {
    if ContentType::of(&request.headers)?.is_some_and(|content_type| !content_type.is_json()) {
        return Err(Problem::unsupported_media_type("a command is application/json"));
    }
    let text = text(app, request, COMMAND_BYTES_MAX).await?;
    if text.trim().is_empty() {
        return Ok("{}".to_owned());
    }
    parse::<IgnoredAny>(&text)?;
    // serde takes a list for a struct; a command has names.
    if !text.trim_start().starts_with('{') {
        return Err(Problem::invalid_request("the body must be a JSON object"));
    }
    Ok(text)
}

/// Reads `text` as a `T`. Errors: 400 `invalid_json` when it is not JSON, 422 `invalid_request` when it is another JSON.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::invalid_request(error.to_string()),
        _ => Problem::bad_request("invalid_json", format!("the body is not JSON: {error}")),
    })
}

/// A whole body as text. Errors: 413 `body_too_large`, 400 `invalid_utf8`, `incomplete_body`, 408 `body_timeout`.
pub(super) async fn text(app: &App, request: &Request, bytes_max: usize) -> Result<String, Problem> {
    let wait = app.config.body_wait;
    let (end, mut bytes) = (Deadline::after(wait), Vec::new());
    loop {
        match request.body.next(end).await {
            Read::Bytes(more) if bytes.len() + more.len() > bytes_max => {
                let detail =
                    format!("the body has at most {bytes_max} bytes: send less at once, or open an NDJSON body");
                let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail);
                return Err(problem.with("bytesMax", bytes_max));
            }
            Read::Bytes(more) => bytes.extend_from_slice(&more),
            Read::End => break,
            Read::BrokeOff => return Err(incomplete()),
            Read::Late => {
                let detail =
                    format!("the body was not there after {wait:?} (REJOIN_BODY_WAIT): send it again, and faster");
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail));
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| Problem::bad_request("invalid_utf8", "the body is not UTF-8"))
}

/// 400: the body broke off. Rarely read by anybody.
pub(super) fn incomplete() -> Problem {
    Problem::bad_request("incomplete_body", "the body broke off")
}

/// A header that a program sets: printable ASCII. Errors: 400 `invalid_header`.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str, bytes_max: usize) -> Result<Option<&'a str>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let printable = value.to_str().ok().map(str::trim).filter(|text| (1..=bytes_max).contains(&text.len()));
    match printable {
        Some(text) => Ok(Some(text)),
        None => {
            Err(Problem::bad_request("invalid_header", format!("{name} has 1 to {bytes_max} bytes of printable ASCII")))
        }
    }
}
