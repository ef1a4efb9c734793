//! `cargo xtask edge`

use std::process::Command;
#[cfg(not(feature = "compose"))]
use std::process::ExitCode;

use anyhow::Result;

#[cfg(feature = "compose")]
pub(crate) use composed::edge;

/// Writes the component for `wasi:http` hosts to `target/rejoin-edge.wasm` and prints a line: size, SHA-256, path.
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
    use sha2::{Digest, Sha256};
    use wac_graph::types::Package;
    use wac_graph::{CompositionGraph, EncodeOptions, NodeId};
    use xtask::{Variant, build_component, workspace, write_atomically};

    const WRITTEN: &str = "target/rejoin-edge.wasm";

    /// As without the feature.
    pub(crate) fn edge() -> Result<ExitCode> {
        let workspace = workspace()?;
        let core = build_component(&workspace, Variant::Shipped)?;
        let calls = build_component(&workspace, Variant::EdgeCalls)?;
        let adapter = build_component(&workspace, Variant::EdgeAdapter)?;
        let bytes = compose(calls, core, adapter)?;
        write_atomically(&workspace.join(WRITTEN), &bytes)?;
        let sum: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        println!("{} bytes  sha256 {sum}  {WRITTEN}", bytes.len());
        Ok(ExitCode::SUCCESS)
    }

    /// The core imports the calls, the adapter both; what is left to import is the host's. Each component is in it as it is.
    fn compose(calls: Vec<u8>, core: Vec<u8>, adapter: Vec<u8>) -> Result<Vec<u8>> {
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
        let handler = "wasi:http/incoming-handler@0.2.12";
        let export = graph.alias_instance_export(adapter, handler)?;
        graph.export(export, handler)?;
        graph.encode(EncodeOptions::default()).context("the components do not fit one another")
    }
}
