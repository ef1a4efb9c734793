//! The whole of a build script that embeds the component.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{Variant, build_component, precompile, sha256, workspace, write_atomically};

/// What the component is made of. This library is left out: when it changes, so does the build script that calls it.
const INGREDIENTS: &[&str] = &[
    "guest/Cargo.toml",
    "guest/src",
    "guest/core/Cargo.toml",
    "guest/core/src",
    "wit/deps",
    "Cargo.toml",
    "Cargo.lock",
];

/// Leaves `<name>.wasm` (the component) and `<name>.cwasm` (the same as machine code for the target) in `OUT_DIR`, and the SHA-256
/// of the first in the variable `COMPONENT_SHA256` of the code that is compiled next.
pub fn build_script(variant: Variant, name: &str) -> Result<()> {
    let workspace = workspace()?;
    // Not the whole of wit/: words about it change more often than it does.
    let wit = workspace.join("wit").read_dir()?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let wit = wit.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "wit"));
    for ingredient in INGREDIENTS.iter().map(|name| workspace.join(name)).chain(wit) {
        println!("cargo:rerun-if-changed={}", ingredient.display());
    }
    let out = PathBuf::from(variable("OUT_DIR")?);
    let component = build_component(&workspace, variant)?;
    println!("cargo:rustc-env=COMPONENT_SHA256={}", sha256(&component));
    let target = variable("TARGET")?;
    let code = precompile(&component, &target).with_context(|| format!("no machine code for {target}"))?;
    write_atomically(&out.join(name).with_extension("cwasm"), &code)?;
    write_atomically(&out.join(name).with_extension("wasm"), &component)
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set: this runs in a build script"))
}
