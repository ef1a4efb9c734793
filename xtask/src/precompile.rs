//! Machine code for the component, made where Cranelift is: the server has none.

use anyhow::Result;
use wasmtime::{Engine, OptLevel};

#[path = "../../host/src/engine/tunables.rs"]
#[expect(unreachable_pub, reason = "the server's engine room, whose file this is, exports it")]
mod tunables;

/// Compiles `component` for `target`, a triple. The result loads into any engine made from `tunables::config`.
///
/// Without the CPU features that this machine happens to have: an image built here starts on every machine of that target.
pub fn precompile(component: &[u8], target: &str) -> Result<Vec<u8>> {
    let mut config = tunables::config();
    config.cranelift_opt_level(OptLevel::Speed);
    config.target(target)?;
    Ok(Engine::new(&config)?.precompile_component(component)?)
}
