//! Builds the component: `guest/` in, one WebAssembly component out, the same bytes on every machine with the same compiler.
//!
//! Used by two build scripts (`host/`, `tests/`: they embed it compiled for the machine) and by the `cargo xtask` binary.
//!
//! * [`build_component`]: cargo for `wasm32-unknown-unknown` in a target directory of its own, then the component encoding.
//! * [`bill_of_materials`]: which packages are in it.
//! * [`source`]: where a compiler that can make wasm comes from, in which order.
//! * [`environment`]: which variables of the outer cargo must not reach the inner one.
//! * [`packages`]: Debian packages, installed when root, named when not.
//! * `build_script` (feature `precompile`, brings wasmtime and Cranelift): the whole of a build script that embeds the component.

#![forbid(unsafe_code)]

#[cfg(feature = "precompile")]
mod build_script;
mod component;
pub mod environment;
mod materials;
pub mod packages;
#[cfg(feature = "precompile")]
mod precompile;
mod seed;
pub mod source;

#[cfg(feature = "precompile")]
pub use build_script::build_script;
pub use component::{Variant, build_component, build_component_with, sha256, workspace, write_atomically};
pub use materials::bill_of_materials;
#[cfg(feature = "precompile")]
pub use precompile::precompile;
