//! A WIT package as text that a test may change, and whether one may take the place of another.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use semver::Version;
use wit_component::semver_check;
use wit_parser::{Resolve, SourceMap, UnresolvedPackageGroup, WorldId};

use super::read;

/// The world that hosts and component agree on.
const WORLD: &str = "engine";

/// The files of a package by name, and those of what it depends on by `folder/name`.
#[derive(Clone)]
pub(super) struct Package {
    files: BTreeMap<String, String>,
    dependencies: BTreeMap<String, String>,
}

impl Package {
    /// The package in `folder`, with the dependencies in its `deps/`.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let mut dependencies = BTreeMap::new();
        for dependency in std::fs::read_dir(folder.join("deps"))? {
            let dependency = dependency?;
            for (name, text) in wit_files(&dependency.path())? {
                dependencies.insert(format!("{}/{name}", dependency.file_name().to_string_lossy()), text);
            }
        }
        Ok(Package { files: wit_files(folder)?, dependencies })
    }

    /// The released package with the highest version.
    pub(super) fn last_released() -> Result<Self> {
        let folder = rejoin_tests::root().join("wit/released");
        let names = std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let names = names.collect::<Result<Vec<_>>>()?;
        let versions = names.iter().map(|name| Version::parse(name).with_context(|| format!("wit/released/{name}")));
        let last = versions.collect::<Result<Vec<_>>>()?.into_iter().max().context("wit/released is empty")?;
        let package = Self::read(&folder.join(last.to_string()))?;
        ensure!(package.version()? == last, "wit/released/{last} holds version {}", package.version()?);
        Ok(package)
    }

    /// The same with `old` in `file`, which stands there once, replaced by `new`.
    pub(super) fn with(&self, file: &str, old: &str, new: &str) -> Result<Self> {
        let mut package = self.clone();
        let text = package.files.get_mut(file).with_context(|| format!("no {file}"))?;
        ensure!(text.matches(old).count() == 1, "{old:?} does not stand in {file} once");
        *text = text.replace(old, new);
        Ok(package)
    }

    pub(super) fn version(&self) -> Result<Version> {
        self.parse()?.main.name.version.context("the package has no version")
    }

    fn parse(&self) -> Result<UnresolvedPackageGroup> {
        parse(self.files.iter())
    }

    /// Adds the package to `resolve` under another version, so that two of the same version fit beside each other.
    fn push(&self, resolve: &mut Resolve, version: &str) -> Result<WorldId> {
        let mut folders: BTreeMap<&str, Vec<(&String, &String)>> = BTreeMap::new();
        for (path, text) in &self.dependencies {
            folders.entry(path.split('/').next().unwrap_or(path)).or_default().push((path, text));
        }
        let mut dependencies = Vec::new();
        for files in folders.into_values() {
            let dependency = parse(files)?;
            if !resolve.package_names.contains_key(&dependency.main.name) {
                dependencies.push(dependency);
            }
        }
        let mut group = self.parse()?;
        group.main.name.version = Some(Version::parse(version)?);
        let package = resolve.push_groups(group, dependencies).map_err(|error| anyhow!("{error:?}"))?;
        resolve.packages[package].worlds.get(WORLD).copied().with_context(|| format!("no world {WORLD}"))
    }
}

fn wit_files(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wit") {
            let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
            files.insert(name, read(&path)?);
        }
    }
    Ok(files)
}

fn parse<'a>(files: impl IntoIterator<Item = (&'a String, &'a String)>) -> Result<UnresolvedPackageGroup> {
    let mut sources = SourceMap::default();
    for (name, text) in files {
        sources.push_str(name, text);
    }
    sources.parse().map_err(|(sources, error)| anyhow!(error.render(&sources)))
}

/// Whether a component of the world of `of` runs in every host that was written for the world of `in_hosts_of`.
///
/// `semver_check(prev, new)` asks whether a component made for `prev` fits where `new` is wanted: its worlds belong to
/// hosts, ours to one component and many hosts. So the component's world stands first, the hosts' second.
pub(super) fn component_runs(of: &Package, in_hosts_of: &Package) -> Result<()> {
    let mut resolve = Resolve::default();
    let component = of.push(&mut resolve, "0.0.1")?;
    let hosts = in_hosts_of.push(&mut resolve, "0.0.2")?;
    semver_check(resolve, component, hosts)
}

/// Whether `new` may be what follows `released`: a component of it runs in the same hosts, or its version says that it does
/// not.
pub(super) fn may_follow(released: &Package, new: &Package) -> Result<()> {
    let (was, is) = (released.version()?, new.version()?);
    ensure!(is >= was, "wit/ is version {is}, and {was} was released before");
    let Err(breaks) = component_runs(new, released) else { return Ok(()) };
    // In 0.x the middle number is the one for changes that break, from 1.0.0 on it is the first.
    let next = if was.major == 0 { Version::new(0, was.minor + 1, 0) } else { Version::new(was.major + 1, 0, 0) };
    if is >= next {
        return Ok(());
    }
    bail!(
        "wit/ is version {is}, but hosts made for {was} cannot run it: {breaks:#}\n\
         Take the change back, or make the version in wit/world.wit {next} (wit/README.md says what that means)"
    )
}
