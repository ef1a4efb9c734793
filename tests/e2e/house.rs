//! The house itself: which room knows what, what the component imports, and that its interface is explained.
//! Source: DESIGN.md section 2.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rejoin::engine::tunables;
use rejoin_tests::root;
use wasmtime::Engine;
use wit_parser::{Docs, Resolve, TypeDefKind, WorldItem};

/// Every Rust file below a folder, with its path from the root.
fn sources(folder: &str) -> Result<Vec<(String, String)>> {
    let (mut files, mut folders) = (Vec::new(), vec![PathBuf::from(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push((path.display().to_string(), std::fs::read_to_string(entry.path())?));
            }
        }
    }
    ensure!(!files.is_empty(), "no Rust in {folder}");
    Ok(files)
}

/// The names that begin a path in the code of a file, and what follows each one.
fn paths(text: &str) -> Vec<(&str, &str)> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let in_line = |line| {
        let at = str::match_indices(line, "::").map(|(at, _)| at);
        at.filter_map(move |at| {
            let (before, after) = (&line[..at], &line[at + 2..]);
            let start = before.rfind(|c| !is_name(c)).map_or(0, |at| at + 1);
            let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
            (!before[..start].ends_with("::")).then_some((&before[start..], &after[..end]))
        })
    };
    code.flat_map(in_line).collect()
}

#[test]
fn each_crate_is_known_in_its_own_room_only() -> Result<()> {
    let (http, tls) = ("host/src/http/", ["host/src/tls.rs", "host/src/doctor/connect.rs"]);
    let rooms: [(&[&str], &[&str]); 9] = [
        (&["wasmtime", "wasmtime_wasi"], &["host/src/engine/"]),
        // Traces leave the process over a connection of their own.
        (&["hyper", "hyper_util"], &[http, "host/src/doctor/", "host/src/main.rs", "host/src/trace/otlp.rs"]),
        (&["redis"], &["host/src/store/redis/"]),
        (&["rustls"], &["host/src/store/redis/", tls[0], tls[1]]),
        (&["tokio_rustls", "rustls_native_certs"], &tls),
        (&["jsonwebtoken", "base64", "rustls_pki_types"], &["host/src/auth/"]),
        (&["prometheus_client"], &["host/src/metrics/"]),
        (&["tracing_subscriber", "tracing_opentelemetry", "opentelemetry"], &["host/src/trace/"]),
        (&["opentelemetry_sdk", "opentelemetry_otlp", "opentelemetry_http"], &["host/src/trace/otlp.rs"]),
    ];
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (file, text) in sources("host/src")? {
        for (name, _) in paths(&text) {
            let Some((_, allowed)) = rooms.iter().find(|(names, _)| names.contains(&name)) else { continue };
            seen.insert(name.to_owned());
            if !allowed.iter().any(|room| file.starts_with(room)) {
                wrong.push(format!("{file} knows {name}"));
            }
        }
    }
    let all =
        ["wasmtime", "hyper", "redis", "jsonwebtoken", "prometheus_client", "tracing_subscriber", "opentelemetry_otlp"];
    let all = all.iter().all(|name| seen.contains(*name));
    ensure!(all, "this test looks at nothing: {seen:?}");
    ensure!(wrong.is_empty(), "{wrong:#?}");
    // The kit for Rust is a host of its own; what it may know, its manifest says.
    for (file, text) in sources("guest")?.into_iter().filter(|(file, _)| !file.starts_with("guest/embed/rust/")) {
        let foreign = paths(&text).into_iter().find(|(name, _)| ["wasmtime", "hyper", "tokio", "redis"].contains(name));
        ensure!(foreign.is_none(), "{file} knows {foreign:?}");
    }
    Ok(())
}

#[test]
fn no_room_points_back() -> Result<()> {
    // main -> serve -> http -> app -> engine -> { store, sse }; http reads store and sse directly.
    let may_use: [(&str, &[&str]); 14] = [
        ("types.rs", &[]),
        // Leaves: every room may count, and be part of a trace.
        ("metrics", &["types"]),
        ("trace", &["config", "trace"]),
        // What the address of a store may be, the store says.
        ("config.rs", &["config", "store"]),
        ("shutdown.rs", &[]),
        ("rates.rs", &[]),
        ("tls.rs", &["config"]),
        ("doctor", &["config"]),
        ("auth", &["types", "config", "auth"]),
        ("store", &["types", "metrics", "store"]),
        ("sse", &["types", "metrics", "sse", "store"]),
        ("engine", &["types", "metrics", "trace", "store", "sse", "engine"]),
        ("app.rs", &["types", "config", "auth", "engine", "metrics", "rates", "shutdown", "sse", "store", "tls"]),
        (
            "http",
            &[
                "types", "config", "auth", "engine", "metrics", "rates", "shutdown", "sse", "store", "trace", "app",
                "http",
            ],
        ),
    ];
    let (mut wrong, mut looked_at) = (Vec::new(), 0);
    for (file, text) in sources("host/src")? {
        let inside = file.strip_prefix("host/src/").context("a path")?;
        let room = inside.split('/').next().unwrap_or(inside);
        let Some((_, allowed)) =
            may_use.iter().find(|(name, _)| room.trim_end_matches(".rs") == name.trim_end_matches(".rs"))
        else {
            continue;
        };
        for (_, used) in paths(&text).into_iter().filter(|(name, _)| *name == "crate") {
            looked_at += 1;
            ensure!(!used.is_empty(), "{file}: `use crate::{{…}}` hides the room: one line for each");
            if !allowed.contains(&used) {
                wrong.push(format!("{file} uses {used}"));
            }
        }
    }
    ensure!(looked_at > 20, "this test looks at nothing: {looked_at}");
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// The names in one section of a manifest.
fn section(manifest: &Path, name: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(manifest).with_context(|| manifest.display().to_string())?;
    let lines = text.lines().map(str::trim).skip_while(|line| *line != format!("[{name}]")).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(|line| line.split(['.', '=', ' ']).next().unwrap_or_default().to_owned()).collect())
}

#[test]
fn the_core_is_pure_and_the_house_has_five_packages_one_kit_and_two_for_the_edge() -> Result<()> {
    let core = root().join("guest/core/Cargo.toml");
    assert_eq!(section(&core, "dependencies")?, ["memchr", "serde_json"], "pure ones, and few");
    let guest = section(&root().join("guest/Cargo.toml"), "dependencies")?;
    assert_eq!(guest, ["rejoin-core", "wit-bindgen"]);
    let kit = section(&root().join("guest/embed/rust/Cargo.toml"), "dependencies")?;
    assert_eq!(kit, ["futures-util", "http", "thiserror", "tokio", "wasmtime"], "no server of anybody's");
    for (file, text) in sources("guest/core/src")? {
        let impure = paths(&text).into_iter().find(|(name, used)| {
            let words = ["time", "thread", "net", "fs", "io", "env", "process"];
            *name == "std" && words.contains(used) || ["SystemTime", "Instant", "RandomState"].contains(name)
        });
        ensure!(impure.is_none(), "{file} has a clock, randomness or I/O: {impure:?}");
    }
    let workspace = std::fs::read_to_string(root().join("Cargo.toml"))?;
    let members = workspace.lines().find(|line| line.starts_with("members")).context("members")?;
    let others = r#""guest/edge/adapter", "guest/edge/calls", "guest/embed/rust""#;
    assert_eq!(members, format!(r#"members = ["guest", "guest/core", {others}, "host", "tests", "xtask"]"#));
    Ok(())
}

#[test]
fn unsafe_code_stands_where_the_compiler_s_own_bytes_are_loaded_and_nowhere_else() -> Result<()> {
    let mut exceptions = Vec::new();
    for folder in ["guest", "host", "tests", "xtask"] {
        let excepted = |text: &str| text.matches(concat!("(unsafe", "_code,")).count();
        exceptions.extend(sources(folder)?.into_iter().filter(|(_, text)| excepted(text) > 0).map(|(file, _)| file));
    }
    exceptions.sort();
    let bindings = ["guest/edge/adapter/src/lib.rs", "guest/edge/calls/src/lib.rs", "guest/src/lib.rs"];
    assert_eq!(exceptions, [&bindings[..], &["host/src/engine/runtime.rs", "tests/src/component.rs"]].concat());
    for file in [
        "guest/core/src/lib.rs",
        "guest/embed/rust/src/lib.rs",
        "host/src/main.rs",
        "host/build.rs",
        "tests/e2e/main.rs",
        "xtask/src/lib.rs",
        "xtask/src/main.rs",
    ] {
        let text = std::fs::read_to_string(root().join(file))?;
        ensure!(text.contains(concat!("#![forbid(unsafe", "_code)]")), "{file} does not forbid unsafe code");
    }
    Ok(())
}

#[test]
fn files_are_short_enough_to_be_read() -> Result<()> {
    for folder in ["guest/src", "guest/core/src", "guest/edge", "guest/embed/rust", "host/src", "xtask/src"] {
        for (file, text) in sources(folder)? {
            let lines = text.lines().count();
            // A few lines more are no reason to cut a file in two.
            ensure!(lines <= 420, "{file} has {lines} lines: over 400 it wants splitting");
        }
    }
    Ok(())
}

fn wit() -> Result<(Resolve, wit_parser::PackageId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(root().join("wit")).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    Ok((resolve, package))
}

#[test]
fn the_component_imports_and_exports_exactly_what_its_world_names() -> Result<()> {
    let (resolve, package) = wit()?;
    let world = &resolve.worlds[resolve.packages[package].worlds["engine"]];
    let named = |items: &wit_parser::IndexMap<wit_parser::WorldKey, WorldItem>| -> BTreeSet<String> {
        items.keys().map(|key| resolve.name_world_key(key)).collect()
    };

    let engine = Engine::new(&tunables::config())?;
    let component = rejoin_tests::component::shipped(&engine)?;
    let kind = component.component_type();
    let imports: BTreeSet<String> = kind.imports(&engine).map(|(name, _)| name.to_owned()).collect();
    let exports: BTreeSet<String> = kind.exports(&engine).map(|(name, _)| name.to_owned()).collect();

    assert_eq!(imports, named(&world.imports));
    assert_eq!(exports, named(&world.exports));
    let foreign: Vec<_> = imports.iter().filter(|name| !name.starts_with("rejoin:streams/")).collect();
    assert_eq!(foreign, ["wasi:clocks/wall-clock@0.2.0"], "nothing else of its host");
    Ok(())
}

#[test]
fn every_item_of_the_interface_is_explained() -> Result<()> {
    let (resolve, package) = wit()?;
    let (mut silent, mut items) = (Vec::new(), 0);
    let mut look = |name: String, docs: &Docs| {
        items += 1;
        if docs.contents.as_deref().is_none_or(|text| text.trim().is_empty()) {
            silent.push(name);
        }
    };
    let package = &resolve.packages[package];
    look(package.name.to_string(), &package.docs);
    for (name, world) in &package.worlds {
        let world = &resolve.worlds[*world];
        look(name.clone(), &world.docs);
        for (key, item) in world.imports.iter().chain(&world.exports) {
            // An import without a statement of its own comes along with one that needs its types.
            if let WorldItem::Interface { docs, id, .. } = item
                && !(docs.contents.is_none() && resolve.interfaces[*id].functions.is_empty())
            {
                look(format!("{name}: {}", resolve.name_world_key(key)), docs);
            }
        }
    }
    for (at, interface) in &package.interfaces {
        let interface = &resolve.interfaces[*interface];
        look(at.clone(), &interface.docs);
        for (name, function) in &interface.functions {
            look(format!("{at}.{name}"), &function.docs);
        }
        for (name, id) in &interface.types {
            let kind = &resolve.types[*id];
            // `use other.{name}` is a name for what is explained there.
            if !matches!(kind.kind, TypeDefKind::Type(_)) {
                look(format!("{at}.{name}"), &kind.docs);
            }
            let inside = |part: &str| format!("{at}.{name}.{part}");
            match &kind.kind {
                TypeDefKind::Record(record) => {
                    record.fields.iter().for_each(|part| look(inside(&part.name), &part.docs))
                }
                TypeDefKind::Variant(variant) => {
                    variant.cases.iter().for_each(|part| look(inside(&part.name), &part.docs))
                }
                TypeDefKind::Enum(cases) => cases.cases.iter().for_each(|part| look(inside(&part.name), &part.docs)),
                TypeDefKind::Flags(flags) => flags.flags.iter().for_each(|part| look(inside(&part.name), &part.docs)),
                _ => {}
            }
        }
    }
    ensure!(items > 100, "this test looks at nothing: {items}");
    ensure!(silent.is_empty(), "without a word: {silent:#?}");
    Ok(())
}
