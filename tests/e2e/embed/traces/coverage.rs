//! The traces together show everything that the component's own types name.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use rejoin::engine::tunables;
use rejoin_tests::trace::{files, functions};
use serde_json::Value;
use wasmtime::Engine;
use wasmtime::component::types::Type;

/// Refusals that only a store gives.
const ONLY_THE_STORE: [&str; 1] = ["behind"];

/// What a value of a type can be: `cases` gets the alternatives that stand in it, as far down as it goes.
struct Alternatives<'a> {
    cases: &'a mut BTreeSet<String>,
}

impl Alternatives<'_> {
    /// All that a type allows, or with a `value` those that the value shows. `at` names where it stands.
    fn walk(&mut self, at: &str, ty: &Type, value: Option<&Value>) {
        let of = |name: &str| value.and_then(|value| value.get(name));
        match ty {
            Type::List(list) => match value {
                None => self.walk(at, &list.ty(), None),
                Some(value) => {
                    value.as_array().into_iter().flatten().for_each(|item| self.walk(at, &list.ty(), Some(item)))
                }
            },
            Type::Record(record) => {
                let names: Vec<_> = record.fields().map(|field| field.name.to_owned()).collect();
                for field in record.fields() {
                    let at = format!("{{{}}}.{}", names.join(","), field.name);
                    if value.is_none() || of(field.name).is_some() {
                        self.walk(&at, &field.ty, of(field.name));
                    }
                }
            }
            Type::Variant(variant) => {
                let names: Vec<_> = variant.cases().map(|case| case.name.to_owned()).collect();
                for case in variant.cases() {
                    if value.is_none() || of("tag").is_some_and(|tag| tag == case.name) {
                        self.cases.insert(format!("{} of {}", case.name, names.join("|")));
                        if let Some(ty) = case.ty {
                            self.walk(at, &ty, of("val"));
                        }
                    }
                }
            }
            Type::Enum(cases) => {
                let names: Vec<_> = cases.names().collect();
                for name in &names {
                    if value.is_none_or(|value| value == name) {
                        self.cases.insert(format!("{name} of {}", names.join("|")));
                    }
                }
            }
            Type::Option(option) => {
                let shown = |none: bool| value.is_none_or(|value| value.is_null() == none);
                if shown(true) {
                    self.cases.insert(format!("none at {at}"));
                }
                if shown(false) {
                    self.cases.insert(format!("some at {at}"));
                    self.walk(at, &option.ty(), value);
                }
            }
            Type::Result(result) => {
                for (name, ty) in [("ok", result.ok()), ("err", result.err())] {
                    if value.is_none() || of(name).is_some() {
                        self.cases.insert(format!("{name} of {at}"));
                        if let Some(ty) = ty {
                            self.walk(at, &ty, of(name));
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

#[test]
fn every_function_every_import_and_every_case_of_the_types_is_in_some_trace() -> Result<()> {
    let (exports, imports) = functions(&Engine::new(&tunables::config())?)?;
    ensure!(exports.len() > 25 && imports.len() == 5, "{} and {}: this looks at nothing", exports.len(), imports.len());
    let (mut wanted, mut seen, mut refusals) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (name, ty) in exports.iter().chain(&imports) {
        wanted.insert(format!("call of {name}"));
        let mut all = Alternatives { cases: &mut wanted };
        ty.params().for_each(|(param, ty)| all.walk(&format!("{name}({param})"), &ty, None));
        ty.results().for_each(|ty| all.walk(&format!("{name} out"), &ty, None));
    }
    wanted.extend(["session", "aggregator", "translator"].map(|kind| format!("call of {kind}.drop")));
    wanted.extend(["clock asked", "clock not asked"].map(str::to_owned));

    for (file, text) in files()? {
        for line in text.lines().skip(1) {
            let line: Value = serde_json::from_str(line).with_context(|| file.clone())?;
            seen.insert(if line["now"].is_null() { "clock not asked" } else { "clock asked" }.to_owned());
            let calls = line["imports"].as_array().context("imports")?.iter().chain([&line]);
            for call in calls {
                let name = call["call"].as_str().context("a name")?;
                seen.insert(format!("call of {name}"));
                let Some((_, ty)) = exports.iter().chain(&imports).find(|(known, _)| known == name) else { continue };
                let mut shown = Alternatives { cases: &mut seen };
                ty.params().for_each(|(param, ty)| shown.walk(&format!("{name}({param})"), &ty, call["in"].get(param)));
                ty.results().for_each(|ty| shown.walk(&format!("{name} out"), &ty, call.get("out")));
            }
            for refusal in [&line["out"]["err"]["tag"], &line["out"]["ok"]["stopped"]["reason"]["tag"]] {
                refusals.extend(refusal.as_str().map(str::to_owned));
            }
        }
    }
    let missing: Vec<_> = wanted.difference(&seen).collect();
    ensure!(missing.is_empty(), "in no trace: {missing:#?}");
    let all = wanted.iter().filter_map(|case| case.split_once(" of not-found|")).map(|(case, _)| case);
    let all: BTreeSet<_> = all.filter(|case| !ONLY_THE_STORE.contains(case)).map(str::to_owned).collect();
    ensure!(all.len() == 14, "refusals of the types: {all:?}");
    let missing: Vec<_> = all.difference(&refusals).collect();
    ensure!(missing.is_empty(), "refusals that the component never gave: {missing:?}");
    Ok(())
}
