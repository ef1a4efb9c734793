//! `cargo xtask test`

use std::process::ExitCode;

use anyhow::{Context, Result};
use xtask::packages;

use super::{cargo, hand_over_to};

/// A program that the tests start, and the Debian package that brings it.
struct Needed {
    /// Any of these names will do.
    programs: &'static [&'static str],
    package: &'static str,
}

const NEEDED: &[Needed] = &[
    Needed { programs: &["redis-server", "valkey-server"], package: "redis-server" },
    Needed {
        programs: &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
        package: "chromium",
    },
];

/// Every test of the workspace, or those whose names contain one of `filters`. The last lines are cargo's own.
pub(crate) fn test(filters: &[String]) -> Result<ExitCode> {
    install_what_is_missing()?;
    hand_over_to(cargo()?.args(["test", "--workspace", "--"]).args(filters))
}

fn install_what_is_missing() -> Result<()> {
    let missing = missing(NEEDED, |programs| packages::first_on_path(programs).is_some());
    if missing.is_empty() {
        return Ok(());
    }
    packages::install(&missing).context("the tests start these programs")?;
    Ok(())
}

fn missing(needed: &[Needed], present: impl Fn(&[&str]) -> bool) -> Vec<&'static str> {
    needed.iter().filter(|needed| !present(needed.programs)).map(|needed| needed.package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_package_of_a_missing_program_is_installed() {
        assert_eq!(missing(NEEDED, |programs| programs.contains(&"redis-server")), ["chromium"]);
        assert_eq!(missing(NEEDED, |_| true), [""; 0]);
    }
}
