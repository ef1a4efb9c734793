//! cargo, then the component encoding.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use wit_component::ComponentEncoder;

use crate::source::{self, TARGET, Toolchain};
use crate::{environment, seed};

/// The profile of the wasm alone. Set through the environment: the workspace's release profile belongs to the native server.
/// `strip` takes function names too, 41 KB: a trap's backtrace has none.
const PROFILE: &[(&str, &str)] = &[
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
    ("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
];

/// What becomes the component.
pub(crate) const PACKAGE: &str = "rejoin-guest";

/// Which component: the one that is shipped, the one that traps when a test asks for it, or what stands around it at the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// What a server runs.
    Shipped,
    /// With the feature `test-traps`: certain events make it panic.
    Traps,
    /// What the core imports at the edge: it writes down what the core asks for.
    EdgeCalls,
    /// What a host of `wasi:http` 0.2 calls.
    EdgeAdapter,
    /// What a host of `wasi:http` 0.3 calls.
    EdgeAdapterP3,
}

impl Variant {
    /// Every variant has a target directory of its own: cargo gives both the same file name.
    fn folder(self) -> &'static str {
        match self {
            Self::Shipped => "guest",
            Self::Traps => "guest-traps",
            // Two packages, two file names.
            Self::EdgeCalls | Self::EdgeAdapter => "guest-edge",
            Self::EdgeAdapterP3 => "guest-edge-p3",
        }
    }

    fn sibling(self) -> Self {
        match self {
            Self::Shipped => Self::Traps,
            Self::Traps | Self::EdgeCalls | Self::EdgeAdapter | Self::EdgeAdapterP3 => Self::Shipped,
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Shipped | Self::Traps => PACKAGE,
            Self::EdgeCalls => "rejoin-edge-calls",
            Self::EdgeAdapter | Self::EdgeAdapterP3 => "rejoin-edge-adapter",
        }
    }

    fn features(self) -> &'static [&'static str] {
        match self {
            Self::Traps => &["--features", "test-traps"],
            Self::EdgeAdapterP3 => &["--features", "p3"],
            Self::Shipped | Self::EdgeCalls | Self::EdgeAdapter => &[],
        }
    }
}

/// Builds the component and returns its bytes, validated. Does nothing that cargo has already done.
///
/// One build at a time: others wait. Say nothing on standard output (a build script's belongs to cargo).
pub fn build_component(workspace: &Path, variant: Variant) -> Result<Vec<u8>> {
    let cargo_home = match std::env::var_os("CARGO_HOME") {
        Some(home) => home.into(),
        None => std::env::home_dir().context("no home directory")?.join(".cargo"),
    };
    build_component_with(workspace, variant, &cargo_home)
}

/// The same, with cargo's registry in `cargo_home`.
pub fn build_component_with(workspace: &Path, variant: Variant, cargo_home: &Path) -> Result<Vec<u8>> {
    let target = workspace.join("target");
    fs::create_dir_all(&target)?;
    // Build scripts run side by side; both would install packages, and the second copies what the first compiled.
    let turn = File::create(target.join("guest.lock"))?;
    if turn.try_lock().is_err() {
        eprintln!("waiting for another build of the component");
        turn.lock().context("cannot wait for the other build of the component")?;
    }

    let toolchain = source::find(workspace)?;
    let own_target = target.join(variant.folder());
    seed::seed(&own_target, &target.join(variant.sibling().folder()))?;
    compile(workspace, variant, &toolchain, &own_target, cargo_home)?;

    let module = format!("release/{}.wasm", variant.package().replace('-', "_"));
    let module = own_target.join(TARGET).join(module);
    let module = fs::read(&module).with_context(|| format!("cargo left no {}", module.display()))?;
    encode(&module)
}

/// The workspace that cargo runs this program for: a build script or `cargo run`.
pub fn workspace() -> Result<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").context("no CARGO_MANIFEST_DIR: start this with cargo")?;
    let workspace = Path::new(&package).parent().context("the package has no workspace above it")?;
    Ok(workspace.to_owned())
}

/// The SHA-256 of `bytes` in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes `bytes` to `path` so that a reader sees the old file or the new one, never a part.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, bytes).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))
}

fn compile(workspace: &Path, variant: Variant, toolchain: &Toolchain, target: &Path, cargo_home: &Path) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    environment::scrub(&mut cargo);
    cargo
        .current_dir(workspace)
        .args(["rustc", "--package", variant.package(), "--lib", "--crate-type", "cdylib"])
        .args(["--release", "--target", TARGET])
        .args(variant.features())
        .arg("--target-dir")
        .arg(target)
        .envs(PROFILE.iter().copied())
        .env("CARGO_HOME", cargo_home)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(workspace, toolchain, cargo_home))
        .stdout(std::io::stderr());
    toolchain.apply(&mut cargo);
    let status = cargo.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the component does not compile");
    }
    Ok(())
}

/// Well below the compiler's default: 385 KB instead of 472, and no slower at `fold`, as far as a busy machine could tell.
const INLINE_LESS: &str = "-Cllvm-args=-inline-threshold=75";

/// Sixteen bytes at a time where text is searched. Every host of components has had it for years.
const SIMD: &str = "-Ctarget-feature=+simd128";

/// Compiler flags: as cargo wants them, one separator apart. They take this machine's paths out of panic messages, so that the bytes
/// are the same everywhere.
fn flags(workspace: &Path, toolchain: &Toolchain, cargo_home: &Path) -> OsString {
    let library = toolchain.sysroot.join("lib/rustlib/src/rust");
    let mut flags = OsString::from(INLINE_LESS);
    flags.push("\u{1f}");
    flags.push(SIMD);
    for (from, to) in [(workspace, "/rejoin"), (cargo_home, "/cargo"), (&library, "/rust")] {
        flags.push("\u{1f}--remap-path-prefix=");
        flags.push(from);
        flags.push("=");
        flags.push(to);
    }
    flags
}

fn encode(module: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(module).context("the guest describes no world")?;
    encoder.encode().context("the guest does not fit its world")
}
