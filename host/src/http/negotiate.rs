//! Media types: what a client accepts, and what it sends. Source: RFC 9110 sections 8.3 and 12.5.1.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

use super::{Problem, Query};

/// How `GET …/events` is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Server-sent events.
    Live,
    /// One page of JSON.
    Page,
}

/// What the client prefers. A wildcard, or no `Accept` at all, gets a page, unless the request looks like an
/// `EventSource` (`Last-Event-ID`, `?resume=true`). Errors: 406 when neither is accepted.
pub(super) fn shape(headers: &HeaderMap, query: &Query) -> Result<Shape, Problem> {
    let accepted: Vec<_> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let accepted = accepted.join(",");
    let (live, page) = match accepted.trim() {
        "" => (Some(ANY), Some(ANY)),
        ranges => (best(ranges, "text", "event-stream"), best(ranges, "application", "json")),
    };
    let (live, page) = (live.filter(|range| range.quality > 0), page.filter(|range| range.quality > 0));
    match (live, page) {
        (None, None) => Err(Problem::new(
            http::StatusCode::NOT_ACCEPTABLE,
            "not_acceptable",
            "accept text/event-stream for the live stream, or application/json for one page of records",
        )),
        (Some(_), None) => Ok(Shape::Live),
        (None, Some(_)) => Ok(Shape::Page),
        (Some(live), Some(page)) if live.quality != page.quality => {
            Ok(if live.quality > page.quality { Shape::Live } else { Shape::Page })
        }
        // Equally good: who names the live stream means it.
        (Some(live), Some(_)) if live.precision > 0 => Ok(Shape::Live),
        _ => {
            let returning = headers.contains_key("last-event-id") || query.get("resume") == Some("true");
            Ok(if returning { Shape::Live } else { Shape::Page })
        }
    }
}

/// How well a type is accepted: `quality` in thousandths; `precision` 0 for `*/*`, 1 for `type/*`, 2 for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    precision: u8,
    quality: u16,
}

const ANY: Range = Range { precision: 0, quality: 1000 };

/// The most precise of the ranges that cover `kind/subtype`: it alone decides.
fn best(ranges: &str, kind: &str, subtype: &str) -> Option<Range> {
    let covering = |range: &str| {
        let mut parameters = range.split(';').map(str::trim);
        let (this_kind, this_subtype) = parameters.next()?.split_once('/')?;
        let precision = match (this_kind, this_subtype) {
            ("*", "*") => 0,
            (this, "*") if this.eq_ignore_ascii_case(kind) => 1,
            (this, sub) if this.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subtype) => 2,
            _ => return None,
        };
        let quality = parameters.find_map(|parameter| parameter.strip_prefix("q=").or(parameter.strip_prefix("Q=")));
        Some(Range { precision, quality: quality.map_or(1000, thousandths) })
    };
    ranges.split(',').filter_map(covering).max_by_key(|range| (range.precision, range.quality))
}

/// A quality as written: `1`, `0.8`. What cannot be read counts as 1.
fn thousandths(text: &str) -> u16 {
    let Some((whole, fraction)) = text.split_once('.') else { return if text == "0" { 0 } else { 1000 } };
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    match (whole, digits.parse::<u16>()) {
        ("0", Ok(quality)) => quality,
        _ => 1000,
    }
}

/// A content type: `type/subtype` in lower case, and its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ContentType {
    /// `application/json`
    pub essence: String,
    parameters: Vec<(String, String)>,
}

impl ContentType {
    /// What the request says; none when it says nothing. Errors: 415 when it is not readable.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(None) };
        let unreadable = || Problem::unsupported_media_type("the content type cannot be read");
        let text = value.to_str().map_err(|_| unreadable())?;
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().filter(|essence| essence.contains('/')).ok_or_else(unreadable)?;
        let parameter = |part: &str| {
            let (name, value) = part.split_once('=')?;
            Some((name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned()))
        };
        Ok(Some(ContentType {
            essence: essence.to_ascii_lowercase(),
            parameters: parts.filter_map(parameter).collect(),
        }))
    }

    /// A parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// `application/json`, or a type made of it: `application/problem+json`.
    pub(super) fn is_json(&self) -> bool {
        self.essence == "application/json"
            || (self.essence.starts_with("application/") && self.essence.ends_with("+json"))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn shaped(accept: Option<&'static str>, uri: &str, last_event_id: bool) -> Option<Shape> {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        if last_event_id {
            headers.insert("last-event-id", HeaderValue::from_static("1-1"));
        }
        shape(&headers, &Query::of(&uri.parse().expect("a URI")).expect("a query")).ok()
    }

    #[test]
    fn the_live_stream_is_for_those_who_prefer_it() {
        use Shape::{Live, Page};
        for (accept, wanted) in [
            ("text/event-stream", Some(Live)),
            ("TEXT/Event-Stream; charset=utf-8", Some(Live)),
            ("text/event-stream, */*", Some(Live)),
            ("application/json, text/event-stream", Some(Live)),
            ("text/*", Some(Live)),
            ("application/json;q=0.5, text/event-stream;q=0.8", Some(Live)),
            ("application/json, text/event-stream;q=0.9", Some(Page)),
            ("text/event-stream;q=0, */*", Some(Page)),
            ("application/json", Some(Page)),
            ("application/*", Some(Page)),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some(Page)),
            ("*/*", Some(Page)),
            ("", Some(Page)),
            ("text/html", None),
            ("*/*;q=0", None),
        ] {
            assert_eq!(shaped(Some(accept), "/e", false), wanted, "{accept}");
        }
        assert_eq!(shaped(None, "/e", false), Some(Page));
    }

    #[test]
    fn a_returning_event_source_needs_no_accept() {
        assert_eq!(shaped(None, "/e", true), Some(Shape::Live));
        assert_eq!(shaped(Some("*/*"), "/e?resume=true", false), Some(Shape::Live));
        assert_eq!(shaped(Some("application/json"), "/e?resume=true", true), Some(Shape::Page));
    }

    #[test]
    fn a_content_type_has_an_essence_and_parameters() {
        let mut headers = HeaderMap::new();
        assert_eq!(ContentType::of(&headers).expect("none is fine"), None);
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("Text/Event-Stream ; charset=utf-8; Dialect=\"openai-chat\""),
        );
        let content_type = ContentType::of(&headers).expect("readable").expect("there");
        assert_eq!(content_type.essence, "text/event-stream");
        assert_eq!((content_type.parameter("dialect"), content_type.is_json()), (Some("openai-chat"), false));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("json"));
        assert_eq!(ContentType::of(&headers).expect_err("no slash").status, 415);
    }
}
