//! `cargo xtask fold` and `cargo xtask bench`

use std::process::ExitCode;

use anyhow::Result;

use super::{cargo, hand_over_to};

/// The program `name` of the tests package, with `arguments`. Standard output carries its results and nothing of cargo's.
pub(crate) fn tool(name: &str, arguments: &[String]) -> Result<ExitCode> {
    hand_over_to(
        cargo()?
            .args(["run", "--release", "--quiet", "--package", "rejoin-tests", "--bin", name, "--"])
            .args(arguments),
    )
}
