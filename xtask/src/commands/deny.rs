//! `cargo xtask deny`

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use xtask::workspace;

use super::cargo;

/// Fixed, so that every machine judges alike.
const VERSION: &str = "0.20.2";

/// Licences, duplicates and sources of every dependency; then advisories, whose database lies elsewhere: without a
/// network the command says that they were not checked, and does not fail for it.
pub(crate) fn deny() -> Result<ExitCode> {
    let workspace = workspace()?;
    let program = workspace.join("target/tools/bin/cargo-deny");
    if !program.exists() {
        install()?;
    }
    let check = |what: &[&str]| {
        let mut deny = Command::new(&program);
        deny.current_dir(&workspace).args(["--all-features", "check", "--hide-inclusion-graph"]).args(what);
        deny.status().context("cannot run cargo-deny")
    };
    if !check(&["licenses", "bans", "sources"])?.success() {
        bail!("see above: deny.toml says what is allowed");
    }
    let mut fetch = Command::new(&program);
    let fetched = fetch.current_dir(&workspace).args(["fetch", "db"]).output().context("cannot run cargo-deny")?;
    if !fetched.status.success() {
        println!(
            "advisories NOT CHECKED: the database cannot be fetched from here. Run this where there is a network."
        );
        return Ok(ExitCode::SUCCESS);
    }
    if !check(&["advisories"])?.success() {
        bail!("see above: an advisory is about a dependency");
    }
    Ok(ExitCode::SUCCESS)
}

fn install() -> Result<()> {
    eprintln!("installing cargo-deny {VERSION} to target/tools: this takes some minutes, once");
    let mut cargo = cargo()?;
    cargo.args(["install", "--locked", "--root", "target/tools", "cargo-deny", "--version", VERSION]);
    if !cargo.status().context("cannot run cargo")?.success() {
        bail!("cargo-deny cannot be installed");
    }
    Ok(())
}
