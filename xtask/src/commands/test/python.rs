//! Pythons of the tests, each with the packages that it needs.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use xtask::{packages, write_atomically};

/// A Python of its own in `target/tools`, and the file that lists its packages, all of them, each with its version.
struct Needed {
    name: &'static str,
    packages: &'static str,
}

const NEEDED: &[Needed] = &[
    // What the test of the API document starts.
    Needed { name: "schemathesis", packages: "tests/e2e/openapi/requirements.txt" },
    // What the kit for Python is tested with.
    Needed { name: "python", packages: "guest/embed/python/tests/requirements.txt" },
];

pub(super) fn install(workspace: &Path) -> Result<()> {
    NEEDED.iter().try_for_each(|needed| install_one(workspace, needed))
}

fn install_one(workspace: &Path, needed: &Needed) -> Result<()> {
    let folder = workspace.join("target/tools").join(needed.name);
    let wanted = workspace.join(needed.packages);
    let (installed, list) = (folder.join("requirements.txt"), std::fs::read(&wanted)?);
    if std::fs::read(&installed).is_ok_and(|installed| installed == list) {
        return Ok(());
    }
    eprintln!("installing the packages of {} to target/tools/{}", needed.packages, needed.name);
    make(&folder)?;
    pip(&folder, &["--no-deps".as_ref(), "--requirement".as_ref(), wanted.as_os_str()])?;
    write_atomically(&installed, &list)
}

/// An empty Python of its own in `folder`.
pub(super) fn make(folder: &Path) -> Result<()> {
    let make = || {
        let made =
            Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder).stdout(std::io::stderr()).status();
        made.is_ok_and(|status| status.success())
    };
    if !make() {
        packages::install(&["python3-venv"]).context("some tests want a Python")?;
        if !make() {
            bail!("python3 -m venv fails: see above");
        }
    }
    Ok(())
}

/// `pip install` in the Python of `folder`.
pub(super) fn pip(folder: &Path, wanted: &[&OsStr]) -> Result<()> {
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(wanted);
    if !pip.stdout(std::io::stderr()).status().context("cannot run pip")?.success() {
        bail!("pip cannot install {wanted:?}: see above");
    }
    Ok(())
}
