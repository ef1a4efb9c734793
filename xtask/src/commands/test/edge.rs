//! What the test of the edge component starts: a stock `wasmtime serve`, a real HTTP front of Redis, the component itself.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use xtask::packages;

/// The host that the server embeds too.
const WASMTIME: &str = "48.0.8";
/// What `wasmtime serve` is made of, and nothing else of the program.
const FEATURES: &str = "run,serve,compile,component-model,component-model-async,pooling-allocator,parallel-compilation";

pub(super) fn install(workspace: &Path) -> Result<()> {
    if packages::on_path("webdis").is_none() {
        packages::install(&["webdis"]).context("the test of the edge component wants an HTTP front of Redis")?;
    }
    wasmtime(workspace)?;
    let status = super::super::edge::itself()?.stdout(std::io::stderr()).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the edge component was not made: see above");
    }
    Ok(())
}

/// Into `target/tools/wasmtime`, unless it is there. Minutes on a fresh machine: it is compiled, quickly rather than well.
fn wasmtime(workspace: &Path) -> Result<()> {
    let folder = workspace.join("target/tools/wasmtime");
    let program = folder.join("bin/wasmtime");
    let version = Command::new(&program).arg("--version").output();
    if version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(WASMTIME)) {
        return Ok(());
    }
    eprintln!("installing wasmtime {WASMTIME} to target/tools: some minutes, once");
    let mut cargo = super::super::cargo()?;
    cargo
        .args(["install", "wasmtime-cli", "--version", WASMTIME, "--locked", "--no-default-features"])
        .args(["--features", FEATURES, "--root"])
        .arg(&folder)
        .env("CARGO_TARGET_DIR", workspace.join("target/tools/wasmtime-build"))
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .stdout(std::io::stderr());
    if !cargo.status().context("cannot run cargo")?.success() {
        bail!("wasmtime {WASMTIME} cannot be installed: see above");
    }
    // A gigabyte that is not wanted any more.
    let _ = std::fs::remove_dir_all(workspace.join("target/tools/wasmtime-build"));
    Ok(())
}
