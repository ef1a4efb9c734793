//! The bill of materials of the component: exactly the packages whose code is in it. CycloneDX 1.6, the same bytes from the
//! same inputs: no time, no random number.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::component::{PACKAGE, sha256};
use crate::environment;
use crate::source::{self, TARGET};

/// The bill of materials of `component`, which was built in `workspace`, as JSON text.
///
/// Packages, licences and who needs whom are cargo's answer for the wasm target alone: no build scripts, no macros, no tests,
/// whatever the profile. Checksums are those of `Cargo.lock`. The standard library counts as one package with the
/// compiler's version, and where it is built along with the component, what it takes from the registry is listed as well.
/// Errors: cargo cannot answer; `Cargo.lock` lacks a package.
pub fn bill_of_materials(workspace: &Path, component: &[u8]) -> Result<String> {
    let library = source::standard_library(workspace)?;
    let ours = Part::ask(workspace, tree().args(["--package", PACKAGE]))?;
    let theirs = match &library.built {
        None => Part::default(),
        Some((sources, rustc)) => {
            let mut tree = tree();
            tree.arg("--manifest-path").arg(sources.join("std/Cargo.toml"));
            Part::ask(sources, tree.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1"))?
        }
    };
    let bill = bill(&ours, &theirs, &library.version, &sha256(component))?;
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}

/// What cargo says of one workspace.
#[derive(Default)]
struct Part {
    tree: String,
    lock: String,
}

impl Part {
    fn ask(workspace: &Path, cargo: &mut Command) -> Result<Self> {
        let output = cargo.current_dir(workspace).output().context("cannot run cargo tree")?;
        if !output.status.success() {
            bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let tree = String::from_utf8(output.stdout).context("cargo tree printed something that is not text")?;
        Ok(Part { tree, lock: std::fs::read_to_string(workspace.join("Cargo.lock")).context("Cargo.lock")? })
    }
}

fn tree() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    environment::scrub(&mut cargo);
    cargo.args(["tree", "--locked", "--target", TARGET, "--edges", "normal,no-proc-macro"]);
    cargo.args(["--prefix", "depth", "--no-dedupe", "--format", "|{p}|{l}"]);
    cargo
}

/// One line of `cargo tree`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: String,
}

impl Package {
    fn reference(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }

    /// Its entry; without a checksum where it is a part of this workspace, whose bytes are in no registry.
    fn entry(&self, sum: Option<&str>) -> Result<Value> {
        ensure!(!self.licence.is_empty(), "{} {} names no licence", self.name, self.version);
        let mut entry = json!({
            "type": "library",
            "bom-ref": self.reference(),
            "name": self.name,
            "version": self.version,
            "purl": self.reference(),
            "licenses": [{ "expression": self.licence }],
        });
        if let Some(sum) = sum {
            entry["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
        }
        Ok(entry)
    }
}

fn bill(ours: &Part, theirs: &Part, library: &str, component: &str) -> Result<Value> {
    let (packages, needs) = read_tree(&ours.tree)?;
    let (root, rest) = packages.split_first().context("cargo tree printed nothing")?;
    let standard = format!("pkg:generic/rust-std@{library}");
    let mut components = Vec::new();
    let sums = checksums(&ours.lock);
    for package in rest.iter().collect::<BTreeSet<_>>() {
        let Some(sum) = sums.get(&(package.name.as_str(), package.version.as_str())) else {
            bail!("Cargo.lock has no {} {}: run cargo once, it mends that", package.name, package.version);
        };
        components.push(package.entry(*sum)?);
    }
    let sums = checksums(&theirs.lock);
    let mut needed_by_standard = BTreeSet::new();
    // Its own packages are the standard library; those of the registry are named.
    for package in read_tree(&theirs.tree)?.0.iter().collect::<BTreeSet<_>>() {
        if let Some(sum @ Some(_)) = sums.get(&(package.name.as_str(), package.version.as_str())) {
            // Rarely, but possibly, a package and version that we have ourselves.
            if !rest.contains(package) {
                components.push(package.entry(*sum)?);
            }
            needed_by_standard.insert(package.reference());
        }
    }
    components.push(json!({
        "type": "library",
        "bom-ref": standard,
        "name": "rust-std",
        "version": library,
        "purl": standard,
        "description": "The standard library of the compiler that built the component",
        "licenses": [{ "expression": "MIT OR Apache-2.0" }],
    }));
    let mut dependencies: Vec<Value> = needs
        .into_iter()
        .map(|(package, mut needed)| {
            needed.insert(standard.clone());
            let of = if package == root.reference() { component_reference(root) } else { package };
            json!({ "ref": of, "dependsOn": needed })
        })
        .collect();
    dependencies.push(json!({ "ref": standard, "dependsOn": needed_by_standard }));
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": {
            "type": "library",
            "bom-ref": component_reference(root),
            "name": "rejoin.wasm",
            "version": root.version,
            "description": "The component of the WIT package rejoin:streams",
            "licenses": [{ "expression": root.licence }],
            "hashes": [{ "alg": "SHA-256", "content": component }],
        } },
        "components": components,
        "dependencies": dependencies,
    }))
}

fn component_reference(root: &Package) -> String {
    format!("rejoin.wasm@{}", root.version)
}

type Needs = BTreeMap<String, BTreeSet<String>>;

/// The packages in the order of `tree`, the root first, and who needs whom by reference.
fn read_tree(tree: &str) -> Result<(Vec<Package>, Needs)> {
    let (mut packages, mut above, mut needs) = (Vec::new(), Vec::<String>::new(), Needs::new());
    for line in tree.lines() {
        let (depth, package) = read_line(line).with_context(|| format!("cargo tree printed {line:?}"))?;
        ensure!(depth <= above.len(), "cargo tree printed {line:?} below {above:?}");
        above.truncate(depth);
        let reference = package.reference();
        needs.entry(reference.clone()).or_default();
        if let Some(parent) = above.last() {
            needs.entry(parent.clone()).or_default().insert(reference.clone());
        }
        above.push(reference);
        packages.push(package);
    }
    Ok((packages, needs))
}

/// `2|memchr v2.8.3|Unlicense OR MIT`, of a workspace's package with its path behind the version.
fn read_line(line: &str) -> Option<(usize, Package)> {
    let mut parts = line.split('|');
    let (depth, name, licence) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let mut words = name.split(' ');
    let (name, version) = (words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned());
    // Old manifests write a slash, which is no SPDX expression.
    let licence = licence.replace('/', " OR ");
    Some((depth, Package { name, version, licence }))
}

/// The checksum of every package in `Cargo.lock`; of a workspace's own there is none.
fn checksums(lock: &str) -> BTreeMap<(&str, &str), Option<&str>> {
    let value = |block: &'_ str, key: &str| -> Option<(usize, usize)> {
        let start = block.find(&format!("\n{key} = \""))? + key.len() + 5;
        Some((start, start + block[start..].find('"')?))
    };
    let blocks = lock.split("\n[[package]]");
    let package = |block| {
        let text = |key| value(block, key).map(|(start, end)| &block[start..end]);
        Some(((text("name")?, text("version")?), text("checksum")))
    };
    blocks.filter_map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(tree: &str, lock: &str) -> Part {
        Part { tree: tree.to_owned(), lock: lock.to_owned() }
    }

    const STANDARD: &str = "\
0|std v0.0.0 (/usr/library/std)|MIT
1|dlmalloc v0.2.11|MIT/Apache-2.0
1|memchr v2.8.3|Unlicense/MIT
";
    const STANDARD_LOCK: &str = r#"
[[package]]
name = "dlmalloc"
version = "0.2.11"
checksum = "def"

[[package]]
name = "memchr"
version = "2.8.3"
checksum = "abc"

[[package]]
name = "std"
version = "0.0.0"
"#;
    const TREE: &str = "\
0|guest v0.1.0 (/somewhere/guest)|MIT OR Apache-2.0
1|core v0.1.0 (/somewhere/guest/core)|MIT OR Apache-2.0
2|memchr v2.8.3|Unlicense/MIT
1|memchr v2.8.3|Unlicense/MIT
";
    const LOCK: &str = r#"version = 4

[[package]]
name = "core"
version = "0.1.0"
dependencies = [
 "memchr",
]

[[package]]
name = "memchr"
version = "2.8.3"
source = "registry+https://example.com"
checksum = "abc"

[[package]]
name = "guest"
version = "0.1.0"
"#;

    #[test]
    fn every_package_stands_in_it_once_with_licence_address_and_the_checksum_of_the_lock() -> Result<()> {
        let bill = bill(&part(TREE, LOCK), &Part::default(), "1.96.0", "beef")?;
        let names: Vec<_> = bill["components"].as_array().context("a list")?.iter().map(|c| &c["name"]).collect();
        assert_eq!(names, ["core", "memchr", "rust-std"]);
        let memchr = &bill["components"][1];
        assert_eq!(memchr["purl"], "pkg:cargo/memchr@2.8.3");
        assert_eq!(memchr["licenses"], json!([{ "expression": "Unlicense OR MIT" }]));
        assert_eq!(memchr["hashes"], json!([{ "alg": "SHA-256", "content": "abc" }]));
        assert_eq!(bill["components"][0]["hashes"], Value::Null);
        assert_eq!(bill["metadata"]["component"]["hashes"][0]["content"], "beef");
        assert!(!bill.to_string().contains("somewhere"), "no path of this machine");
        Ok(())
    }

    #[test]
    fn who_needs_whom_is_told_with_the_component_at_the_root() -> Result<()> {
        let bill = bill(&part(TREE, LOCK), &Part::default(), "1.96.0", "beef")?;
        let of = |name: &str| -> Option<&Value> {
            bill["dependencies"].as_array()?.iter().find(|entry| entry["ref"] == name).map(|entry| &entry["dependsOn"])
        };
        let (core, memchr, std) = ("pkg:cargo/core@0.1.0", "pkg:cargo/memchr@2.8.3", "pkg:generic/rust-std@1.96.0");
        assert_eq!(of("rejoin.wasm@0.1.0"), Some(&json!([core, memchr, std])));
        assert_eq!(of(core), Some(&json!([memchr, std])));
        assert_eq!(of(memchr), Some(&json!([std])));
        Ok(())
    }

    #[test]
    fn what_the_standard_library_takes_from_the_registry_is_listed_once_and_its_own_packages_are_one() -> Result<()> {
        let bill = bill(&part(TREE, LOCK), &part(STANDARD, STANDARD_LOCK), "1.96.0", "beef")?;
        let names: Vec<_> = bill["components"].as_array().context("a list")?.iter().map(|c| &c["name"]).collect();
        assert_eq!(names, ["core", "memchr", "dlmalloc", "rust-std"]);
        let last = bill["dependencies"].as_array().and_then(|all| all.last()).context("the last")?;
        assert_eq!(last["dependsOn"], json!(["pkg:cargo/dlmalloc@0.2.11", "pkg:cargo/memchr@2.8.3"]));
        Ok(())
    }

    #[test]
    fn a_package_that_the_lock_does_not_know_is_an_error_and_so_is_a_tree_that_cannot_be_read() {
        assert!(bill(&part(TREE, ""), &Part::default(), "1", "beef").is_err());
        for tree in ["", "1|core v0.1.0|MIT", "0|core|MIT", "0 core v0.1.0 MIT"] {
            assert!(bill(&part(tree, LOCK), &Part::default(), "1", "beef").is_err(), "{tree:?}");
        }
    }
}
