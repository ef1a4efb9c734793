//! The component in Node: the tests of its kit, over the real program, a real Redis, and traps that are real.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rejoin_tests::command::program;
use rejoin_tests::foreign;
use tokio::process::Command;

/// Longer than all of it takes on a machine that is busy with other tests. Each test has its own limit, and is named when it hangs.
const ALL_MAX: Duration = Duration::from_secs(600);
/// As many tests as there are at least: fewer means that some were not found.
const TESTS_MIN: u32 = 100;

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
    let (status, text) =
        foreign::run(node.env("REJOIN_PROGRAM", program()?), ALL_MAX).await.context("node (20 or newer)")?;
    let count = |what: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("# {what} ")));
        line.and_then(|number| number.trim().parse::<u32>().ok())
            .with_context(|| format!("no count of {what}:\n{text}"))
    };
    let (tests, passed, skipped) = (count("tests")?, count("pass")?, count("skipped")?);
    ensure!(status.success() && passed == tests && skipped == 0, "{status}\n{text}");
    ensure!(tests >= TESTS_MIN, "{tests} tests only:\n{text}");
    println!("{tests} tests in Node");
    Ok(())
}
