//! The one wasmtime configuration, shared word for word by two programs: the build script that compiles the component ahead of time
//! (`xtask` includes this file by path) and the server that loads the result.
//!
//! wasmtime records these settings in the artifact and refuses to load it into an engine that differs, so a setting that changes
//! generated code belongs here. What the compiler alone knows (optimisation, target) is added by `xtask`; what only a running engine
//! knows (pooling, stack size) by the engine room: neither is recorded.

use wasmtime::Config;

/// The settings that an artifact and the engine that loads it must share.
///
/// Source: DESIGN 4 for the prices; `Metadata::check_compatible` in wasmtime 48 for what is recorded.
pub fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // Bounds a call's time: +16 %, where fuel would be +30 %.
        .epoch_interruption(true)
        .consume_fuel(false)
        // The component is plain sync functions; the default for builds with async is on and costs 29 %.
        .concurrency_support(false);
    config
}
