//! `cargo xtask component`

use std::process::ExitCode;

use anyhow::Result;
use sha2::{Digest, Sha256};
use xtask::{Variant, build_component, workspace, write_atomically};

const WRITTEN: &str = "target/rejoin.wasm";

/// Writes the shipped component to `target/rejoin.wasm` and prints a line: size, SHA-256, path.
pub(crate) fn component() -> Result<ExitCode> {
    let workspace = workspace()?;
    let bytes = build_component(&workspace, Variant::Shipped)?;
    write_atomically(&workspace.join(WRITTEN), &bytes)?;
    let sum: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    println!("{} bytes  sha256 {sum}  {WRITTEN}", bytes.len());
    Ok(ExitCode::SUCCESS)
}
