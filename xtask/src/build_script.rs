//! The whole of a build script that embeds the component.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{Variant, build_component, precompile, workspace, write_atomically};

/// What the component is made of. This library is left out: when it changes, so does the build script that calls it.
const INGREDIENTS: &[&str] =
    &["guest/Cargo.toml", "guest/src", "guest/core/Cargo.toml", "guest/core/src", "wit", "Cargo.toml", "Cargo.lock"];

/// Leaves `<name>.wasm` (the component) and `<name>.cwasm` (the same as machine code for the target) in `OUT_DIR`.
pub fn build_script(variant: Variant, name: &str) -> Result<()> {
    let workspace = workspace()?;
    for ingredient in INGREDIENTS {
        println!("cargo:rerun-if-changed={}", workspace.join(ingredient).display());
    }
    let out = PathBuf::from(variable("OUT_DIR")?);
    let component = build_component(&workspace, variant)?;
    let target = variable("TARGET")?;
    let code = precompile(&component, &target).with_context(|| format!("no machine code for {target}"))?;
    write_atomically(&out.join(name).with_extension("cwasm"), &code)?;
    write_atomically(&out.join(name).with_extension("wasm"), &component)
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set: this runs in a build script"))
}
