//! The heads of requests: path, query, and the headers that say where a reader goes on.

use rejoin::http::probe;
use rejoin::types::{Cursor, StreamId};

use super::input::Input;

/// Texts, each ended by a zero byte: path and query, `Last-Event-ID`, `Accept`, `Content-Type`, other headers.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (uri, last_event_id, accept, content_type) = (input.text(), input.text(), input.text(), input.text());
    let headers = [
        ("last-event-id", &last_event_id),
        ("accept", &accept),
        ("content-type", &content_type),
        ("producer-id", &input.text()),
        ("producer-seq", &input.text()),
        ("idempotency-key", &input.text()),
        ("if-none-match", &input.text()),
    ];
    let headers = headers.map(|(name, value)| (name, value.as_str()));
    let seen = probe::head(&uri, &headers);

    for text in [&last_event_id, &uri] {
        if let Some(cursor) = Cursor::parse(text) {
            assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor), "a cursor is what it is written as");
        }
    }
    let Some(seen) = seen else { return };
    if let Some(stream) = &seen.stream {
        assert_eq!(StreamId::parse(stream).expect("it was found valid").as_str(), stream);
        let encoded: String = stream.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let again = probe::head(&format!("/v1/streams/{encoded}/events"), &[]).and_then(|seen| seen.stream);
        assert_eq!(again.as_ref(), Some(stream), "a name that is encoded is the same name");
    }
    for code in seen.codes {
        assert!(
            !code.is_empty()
                && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
            "{code}"
        );
    }
}
