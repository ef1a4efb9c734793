//! From the parts to one document.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use serde_json::{Map, Value, json};

const FRAME: &str = include_str!("parts/document.json");
const PROBLEMS: &str = include_str!("parts/problems.json");
const PATHS: [&str; 4] = [
    include_str!("parts/streams.json"),
    include_str!("parts/records.json"),
    include_str!("parts/groups.json"),
    include_str!("parts/server.json"),
];
const SCHEMAS: [&str; 2] = [include_str!("parts/schemas.json"), include_str!("parts/frames.json")];

/// Every method that OpenAPI knows at a path; what else stands there is no operation.
pub(super) const METHODS: [&str; 8] = ["get", "head", "post", "put", "patch", "delete", "options", "trace"];

/// All of it.
pub(super) fn document() -> Value {
    let mut document = parse(FRAME);
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    document["components"]["schemas"] = merged(&SCHEMAS).into();
    let problems = Problems::read();
    let mut paths = merged(&PATHS);
    for (method, operation) in paths.values_mut().flat_map(operations) {
        let listed = operation.remove("problems").unwrap_or_default();
        let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
        responses.expect("an operation has responses").extend(problems.responses(&listed, method == "head"));
    }
    document["paths"] = paths.into();
    join_lines(&mut document);
    document
}

/// The operations of a path with their methods.
fn operations(path: &mut Value) -> impl Iterator<Item = (String, &mut Map<String, Value>)> {
    let members = path.as_object_mut().expect("a path is an object").iter_mut();
    let operations = members.filter(|(name, _)| METHODS.contains(&name.as_str()));
    operations
        .map(|(method, operation)| (method.clone(), operation.as_object_mut().expect("an operation is an object")))
}

/// `problems.json`.
pub(super) struct Problems {
    sets: BTreeMap<String, Vec<String>>,
    /// By `<status> <code>`.
    pub(super) texts: BTreeMap<String, String>,
}

impl Problems {
    pub(super) fn read() -> Self {
        let mut parts = parse(PROBLEMS);
        let sets = serde_json::from_value(parts["sets"].take()).expect("sets are lists of names");
        let texts = serde_json::from_value(parts["problems"].take()).expect("problems are texts");
        Problems { sets, texts }
    }

    /// One response for each status among `listed`, a JSON list of names. Those to HEAD have no body.
    fn responses(&self, listed: &Value, without_body: bool) -> Map<String, Value> {
        let listed: Vec<String> = serde_json::from_value(listed.clone()).expect("problems are a list of names");
        let mut names = BTreeSet::new();
        self.collect(&listed, &mut names);
        let mut by_status: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for name in &names {
            let (status, code) = name.split_once(' ').unwrap_or((name, ""));
            by_status.entry(status).or_default().push(code);
        }
        let response =
            |(status, codes): (&str, Vec<&str>)| (status.to_owned(), self.response(status, &codes, without_body));
        by_status.into_iter().map(response).collect()
    }

    fn collect(&self, listed: &[String], names: &mut BTreeSet<String>) {
        for name in listed {
            match name.strip_prefix('@') {
                Some(set) => self.collect(self.sets.get(set).expect("a set that is there"), names),
                None => drop(names.insert(name.clone())),
            }
        }
    }

    fn response(&self, status: &str, codes: &[&str], without_body: bool) -> Value {
        let text = |code: &str| self.texts.get(&format!("{status} {code}")).expect("a problem that is listed");
        let description: Vec<_> = codes.iter().map(|code| format!("`{code}`: {}", text(code))).collect();
        let mut headers = json!({"Cache-Control": {"$ref": "#/components/headers/NoStore"}});
        let more = match status {
            "401" => Some(("WWW-Authenticate", "Challenge")),
            "429" | "503" => Some(("Retry-After", "RetryAfter")),
            _ => None,
        };
        if let Some((header, component)) = more {
            headers[header] = json!({"$ref": format!("#/components/headers/{component}")});
        }
        let mut response = json!({"description": description.join("\n\n"), "headers": headers});
        if !without_body {
            let number: u16 = status.parse().expect("a status is a number");
            let title = StatusCode::from_u16(number).ok().and_then(|status| status.canonical_reason());
            let example = |code: &&str| {
                let value = json!({
                    "type": format!("urn:rejoin:error:{code}"), "title": title, "status": number,
                    "detail": text(code), "code": code,
                });
                ((*code).to_owned(), json!({"value": value}))
            };
            let examples: Map<String, Value> = codes.iter().map(example).collect();
            let schema = json!({
                "allOf": [{"$ref": "#/components/schemas/Problem"}],
                "properties": {"status": {"const": number}, "code": {"enum": codes}},
            });
            response["content"] = json!({"application/problem+json": {"schema": schema, "examples": examples}});
        }
        response
    }
}

fn parse(part: &str) -> Value {
    serde_json::from_str(part).expect("the parts are JSON: a test reads them")
}

fn merged(parts: &[&str]) -> Map<String, Value> {
    let objects = parts.iter().map(|part| parse(part));
    objects.flat_map(|part| part.as_object().cloned().expect("a part is an object")).collect()
}

/// Long descriptions are written as lists of lines.
fn join_lines(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                match value {
                    Value::Array(lines) if name == "description" => {
                        *value = lines.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n").into();
                    }
                    _ => join_lines(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(join_lines),
        _ => {}
    }
}
