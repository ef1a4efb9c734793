//! The component in Node: the tests of its kit, over the real program, a real Redis, and traps that are real.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rejoin_tests::command::program;
use tokio::process::Command;
use tokio::time::timeout;

/// Longer than all of it takes on a machine that is busy with other tests.
const ALL_MAX: Duration = Duration::from_secs(420);
/// As many tests as there are at least: fewer means that some were not found.
const TESTS_MIN: u32 = 80;

/// Node, what it has started and what that has started: one group of processes, ended together.
struct Group(u32);

impl Drop for Group {
    fn drop(&mut self) {
        let group = format!("-{}", self.0);
        let _ = std::process::Command::new("kill").args(["-s", "KILL", "--", &group]).stderr(Stdio::null()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_test_of_the_kit_for_node_passes() -> Result<()> {
    let kit = rejoin_tests::root().join("guest/embed/node");
    let is_built = kit.join("dist/index.js").exists() && kit.join("node_modules").exists();
    ensure!(
        is_built,
        "the kit is not built: `cargo xtask test` does it, or npm ci && npm run build in {}",
        kit.display()
    );
    // A Node that was installed because there was none comes first.
    let own = rejoin_tests::root().join("target/tools/node/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&path)))?;

    // Named one by one: what a folder or a pattern means to it depends on its version.
    let mut files: Vec<_> =
        std::fs::read_dir(kit.join("test"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|file| file.to_string_lossy().ends_with(".test.mjs"));
    files.sort();
    let mut node = Command::new("node");
    node.args(["--test", "--test-reporter=tap"]).args(files).current_dir(&kit).env("PATH", path);
    node.env("REJOIN_PROGRAM", program()?).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = node.process_group(0).kill_on_drop(true).spawn().context("node cannot be started: install Node 20")?;
    let group = Group(child.id().context("it has ended at once")?);
    let output = timeout(ALL_MAX, child.wait_with_output()).await.context("the tests in Node do not end")??;
    let text = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // What a test that failed has left behind goes with it; else there is nobody, and the number may be another's soon.
    if output.status.success() {
        std::mem::forget(group);
    }
    let count = |what: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("# {what} ")));
        line.and_then(|number| number.trim().parse::<u32>().ok())
            .with_context(|| format!("no count of {what}:\n{text}"))
    };
    let (tests, passed, skipped) = (count("tests")?, count("pass")?, count("skipped")?);
    ensure!(output.status.success() && passed == tests && skipped == 0, "{}\n{text}", output.status);
    ensure!(tests >= TESTS_MIN, "{tests} tests only:\n{text}");
    println!("{tests} tests in Node");
    Ok(())
}
