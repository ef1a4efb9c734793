//! `cargo xtask serve`

use std::process::ExitCode;

use anyhow::Result;

use super::{cargo, hand_over_to};

/// The release build of the server, with `arguments`. It says itself where it listens.
pub(crate) fn serve(arguments: &[String]) -> Result<ExitCode> {
    hand_over_to(cargo()?.args(["run", "--release", "--package", "rejoin", "--bin", "rejoin", "--"]).args(arguments))
}
