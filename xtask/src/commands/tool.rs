//! `cargo xtask fold` and `cargo xtask bench`

use std::process::ExitCode;

use anyhow::Result;

use super::test::install_hosts;
use super::{cargo, hand_over_to};

/// The benchmarks of these names. `embed` runs the component in other hosts, which are installed as for the tests.
pub(crate) fn bench(names: &[String]) -> Result<ExitCode> {
    if names.iter().any(|name| name == "embed") {
        install_hosts()?;
    }
    tool("bench", names)
}

/// The program `name` of the tests package, with `arguments`. Standard output carries its results and nothing of cargo's.
pub(crate) fn tool(name: &str, arguments: &[String]) -> Result<ExitCode> {
    hand_over_to(
        cargo()?
            .args(["run", "--release", "--quiet", "--package", "rejoin-tests", "--bin", name, "--"])
            .args(arguments),
    )
}
