//! `cargo xtask component`

use std::process::ExitCode;

use anyhow::Result;
use xtask::{Variant, bill_of_materials, build_component, sha256, workspace, write_atomically};

/// Writes the shipped component to `target/rejoin.wasm`, beside it `rejoin.wasm.sha256` (for `sha256sum -c`) and
/// `rejoin.wasm.cdx.json` (what is in it, CycloneDX), and prints a line: size, SHA-256, path.
pub(crate) fn component() -> Result<ExitCode> {
    let workspace = workspace()?;
    let bytes = build_component(&workspace, Variant::Shipped)?;
    let (sum, bill) = (sha256(&bytes), bill_of_materials(&workspace, &bytes)?);
    let target = workspace.join("target");
    write_atomically(&target.join("rejoin.wasm"), &bytes)?;
    write_atomically(&target.join("rejoin.wasm.sha256"), format!("{sum}  rejoin.wasm\n").as_bytes())?;
    write_atomically(&target.join("rejoin.wasm.cdx.json"), bill.as_bytes())?;
    println!("{} bytes  sha256 {sum}  target/rejoin.wasm", bytes.len());
    Ok(ExitCode::SUCCESS)
}
