//! Where the wasm target comes from. Source of the order: DESIGN 6.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::environment;
use crate::packages;

/// The target the component is compiled for: no WASI, so it imports exactly what the WIT world names.
pub const TARGET: &str = "wasm32-unknown-unknown";

const DEBIAN_PACKAGES: &[&str] = &["rustc-web", "rust-web-src", "lld-19"];
/// By its path: rustup's compiler of the same name usually comes first on `PATH`.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LINKER: &str = "wasm-ld-19";

/// What a machine offers, as far as the choice needs it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine {
    /// The active toolchain already has the target's standard library.
    pub sysroot_has_target: bool,
    /// rustup is there and `RUSTUP_AUTO_INSTALL` does not forbid it to install.
    pub rustup_may_install: bool,
    /// Debian's compiler, its library source and a wasm linker are there.
    pub debian_is_ready: bool,
    /// The Debian packages can be installed.
    pub apt_may_install: bool,
}

/// A way to the wasm target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The active toolchain has it.
    Sysroot,
    /// `rustup target add`.
    Rustup,
    /// Debian's compiler builds the standard library from its source package.
    Debian,
    /// As `Debian`, once the packages are installed.
    DebianAfterInstall,
}

/// The first way that `machine` allows.
pub fn choose(machine: Machine) -> Option<Source> {
    let ways = [
        (machine.sysroot_has_target, Source::Sysroot),
        (machine.rustup_may_install, Source::Rustup),
        (machine.debian_is_ready, Source::Debian),
        (machine.apt_may_install, Source::DebianAfterInstall),
    ];
    ways.into_iter().find_map(|(open, source)| open.then_some(source))
}

/// A compiler that can make wasm, as cargo wants to hear it.
#[derive(Debug)]
pub struct Toolchain {
    rustc: Option<PathBuf>,
    linker: Option<PathBuf>,
    /// Where this compiler's standard library was compiled or is read from.
    pub sysroot: PathBuf,
}

impl Toolchain {
    /// Tells `cargo` to use this compiler. A compiler without the target's standard library builds that too.
    pub fn apply(&self, cargo: &mut Command) {
        if let Some(rustc) = &self.rustc {
            // Only the unstable flag that builds the library needs the permission; the guest itself is stable Rust.
            cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=std,panic_abort");
        }
        if let Some(linker) = &self.linker {
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
    }
}

/// The standard library that goes into the component.
pub(crate) struct StandardLibrary {
    /// Its compiler's version.
    pub(crate) version: String,
    /// Its sources and the compiler that takes them, where it is built along with the component.
    pub(crate) built: Option<(PathBuf, PathBuf)>,
}

/// Which standard library that is.
pub(crate) fn standard_library(workspace: &Path) -> Result<StandardLibrary> {
    let Toolchain { rustc, sysroot, .. } = find(workspace)?;
    let asked = rustc.clone().unwrap_or_else(|| "rustc".into());
    let said = ask(workspace, &asked.to_string_lossy(), &["--version", "--verbose"])?;
    let release = said.lines().find_map(|line| line.strip_prefix("release: ")).context("rustc says no release")?;
    let built = rustc.map(|rustc| (sysroot.join("lib/rustlib/src/rust/library"), rustc));
    Ok(StandardLibrary { version: release.to_owned(), built })
}

/// Finds the wasm target, or installs it where that is allowed, and says in one line which way it went.
pub fn find(workspace: &Path) -> Result<Toolchain> {
    let mut machine = Machine::look(workspace);
    if choose(machine) == Some(Source::Rustup) && !rustup_adds_target(workspace) {
        machine.rustup_may_install = false;
    }
    match choose(machine) {
        Some(source @ (Source::Sysroot | Source::Rustup)) => {
            let way = if source == Source::Sysroot { "in the toolchain" } else { "added by rustup" };
            eprintln!("{TARGET}: {way}");
            Ok(Toolchain { rustc: None, linker: None, sysroot: sysroot(workspace, "rustc")? })
        }
        Some(source @ (Source::Debian | Source::DebianAfterInstall)) => {
            if source == Source::DebianAfterInstall {
                packages::install(DEBIAN_PACKAGES)?;
            }
            let linker =
                debian_linker(workspace).with_context(|| format!("no wasm linker, {DEBIAN_LINKER} or rust-lld"))?;
            eprintln!("{TARGET}: standard library built by {DEBIAN_RUSTC}, linked by {}", linker.display());
            let sysroot = sysroot(workspace, DEBIAN_RUSTC)?;
            Ok(Toolchain { rustc: Some(DEBIAN_RUSTC.into()), linker: Some(linker), sysroot })
        }
        None => bail!(
            "no compiler for {TARGET}; run one of:\n  rustup target add {TARGET}\n  {}",
            packages::install_command(DEBIAN_PACKAGES)
        ),
    }
}

impl Machine {
    fn look(workspace: &Path) -> Self {
        let forbidden = std::env::var_os("RUSTUP_AUTO_INSTALL").is_some_and(|value| value == "0");
        Self {
            sysroot_has_target: ask(workspace, "rustc", &["--print", "target-libdir", "--target", TARGET])
                .is_ok_and(|folder| has_std(Path::new(&folder))),
            rustup_may_install: !forbidden && packages::on_path("rustup").is_some(),
            debian_is_ready: debian_has_source(workspace) && debian_linker(workspace).is_some(),
            apt_may_install: packages::may_install(),
        }
    }
}

fn has_std(folder: &Path) -> bool {
    let Ok(mut files) = folder.read_dir() else { return false };
    files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("libstd-")))
}

fn rustup_adds_target(workspace: &Path) -> bool {
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]).current_dir(workspace).stdout(std::io::stderr());
    rustup.status().is_ok_and(|status| status.success())
}

fn debian_has_source(workspace: &Path) -> bool {
    sysroot(workspace, DEBIAN_RUSTC).is_ok_and(|sysroot| sysroot.join("lib/rustlib/src/rust/library/std").is_dir())
}

/// Debian's `wasm-ld`, else the one that rustup's toolchains bring along.
fn debian_linker(workspace: &Path) -> Option<PathBuf> {
    packages::on_path(DEBIAN_LINKER).or_else(|| {
        let own_libraries = ask(workspace, "rustc", &["--print", "target-libdir"]).ok()?;
        let linker = Path::new(&own_libraries).parent()?.join("bin/rust-lld");
        linker.is_file().then_some(linker)
    })
}

fn sysroot(workspace: &Path, rustc: &str) -> Result<PathBuf> {
    Ok(ask(workspace, rustc, &["--print", "sysroot"])?.into())
}

/// One line that `rustc` prints. Asked from the workspace, so that rustup answers for the toolchain cargo will use.
fn ask(workspace: &Path, rustc: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(rustc);
    environment::scrub(&mut command);
    let output =
        command.args(arguments).current_dir(workspace).output().with_context(|| format!("cannot run {rustc}"))?;
    if !output.status.success() {
        bail!("{rustc} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout).context("rustc printed something that is not text")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: Machine =
        Machine { sysroot_has_target: true, rustup_may_install: true, debian_is_ready: true, apt_may_install: true };

    #[test]
    fn a_toolchain_that_has_the_target_is_used_as_it_is() {
        assert_eq!(choose(EVERYTHING), Some(Source::Sysroot));
    }

    #[test]
    fn rustup_comes_before_debian() {
        assert_eq!(choose(Machine { sysroot_has_target: false, ..EVERYTHING }), Some(Source::Rustup));
    }

    #[test]
    fn where_rustup_may_not_install_debian_s_packages_are_used_and_installed_only_when_missing() {
        let no_rustup = Machine { sysroot_has_target: false, rustup_may_install: false, ..EVERYTHING };
        assert_eq!(choose(no_rustup), Some(Source::Debian));
        assert_eq!(choose(Machine { debian_is_ready: false, ..no_rustup }), Some(Source::DebianAfterInstall));
    }

    #[test]
    fn a_machine_that_offers_nothing_is_told_so() {
        assert_eq!(choose(Machine::default()), None);
    }
}
