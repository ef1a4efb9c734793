//! JSON in: whole bodies with a bound, and what is done with a body that nobody wants any more.

use std::time::Duration;

use http::HeaderMap;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::{Deserialize, IgnoredAny};
use tokio::time::Instant;

use super::negotiate::ContentType;
use super::{Problem, Request};
use crate::app::App;

/// Bytes of a command's body.
const COMMAND_BYTES_MAX: usize = 1024 * 1024;
/// What is read of a body after its answer, so that the answer is not lost to a connection reset.
const DRAIN_BYTES_MAX: usize = 64 * 1024 * 1024;
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// The text of a command: JSON, at most 1 MiB; an empty body is `{}`.
///
/// Errors: 415, 413 `body_too_large`, 400 `invalid_utf8`, `invalid_json`, `incomplete_body`, 408 `body_timeout`, 422 when no
/// object.
pub(super) async fn command(app: &App, request: &mut Request) -> Result<String, Problem> {
    if ContentType::of(request.headers())?.is_some_and(|content_type| !content_type.is_json()) {
        return Err(Problem::unsupported_media_type("a command is application/json"));
    }
    let text = text(app, request.body_mut(), COMMAND_BYTES_MAX).await?;
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
pub(super) async fn text(app: &App, body: &mut Incoming, bytes_max: usize) -> Result<String, Problem> {
    let too_large = || {
        let detail = format!("the body has at most {bytes_max} bytes: send less at once, or open an NDJSON body");
        Problem::new(http::StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail).with("bytesMax", bytes_max)
    };
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    let wait = app.config.door.body_wait;
    let end = Instant::now() + wait;
    let mut bytes = Vec::new();
    loop {
        let frame = tokio::time::timeout_at(end, body.frame()).await.map_err(|_| {
            let detail = format!("the body was not there after {wait:?} (--body-wait): send it again, and faster");
            Problem::new(http::StatusCode::REQUEST_TIMEOUT, "body_timeout", detail)
        })?;
        match frame {
            None => break,
            Some(Err(_)) => return Err(incomplete()),
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                if bytes.len() + data.len() > bytes_max {
                    return Err(too_large());
                }
                bytes.extend_from_slice(&data);
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| Problem::bad_request("invalid_utf8", "the body is not UTF-8"))
}

/// 400: the body broke off. Rarely read by anybody.
pub(super) fn incomplete() -> Problem {
    Problem::bad_request("incomplete_body", "the body broke off")
}

/// Reads on for a moment and forgets what comes.
pub(super) async fn drain(mut body: Incoming) {
    let reading = async {
        let mut left = DRAIN_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.into_data().map_or(0, |data| data.len()));
            if left == 0 {
                return;
            }
        }
    };
    // Whoever sends on and on loses the connection, and with it perhaps the answer.
    let _ = tokio::time::timeout(DRAIN_MAX, reading).await;
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Numbered {
        #[expect(dead_code, reason = "only its type is looked at")]
        number: u64,
    }

    #[test]
    fn what_is_not_json_is_400_and_what_is_other_json_is_422() {
        assert!(parse::<Numbered>(r#"{"number":1}"#).is_ok());
        for (text, status, code) in [
            (r#"{"number":"#, 400, "invalid_json"),
            ("no", 400, "invalid_json"),
            (r#"{"number":1}}"#, 400, "invalid_json"),
            (r#"{"number":"1"}"#, 422, "invalid_request"),
            (r#"{"number":1,"other":2}"#, 422, "invalid_request"),
            ("[]", 422, "invalid_request"),
        ] {
            let problem = parse::<Numbered>(text).expect_err(text);
            assert_eq!((problem.status.as_u16(), problem.code), (status, code), "{text}");
        }
    }

    #[test]
    fn a_header_is_printable_and_bounded() {
        let mut headers = HeaderMap::new();
        assert!(header(&headers, "idempotency-key", 4).expect("absent is fine").is_none());
        for (value, fine) in [("abcd", true), ("", false), ("abcde", false), ("\u{e9}", false)] {
            headers.insert("idempotency-key", HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
            assert_eq!(header(&headers, "idempotency-key", 4).is_ok(), fine, "{value:?}");
        }
    }
}
