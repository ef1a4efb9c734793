//! `cargo xtask test`

use std::process::ExitCode;

use anyhow::{Context, Result};
use xtask::{Variant, build_component, packages, workspace, write_atomically};

use super::{cargo, hand_over_to};

mod edge;
mod node;
mod python;

/// A program that the tests start, and the Debian package that brings it.
struct Needed {
    /// Any of these names will do.
    programs: &'static [&'static str],
    package: &'static str,
}

const NEEDED: &[Needed] = &[
    Needed { programs: &["redis-server", "valkey-server"], package: "redis-server" },
    Needed { programs: &["nginx", "/usr/sbin/nginx"], package: "nginx" },
    Needed {
        programs: &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
        package: "chromium",
    },
];

/// Every test of the workspace, or those whose names contain one of `filters`. The last lines are cargo's own.
pub(crate) fn test(filters: &[String]) -> Result<ExitCode> {
    install_hosts()?;
    hand_over_to(cargo()?.args(["test", "--workspace", "--"]).args(filters))
}

/// Everything that runs the component besides this workspace: programs, kits in other languages, the component as a file.
pub(crate) fn install_hosts() -> Result<()> {
    install_what_is_missing()?;
    let workspace = workspace()?;
    // Hosts in other languages read the component from a file, as their users would.
    for (variant, file) in [(Variant::Shipped, "rejoin.wasm"), (Variant::Traps, "rejoin-traps.wasm")] {
        write_atomically(&workspace.join("target").join(file), &build_component(&workspace, variant)?)?;
    }
    python::install(&workspace)?;
    node::install(&workspace)?;
    edge::install(&workspace)
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
        let present = |programs: &[&str]| programs.contains(&"redis-server") || programs.contains(&"nginx");
        assert_eq!(missing(NEEDED, present), ["chromium"]);
        assert_eq!(missing(NEEDED, |_| true), [""; 0]);
    }
}
