//! Which bytes a client has already. Source: RFC 9110 sections 8.8.3 and 13.1.2.

use std::hash::{DefaultHasher, Hasher as _};

use http::header::IF_NONE_MATCH;
use http::{HeaderMap, HeaderValue};

/// A name for these bytes: the same on every replica that runs the same program.
pub(super) fn of(bytes: &[u8]) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    let text = format!("\"{}-{:016x}\"", env!("CARGO_PKG_VERSION"), hasher.finish());
    HeaderValue::try_from(text).expect("a version and digits are a header's value")
}

/// Whether `If-None-Match` names it. What cannot be read names nothing.
pub(super) fn matches(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|list| list.split(',')).map(str::trim);
    known.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_names_the_bytes_has_them() {
        let etag = of(b"a");
        assert_ne!(etag, of(b"b"));
        let text = etag.to_str().expect("ASCII").to_owned();
        let asked = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, HeaderValue::from_str(value).expect("a value"));
            matches(&headers, &etag)
        };
        for (value, has) in [
            (text.clone(), true),
            (format!("W/{text}"), true),
            (format!("\"other\", {text}"), true),
            ("*".to_owned(), true),
            (text.trim_matches('"').to_owned(), false),
            ("\"other\"".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(asked(&value), has, "{value}");
        }
        assert!(!matches(&HeaderMap::new(), &etag));
    }
}
