//! `cargo xtask fuzz`: libFuzzer with coverage, on the compiler that is there.
//!
//! Coverage is a pass of the compiler that needs no nightly. It is wanted in this workspace's crates only, so this program
//! stands in for the compiler of these (`RUSTC_WORKSPACE_WRAPPER`): every dependency is taken as the tests built it.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use xtask::workspace;

use super::cargo;

const TARGETS: [&str; 5] = ["ndjson", "provider", "cursor", "token", "boundary"];
const SECONDS: u64 = 600;
/// Set for the compiler that this program stands in for.
const WRAPPER: &str = "REJOIN_FUZZ_WRAPPER";
/// What is searched through. Build scripts and this program are not: nothing would count for them.
const COVERED: [&str; 3] = ["rejoin", "rejoin_core", "rejoin_tests"];
const COVERAGE: [&str; 4] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4 -sanitizer-coverage-inline-8bit-counters -sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// Searches in the named targets, or in all, one after another. What breaks a law is left in `target/fuzz/<target>`.
pub(crate) fn fuzz(arguments: &[String]) -> Result<ExitCode> {
    let (targets, seconds) = parse(arguments)?;
    let workspace = workspace()?;
    build(&workspace)?;
    let mut found = Vec::new();
    for target in targets {
        let folder = workspace.join("target/fuzz").join(target);
        let (corpus, seeds) = (folder.join("corpus"), folder.join("seeds"));
        std::fs::create_dir_all(&corpus)?;
        std::fs::create_dir_all(&seeds)?;
        let mut fuzzer = Command::new(workspace.join("target/debug/fuzz"));
        fuzzer
            .env("REJOIN_FUZZ", target)
            .env("REJOIN_FUZZ_SEEDS", &seeds)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", folder.display()))
            .args(["-print_final_stats=1", "-timeout=30", "-rss_limit_mb=4096", "-max_len=16384"])
            .args([&corpus, &seeds]);
        if !fuzzer.status().context("cannot run the fuzzer")?.success() {
            found.push(format!("{target}: see the lines above, and target/fuzz/{target}/crash-…"));
        }
    }
    if found.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    bail!(
        "a law was broken; keep the bytes in tests/cases/fuzz/<target>/, where the tests run them:\n{}",
        found.join("\n")
    )
}

fn parse(arguments: &[String]) -> Result<(Vec<&'static str>, u64)> {
    let (mut targets, mut seconds) = (Vec::new(), SECONDS);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--seconds" {
            let number = arguments.next().and_then(|number| number.parse().ok());
            seconds = number.context("--seconds wants a whole number")?;
        } else {
            let known = TARGETS.into_iter().find(|target| target == argument);
            targets.push(known.with_context(|| format!("no target {argument:?}: there are {}", TARGETS.join(", ")))?);
        }
    }
    if targets.is_empty() {
        targets.extend(TARGETS);
    }
    Ok((targets, seconds))
}

fn build(workspace: &Path) -> Result<()> {
    let mut cargo = cargo()?;
    cargo
        .current_dir(workspace)
        .env("RUSTC_WORKSPACE_WRAPPER", std::env::current_exe()?)
        .env(WRAPPER, "1")
        // The core does the work: without this it is ten times slower, and its overflows are still found.
        .args(["--config", "profile.dev.package.rejoin-core.opt-level=2"])
        .args(["build", "--package", "rejoin-tests", "--bin", "fuzz", "--features", "fuzz"]);
    if !cargo.status().context("cannot run cargo")?.success() {
        bail!("the fuzz targets do not build");
    }
    Ok(())
}

/// Where cargo calls this program as the compiler: compiles, and says how it went.
pub(crate) fn as_compiler() -> Option<ExitCode> {
    std::env::var_os(WRAPPER)?;
    let mut arguments = std::env::args_os().skip(1);
    let compiler = arguments.next()?;
    let arguments: Vec<OsString> = arguments.collect();
    let mut rustc = Command::new(compiler);
    rustc.args(&arguments);
    if is_covered(&arguments) {
        rustc.args(COVERAGE);
    }
    let code = rustc.status().ok().and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
    Some(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn is_covered(arguments: &[OsString]) -> bool {
    let names = arguments.iter().zip(arguments.iter().skip(1));
    let mut names = names.filter(|(flag, _)| *flag == "--crate-name").map(|(_, name)| name);
    names.any(|name| COVERED.iter().any(|covered| name == covered))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn all_targets_run_for_ten_minutes_unless_told() {
        assert_eq!(parse(&[]).expect("nothing said"), (TARGETS.to_vec(), 600));
        assert_eq!(parse(&words("cursor --seconds 5")).expect("both"), (vec!["cursor"], 5));
        for line in ["klingon", "--seconds", "--seconds x"] {
            assert!(parse(&words(line)).is_err(), "{line}");
        }
    }

    #[test]
    fn only_crates_of_the_house_are_covered() {
        let covered = |line| is_covered(&words(line).into_iter().map(OsString::from).collect::<Vec<_>>());
        assert!(covered("--crate-name rejoin_core --edition=2024"));
        assert!(
            !covered("--crate-name build_script_build src/build.rs")
                && !covered("--crate-name fuzz")
                && !covered("-vV")
        );
    }
}
