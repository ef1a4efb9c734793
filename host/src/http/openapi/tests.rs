use std::collections::BTreeSet;

use serde_json::Value;

use super::join::{self, METHODS, Problems};
use crate::http::route::Route;

/// Every path of `route.rs` with its methods: what `template` can print, read from its text, so that none is forgotten.
fn routes() -> BTreeSet<(String, String)> {
    let templates = include_str!("../route.rs").split("fn template(").skip(1).flat_map(|after| {
        let (body, _) = after.split_once("fn methods(").expect("methods after it");
        literals(body).filter(|text| text.starts_with('/'))
    });
    let mut found = BTreeSet::new();
    for template in templates {
        // One of the files stands for all of them.
        let path = template.replace("{file}", "main.js").replace(['{', '}'], "");
        let (route, _) = Route::of(&path).unwrap_or_else(|| panic!("{template} is no route"));
        assert_eq!(route.template(), template);
        found.extend(route.methods().split(", ").map(|method| (template.to_owned(), method.to_lowercase())));
    }
    assert!(found.len() > 20, "this looks at nothing: {found:?}");
    found
}

/// Whatever stands between quotes.
fn literals(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| line.split('"').skip(1).step_by(2))
}

/// The code of the rooms that answer, without tests.
fn sources() -> Vec<(String, String)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut files) = (vec![root.join("http"), root.join("auth")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let name = entry.file_name().expect("a name").to_string_lossy().into_owned();
            if entry.is_dir() && name != "tests" {
                folders.push(entry);
            } else if name.ends_with(".rs") && name != "tests.rs" && name != "fake.rs" {
                let text = std::fs::read_to_string(&entry).expect("text");
                let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
                files.push((entry.display().to_string(), code));
            }
        }
    }
    files
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Codes that this text can answer with: the first word between quotes that follows what makes a problem.
fn codes(code: &str) -> impl Iterator<Item = &str> {
    const MAKERS: [&str; 8] =
        ["Problem::new(", "Self::new(", "bad_request(", "settled(", "conflict(", "broken(", "unavailable(", "refused("];
    MAKERS.into_iter().flat_map(|maker| {
        code.match_indices(maker).filter_map(|(at, maker)| {
            let call = &code[at + maker.len()..];
            literals(call.split(';').next().unwrap_or_default()).next().filter(|text| is_word(text))
        })
    })
}

#[test]
fn the_document_and_the_routes_are_the_same() {
    let document = join::document();
    let paths = document["paths"].as_object().expect("paths");
    let methods = |path: &Value| {
        let names: Vec<_> = path.as_object().expect("a path").keys().cloned().collect();
        names.into_iter().filter(|name| METHODS.contains(&name.as_str()))
    };
    let described: BTreeSet<_> =
        paths.iter().flat_map(|(path, item)| methods(item).map(|method| (path.clone(), method))).collect();
    let routes = routes();
    let forgotten: Vec<_> = routes.difference(&described).collect();
    assert!(forgotten.is_empty(), "not in host/src/http/openapi/parts: {forgotten:#?}");
    let invented: Vec<_> = described.difference(&routes).collect();
    assert!(invented.is_empty(), "in the document, but no route: {invented:#?}");
}

#[test]
fn every_code_that_can_be_answered_is_in_the_document() {
    let listed = Problems::read().texts;
    let listed: BTreeSet<_> = listed.keys().filter_map(|name| name.split_once(' ')).map(|(_, code)| code).collect();
    let whole = join::document().to_string();
    let mut made = BTreeSet::new();
    for (file, code) in &sources() {
        for code in codes(code) {
            assert!(listed.contains(code), "{file} answers {code:?}, which parts/problems.json does not know");
            made.insert(code.to_owned());
        }
        // A code that is made in another way still has two words; names of signals stand in the document too.
        // What the log says is no answer.
        let answers = if file.ends_with("/line.rs") { "" } else { code };
        for word in literals(answers).filter(|text| is_word(text) && text.contains('_')) {
            assert!(whole.contains(&format!("\"{word}\"")), "{file} says {word:?}, which the document does not know");
            made.insert(word.to_owned());
        }
    }
    let stale: Vec<_> = listed.iter().filter(|code| !made.contains(**code)).collect();
    assert!(stale.is_empty(), "nobody answers {stale:?}");
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_a_name_of_its_own() {
    fn look<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|value| look(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| look(value, found)),
            _ => {}
        }
    }
    let document = join::document();
    let mut references = Vec::new();
    look(&document, &mut references);
    assert!(references.len() > 100);
    for reference in &references {
        let target = document.pointer(reference.trim_start_matches('#'));
        assert!(target.is_some(), "{reference} leads nowhere");
    }
    let schemas = document["components"]["schemas"].as_object().expect("schemas").keys();
    let unused: Vec<_> = schemas
        .filter(|name| !references.iter().any(|reference| reference.ends_with(&format!("/schemas/{name}"))))
        .collect();
    assert!(unused.is_empty(), "nobody needs {unused:?}");
    let mut names = BTreeSet::new();
    for path in document["paths"].as_object().expect("paths").values() {
        for (method, operation) in path.as_object().expect("a path") {
            if METHODS.contains(&method.as_str()) {
                let name = operation["operationId"].as_str().expect("an operationId");
                assert!(names.insert(name.to_owned()), "{name} twice");
                assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{name}");
            }
        }
    }
}

#[test]
fn an_operation_lists_its_codes_by_status() {
    let document = join::document();
    let conflict = &document["paths"]["/v1/streams/{id}/abort"]["post"]["responses"]["409"];
    let schema = &conflict["content"]["application/problem+json"]["schema"];
    let codes = ["already_settled", "generation_mismatch", "generation_replaced", "not_active"];
    assert_eq!(schema["properties"]["code"]["enum"], serde_json::json!(codes));
    assert_eq!(schema["properties"]["status"]["const"], 409);
    let responses = &document["paths"]["/v1/streams"]["head"]["responses"];
    assert!(responses["400"]["content"].is_null() && responses["503"]["headers"]["Retry-After"].is_object());
    assert_eq!(responses["401"]["headers"]["WWW-Authenticate"]["$ref"], "#/components/headers/Challenge");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(
        document["info"]["description"].as_str().is_some_and(|text| text.contains("SSE `id` and all that\na reader"))
    );
}

#[test]
fn codes_are_found_where_problems_are_made() {
    let found: Vec<_> =
        codes("Problem::new(\n    S::GONE,\n    \"gone\",\n    detail); x(\"other\"); conflict(\"full\", d)").collect();
    assert_eq!(found, ["gone", "full"]);
    let found: BTreeSet<_> =
        sources().iter().flat_map(|(_, code)| codes(code).map(str::to_owned).collect::<Vec<_>>()).collect();
    assert!(found.contains("forbidden") && found.contains("contended") && found.len() > 30, "{found:?}");
}
