//! `cargo xtask test`

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use xtask::{packages, workspace, write_atomically};

use super::{cargo, hand_over_to};

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
    install_what_is_missing()?;
    install_schemathesis(&workspace()?)?;
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

/// What the test of the API document starts: a Python of its own with the packages of `tests/e2e/openapi/requirements.txt`.
fn install_schemathesis(workspace: &Path) -> Result<()> {
    let folder = workspace.join("target/tools/schemathesis");
    let wanted = workspace.join("tests/e2e/openapi/requirements.txt");
    let (installed, list) = (folder.join("requirements.txt"), std::fs::read(&wanted)?);
    if std::fs::read(&installed).is_ok_and(|installed| installed == list) {
        return Ok(());
    }
    eprintln!("installing schemathesis to target/tools");
    let make = || {
        let made =
            Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder).stdout(std::io::stderr()).status();
        made.is_ok_and(|status| status.success())
    };
    if !make() {
        packages::install(&["python3-venv"]).context("the test of the API document wants a Python")?;
        if !make() {
            bail!("python3 -m venv fails: see above");
        }
    }
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"]).arg(&wanted);
    if !pip.stdout(std::io::stderr()).status().context("cannot run pip")?.success() {
        bail!("pip cannot install {}", wanted.display());
    }
    write_atomically(&installed, &list)
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
