//! From pushed text to candidate records: lines of NDJSON, or the members of one JSON text.

use std::borrow::Cow;

use memchr::memchr2;

use crate::json::{Items, Json, Kind};

/// How a pushed text is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One JSON object a line; blank lines are passed over.
    Ndjson,
    /// One JSON object, or a list of them.
    Json,
}

/// The candidate records of a text with their position (line or member, from 1).
pub enum Lines<'a> {
    /// Lines left to read.
    Ndjson(std::iter::Enumerate<std::str::Lines<'a>>),
    /// Members left to read.
    Members(std::iter::Enumerate<Items<'a>>),
    /// One text, or what is wrong with it.
    Single(Option<Result<Json<'a>, String>>),
}

impl<'a> Lines<'a> {
    /// Cuts `text`.
    pub fn new(framing: Framing, text: &'a str) -> Self {
        match framing {
            Framing::Ndjson => Lines::Ndjson(text.lines().enumerate()),
            Framing::Json => match Json::parse(text) {
                Ok(json) if json.kind() == Kind::Array => Lines::Members(json.items().enumerate()),
                parsed => Lines::Single(Some(parsed)),
            },
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    /// Position, and the JSON object or why there is none.
    type Item = (u32, Result<Json<'a>, String>);

    fn next(&mut self) -> Option<Self::Item> {
        let (at, parsed) = match self {
            Lines::Ndjson(lines) => {
                let (at, line) = lines.find(|(_, line)| !line.bytes().all(|b| matches!(b, b' ' | b'\t' | b'\r')))?;
                (at, Json::parse(line))
            }
            Lines::Members(items) => items.next().map(|(at, json)| (at, Ok(json)))?,
            Lines::Single(single) => (0, single.take()?),
        };
        let object = parsed.and_then(|json| match json.kind() {
            Kind::Object => Ok(json),
            _ => Err("a record is one JSON object; this is another JSON value".to_owned()),
        });
        Some((u32::try_from(at + 1).unwrap_or(u32::MAX), object))
    }
}

/// A valid JSON text on one line: raw line breaks can only stand between tokens, so blanks may take their place.
pub fn one_line(json: Json<'_>) -> Cow<'_, str> {
    let text = json.text();
    if memchr2(b'\n', b'\r', text.as_bytes()).is_some() {
        Cow::Owned(text.replace(['\n', '\r'], " "))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(framing: Framing, text: &str) -> Vec<(u32, Option<&str>)> {
        Lines::new(framing, text).map(|(at, json)| (at, json.ok().map(Json::text))).collect()
    }

    #[test]
    fn blank_lines_are_passed_over_and_counted() {
        let text = "{\"a\":1}\r\n\n  \n {\"b\":2} \n7\n{\"c\"";
        assert_eq!(
            taken(Framing::Ndjson, text),
            [(1, Some("{\"a\":1}")), (4, Some("{\"b\":2}")), (5, None), (6, None)]
        );
    }

    #[test]
    fn a_json_text_is_one_record_or_a_list_of_them() {
        assert_eq!(taken(Framing::Json, "{\"a\":[1,\n2]}"), [(1, Some("{\"a\":[1,\n2]}"))]);
        assert_eq!(taken(Framing::Json, "[{\"a\":1},2]"), [(1, Some("{\"a\":1}")), (2, None)]);
        assert_eq!(taken(Framing::Json, "[]"), []);
        assert_eq!(taken(Framing::Json, "[{},"), [(1, None)]);
    }
}
