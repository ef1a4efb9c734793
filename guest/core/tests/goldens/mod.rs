//! The recorded cases of the fold, and when two answers are the same. Also read by the end to end tests.

use std::fmt::Write;
use std::path::Path;

use rejoin_core::json::{Json, Kind, decode};

/// Case files that are there: `(name, text)`. Real recordings may not be kept in the project, so they run in place.
pub(crate) fn files(root: &Path) -> Vec<(&'static str, String)> {
    let mut files = Vec::new();
    for (name, path, needed) in [
        ("public", "tests/cases/aggregator/public.jsonl", true),
        ("seeded", "tests/cases/aggregator/seeded.jsonl", true),
        ("real", "../shared/aggregator/real.jsonl", false),
    ] {
        match std::fs::read_to_string(root.join(path)) {
            Ok(text) => files.push((name, text)),
            Err(error) if needed => panic!("{path}: {error}"),
            Err(_) => println!("{name}: not run, there is no {path}"),
        }
    }
    files
}

pub(crate) fn parse(text: &str) -> Json<'_> {
    Json::parse(text).unwrap_or_else(|error| panic!("{error}: {text:.200}"))
}

/// A member of a case that is a string.
pub(crate) fn member(case: Json<'_>, name: &str) -> String {
    let text = case.get(name).and_then(|text| Some(text.string()?.into_owned()));
    text.unwrap_or_else(|| panic!("a case has a {name}"))
}

/// The recorded answer.
pub(crate) fn wanted(case: Json<'_>) -> Json<'_> {
    case.get("content").or_else(|| case.get("content_skip")).expect("a case has an answer")
}

/// Runs `test` where recursion as deep as the cases has room.
pub(crate) fn with_room(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(256 << 20).spawn(test).expect("a thread");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A value in a form in which equal values are equal texts: keys in order, the last of repeated ones, numbers as
/// doubles, strings decoded with lone surrogates in place.
pub(crate) fn canonical(text: &str) -> String {
    let mut out = String::new();
    canon(parse(text), &mut out);
    out
}

fn canon(json: Json<'_>, out: &mut String) {
    match json.kind() {
        Kind::Null | Kind::Bool => out.push_str(json.text()),
        Kind::Number => write!(out, "{:?}", json.text().parse::<f64>().expect("a number") + 0.0).expect("a String"),
        Kind::String => write!(out, "{:?}", json.decoded().expect("a string")).expect("a String"),
        Kind::Array => {
            out.push('[');
            json.items().for_each(|item| {
                canon(item, out);
                out.push(',');
            });
            out.push(']');
        }
        Kind::Object => {
            let members: std::collections::BTreeMap<_, _> = json.entries().map(|(k, v)| (decode(k), v)).collect();
            out.push('{');
            for (key, value) in members {
                write!(out, "{key:?}:").expect("a String");
                canon(value, out);
                out.push(',');
            }
            out.push('}');
        }
    }
}
