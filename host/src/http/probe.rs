//! Everything that is read of a request's head, at once: for fuzzing and for tests. No request comes this way.

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::query::stream_id;
use super::{Problem, Query, body, groups, list, negotiate, produce, route, subscribe};

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// The stream that the path names.
    pub stream: Option<String>,
    /// The codes of what was refused.
    pub codes: Vec<&'static str>,
}

/// Reads all of it as the handlers do. None: no URI.
pub fn head(uri: &str, headers: &[(&str, &str)]) -> Option<Seen> {
    let uri: Uri = uri.parse().ok()?;
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(*name), HeaderValue::from_bytes(value.as_bytes())) {
            map.append(name, value);
        }
    }
    let mut seen = Seen::default();
    let mut note = |refused: Option<Problem>| seen.codes.extend(refused.map(|problem| problem.code));
    note(produce::probe(&map).err());
    note(negotiate::ContentType::of(&map).err());
    note(body::header(&map, "idempotency-key", 256).err());
    match Query::of(&uri) {
        Err(problem) => note(Some(problem)),
        Ok(query) => {
            note(query.number("generation").err());
            note(list::probe(&query).err());
            note(negotiate::shape(&map, &query).err());
            note(subscribe::probe(&map, &query).err());
        }
    }
    let path = uri.path().strip_prefix("/v1/streams/").unwrap_or_default();
    let (name, tail) = path.split_once('/').unwrap_or((path, ""));
    if route::Part::of(tail).is_some() {
        note(groups::probe(uri.path()).err());
    }
    seen.stream = stream_id(name).ok().map(|name| name.as_str().to_owned());
    Some(seen)
}
