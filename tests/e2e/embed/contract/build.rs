//! The bytes of the component: the same wherever they are built, told by the host, and listed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rejoin::engine::COMPONENT_SHA256;
use rejoin_tests::command::Program;
use rejoin_tests::root;
use rejoin_tests::wait::until;
use serde_json::Value;
use xtask::{Variant, bill_of_materials, build_component, build_component_with, sha256};

/// What a build of the component reads: the manifests of all packages, the sources of two, the lock and the WIT.
const COPIED: [&str; 8] = ["Cargo.toml", "Cargo.lock", "guest", "host", "tests", "xtask", "wit", ".cargo"];

fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        fs::copy(from, to).with_context(|| from.display().to_string())?;
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in from.read_dir()? {
        let name = entry?.file_name();
        // What other tools have left there is no source.
        if !["target", "node_modules", "cases"].iter().any(|left_out| name == *left_out) {
            copy(&from.join(&name), &to.join(&name))?;
        }
    }
    Ok(())
}

/// Everything that could tell one build from another: the folder, cargo's home, and nothing compiled before.
#[test]
fn a_clean_build_in_another_folder_gives_the_same_bytes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (checkout, cargo_home) = (folder.path().join("elsewhere/checkout"), folder.path().join("home of cargo"));
    fs::create_dir_all(&checkout)?;
    fs::create_dir_all(&cargo_home)?;
    for name in COPIED {
        copy(&root().join(name), &checkout.join(name))?;
    }
    let usual = std::env::var_os("CARGO_HOME").map(Into::into);
    let usual = usual.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).context("no home directory")?;
    // The same downloads by another path.
    for name in ["registry", "config.toml"] {
        if usual.join(name).exists() {
            std::os::unix::fs::symlink(usual.join(name), cargo_home.join(name))?;
        }
    }
    let bytes = build_component_with(&checkout, Variant::Shipped, &cargo_home)?;
    let text = String::from_utf8_lossy(&bytes);
    for path in [folder.path(), &root(), &usual].map(|path| path.to_string_lossy().into_owned()) {
        ensure!(!text.contains(&path), "{path} stands in the component");
    }
    if sha256(&bytes) != COMPONENT_SHA256 {
        let kept = root().join("target/rejoin-elsewhere.wasm");
        fs::write(&kept, &bytes)?;
        anyhow::bail!(
            "{} bytes of another kind: compare {} with what `cargo xtask component` writes",
            bytes.len(),
            kept.display()
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_says_which_component_it_runs_at_start_in_its_log_and_at_healthz() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let mut program = Program::start_logging(&["--log-format", "json"], "info", fs::File::create(&log)?).await?;
    let line = loop {
        let line = program.line().await?;
        if let Some(said) = line.strip_prefix("component: sha256 ") {
            break said.to_owned();
        }
    };
    assert_eq!(line, COMPONENT_SHA256);
    let health = program.client().get("/healthz").await?.expect(200)?.json();
    assert_eq!(health["componentSha256"], COMPONENT_SHA256);
    let starts = until("the first line of the log", async || {
        let log = fs::read_to_string(&log)?;
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(lines.into_iter().find(|line| line["message"] == "starts"))
    });
    assert_eq!(starts.await?["component_sha256"], COMPONENT_SHA256);
    Ok(())
}

/// The checkout's own component, as `cargo xtask component` writes it: cargo has it already.
fn shipped() -> Result<Vec<u8>> {
    let bytes = build_component(&root().canonicalize()?, Variant::Shipped)?;
    assert_eq!(sha256(&bytes), COMPONENT_SHA256, "the host runs what the sources give");
    Ok(bytes)
}

#[test]
fn the_bill_of_materials_lists_every_package_that_left_a_trace_in_the_component() -> Result<()> {
    let bytes = shipped()?;
    let bill: Value = serde_json::from_str(&bill_of_materials(&root(), &bytes)?)?;
    let components = bill["components"].as_array().context("components")?;
    let listed: Vec<_> =
        components.iter().map(|c| format!("{}-{}", c["name"], c["version"]).replace('"', "")).collect();
    // Messages of panics name files: `/cargo/registry/src/<index>/memchr-2.7.4/src/…`.
    let text = String::from_utf8_lossy(&bytes);
    let folders = text.split("/cargo/registry/src/").skip(1);
    let traces: Vec<_> = folders.filter_map(|rest| rest.split('/').nth(1)).collect();
    ensure!(!traces.is_empty(), "no panic names its file any more: this test looks at nothing");
    for package in traces {
        ensure!(listed.iter().any(|listed| listed == package), "{package} is not among {listed:?}");
    }
    // What only runs at build time is not in it.
    for absent in ["syn", "wit-bindgen-rust-macro", "wit-parser", "proc-macro2", "rejoin-guest"] {
        ensure!(!components.iter().any(|component| component["name"] == absent), "{absent}");
    }
    Ok(())
}

#[test]
fn the_bill_of_materials_is_the_same_each_time_and_names_the_component_s_bytes() -> Result<()> {
    let bytes = shipped()?;
    let once = bill_of_materials(&root(), &bytes)?;
    assert_eq!(once, bill_of_materials(&root(), &bytes)?);
    let bill: Value = serde_json::from_str(&once)?;
    assert_eq!(bill["metadata"]["component"]["hashes"][0]["content"], COMPONENT_SHA256);
    for (place, component) in bill["components"].as_array().context("components")?.iter().enumerate() {
        let ours = component["name"] == "rejoin-core" || component["name"] == "rust-std";
        ensure!(ours || component["hashes"][0]["content"].as_str().is_some_and(|sum| sum.len() == 64), "{component}");
        let reference = &component["bom-ref"];
        let known = bill["dependencies"].as_array().context("dependencies")?.iter();
        let needed = known.flat_map(|entry| entry["dependsOn"].as_array().cloned().unwrap_or_default());
        ensure!(needed.into_iter().any(|name| name == *reference), "nobody needs number {place}, {reference}");
    }
    let absent = ["timestamp", "serialNumber"].iter().find(|word| once.contains(**word));
    ensure!(absent.is_none(), "{absent:?} differs each time");
    Ok(())
}
