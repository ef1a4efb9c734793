//! The WIT package as a contract, and the bytes of the component.

mod build;
mod compatible;
mod package;
mod reference;
mod walk;

use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Fails unless `path` (below the root) holds `wanted`; with `BLESS=1` in the environment it is written instead.
fn up_to_date(path: &str, wanted: &str) -> Result<()> {
    let file = rejoin_tests::root().join(path);
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        return std::fs::write(&file, wanted).with_context(|| format!("cannot write {path}"));
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = found.lines().zip(wanted.lines()).position(|(found, wanted)| found != wanted);
    let line = differs.unwrap_or_else(|| found.lines().count().min(wanted.lines().count())) + 1;
    ensure!(
        found == wanted,
        "{path} is out of date from line {line}: `BLESS=1 cargo test -p rejoin-tests contract` writes it"
    );
    Ok(())
}

/// `text` with what stands between the two markers replaced.
fn between(text: &str, begin: &str, end: &str, content: &str) -> Result<String> {
    let (before, rest) = text.split_once(begin).with_context(|| format!("no {begin:?}"))?;
    let (_, after) = rest.split_once(end).with_context(|| format!("no {end:?}"))?;
    Ok(format!("{before}{begin}\n{content}{end}{after}"))
}

fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}
