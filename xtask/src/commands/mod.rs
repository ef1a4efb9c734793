//! One file per command.

mod component;
mod deny;
mod edge;
mod fuzz;
mod serve;
mod test;
mod tool;

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

pub(crate) use component::component;
pub(crate) use deny::deny;
pub(crate) use edge::edge;
pub(crate) use fuzz::{as_compiler, fuzz};
pub(crate) use serve::serve;
pub(crate) use test::test;
pub(crate) use tool::{bench, tool};

/// cargo in this workspace: the one that started us, so that a toolchain named on its command line stays.
fn cargo() -> Result<Command> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // ring's build script looks at it: the one of this program would make everything above ring be compiled anew.
    cargo.current_dir(xtask::workspace()?).env_remove("CARGO_MANIFEST_DIR");
    Ok(cargo)
}

/// Runs `command` in our place and ends as it ends: signals go straight to it, its exit code is ours.
fn hand_over_to(command: &mut Command) -> Result<ExitCode> {
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        Err(command.exec()).context("cannot run cargo")
    }
    #[cfg(not(unix))]
    {
        let status = command.status().context("cannot run cargo")?;
        Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
    }
}
