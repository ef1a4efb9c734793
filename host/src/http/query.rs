//! Names and values of a URL, percent-decoded exactly once.

use http::Uri;

use super::Problem;
use crate::types::StreamId;

/// The query of a request: `?after=1-2&limit=10`. Of a repeated name the first one counts; unknown names are no error.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads it. Errors: 400 `invalid_query`.
    pub fn of(uri: &Uri) -> Result<Self, Problem> {
        let mut pairs = Vec::new();
        for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = |text: &str| percent_decode(&text.replace('+', " "));
            let (Some(name), Some(value)) = (decoded(name), decoded(value)) else {
                return Err(invalid("the query", "is not percent-encoded UTF-8"));
            };
            pairs.push((name, value));
        }
        Ok(Query(pairs))
    }

    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A whole number. Errors: 400 `invalid_query`.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid(name, "must be a whole number"));
        }
        text.parse().map(Some).map_err(|_| invalid(name, "must be a whole number in range"))
    }

    /// `true` or `false`. Errors: 400 `invalid_query`.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some("true" | "1" | "") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(invalid(name, "must be true or false")),
        }
    }
}

/// 400 `invalid_query`.
pub(super) fn invalid(name: &str, rule: &str) -> Problem {
    Problem::bad_request("invalid_query", format!("{name} {rule}"))
}

/// The id in a path, percent-decoded exactly once. Errors: 400 `invalid_stream_id`.
pub(super) fn stream_id(raw: &str) -> Result<StreamId, Problem> {
    let name = percent_decode(raw).ok_or("a stream id in a path is percent-encoded");
    name.and_then(|name| StreamId::parse(&name)).map_err(|rule| Problem::bad_request("invalid_stream_id", rule))
}

/// Replaces each `%XX`, once. None: not percent-encoding, or not UTF-8 afterwards.
pub(super) fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        decoded.push(if byte == b'%' { hex(rest.next()?)? << 4 | hex(rest.next()?)? } else { byte });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<Query, Problem> {
        Query::of(&text.parse().expect("a URI"))
    }

    #[test]
    fn percent_encoding_is_undone_once() {
        assert_eq!(percent_decode("a%2Fb%252F"), Some("a/b%2F".into()));
        assert_eq!(percent_decode("%c3%A9"), Some("é".into()));
        for bad in ["%", "%2", "%g0", "%+1", "%ff"] {
            assert_eq!(percent_decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn values_are_read_by_name() {
        let query = query("/x?after=1-2&user=a+b%2B&user=c&flag&&n=7").expect("it is valid");
        assert_eq!((query.get("after"), query.get("user"), query.get("none")), (Some("1-2"), Some("a b+"), None));
        assert_eq!(query.number("n").expect("a number"), Some(7));
        assert_eq!(query.flag("flag").expect("it is there"), Some(true));
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_400() {
        for bad in ["/x?n=", "/x?n=-1", "/x?n=+1", "/x?n=1.0", "/x?n=99999999999999999999"] {
            let problem = query(bad).and_then(|query| query.number("n"));
            assert_eq!(problem.expect_err(bad).code, "invalid_query", "{bad}");
        }
        assert_eq!(query("/x?n=%zz").expect_err("no hex").status, 400);
        assert_eq!(query("/x?f=maybe").and_then(|query| query.flag("f")).expect_err("neither").status, 400);
    }

    #[test]
    fn a_stream_id_is_decoded_exactly_once() {
        assert_eq!(stream_id("a%2Fb").expect("valid").as_str(), "a/b");
        assert_eq!(stream_id("a%252Fb").expect("valid").as_str(), "a%2Fb");
        assert_eq!(stream_id("a+b").expect("valid").as_str(), "a+b");
        for bad in ["", ".", "%2e%2E", "%", "a%20b", "%00", "%ff", &"x".repeat(257)] {
            assert_eq!(stream_id(bad).expect_err(bad).code, "invalid_stream_id", "{bad}");
        }
    }
}
