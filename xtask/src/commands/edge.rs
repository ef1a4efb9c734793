//! `cargo xtask edge`

use std::process::Command;
#[cfg(not(feature = "compose"))]
use std::process::ExitCode;

use anyhow::Result;

#[cfg(feature = "compose")]
pub(crate) use composed::edge;

/// Writes the components for hosts of `wasi:http` 0.2 and 0.3 to `target/rejoin-edge.wasm` and `target/rejoin-edge-p3.wasm`.
/// Prints a line for each: size, SHA-256, path.
#[cfg(not(feature = "compose"))]
pub(crate) fn edge() -> Result<ExitCode> {
    super::hand_over_to(&mut itself()?)
}

/// This program again, with what composes components: every other command starts sooner without it.
pub(super) fn itself() -> Result<Command> {
    let mut cargo = super::cargo()?;
    cargo.args(["run", "--quiet", "--package", "xtask", "--features", "compose", "--", "edge"]);
    Ok(cargo)
}

#[cfg(feature = "compose")]
mod composed {
    use std::process::ExitCode;

    use anyhow::{Context, Result};
    use wac_graph::types::Package;
    use wac_graph::{CompositionGraph, EncodeOptions, NodeId};
    use xtask::{Variant, build_component, sha256, workspace, write_atomically};

    /// A file for each version of `wasi:http`: who calls it, by which export.
    const WRITTEN: [(&str, Variant, &str); 2] = [
        ("target/rejoin-edge.wasm", Variant::EdgeAdapter, "wasi:http/incoming-handler@0.2.12"),
        ("target/rejoin-edge-p3.wasm", Variant::EdgeAdapterP3, "wasi:http/handler@0.3.0"),
    ];

    /// As without the feature.
    pub(crate) fn edge() -> Result<ExitCode> {
        let workspace = workspace()?;
        let core = build_component(&workspace, Variant::Shipped)?;
        let calls = build_component(&workspace, Variant::EdgeCalls)?;
        for (path, variant, handler) in WRITTEN {
            let adapter = build_component(&workspace, variant)?;
            let bytes = compose(calls.clone(), core.clone(), adapter, handler)?;
            write_atomically(&workspace.join(path), &bytes)?;
            println!("{} bytes  sha256 {}  {path}", bytes.len(), sha256(&bytes));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The core imports the calls, the adapter both; what is left to import is the host's. Each component is in it as it is.
    fn compose(calls: Vec<u8>, core: Vec<u8>, adapter: Vec<u8>, handler: &str) -> Result<Vec<u8>> {
        let mut graph = CompositionGraph::new();
        let mut add = |name: &str, bytes: Vec<u8>| -> Result<NodeId> {
            let package = Package::from_bytes(name, None, bytes, graph.types_mut())?;
            let package = graph.register_package(package)?;
            Ok(graph.instantiate(package))
        };
        let calls = add("rejoin:edge-calls", calls)?;
        let core = add("rejoin:core", core)?;
        let adapter = add("rejoin:edge-adapter", adapter)?;
        let mut join = |from: NodeId, to: NodeId, names: &[&str]| -> Result<()> {
            for name in names {
                let export = graph.alias_instance_export(from, name)?;
                graph.set_instantiation_argument(to, name, export).with_context(|| (*name).to_owned())?;
            }
            Ok(())
        };
        join(calls, core, &["rejoin:streams/types@0.1.0", "rejoin:streams/store@0.1.0", "rejoin:streams/sse@0.1.0"])?;
        join(calls, adapter, &["rejoin:streams/types@0.1.0", "rejoin:edge/calls@0.1.0"])?;
        join(core, adapter, &["rejoin:streams/session@0.1.0", "rejoin:streams/translate@0.1.0"])?;
        let export = graph.alias_instance_export(adapter, handler)?;
        graph.export(export, handler)?;
        graph.encode(EncodeOptions::default()).context("the components do not fit one another")
    }
}
