//! Debian packages: installed when this process may, else named in a command to copy.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Installs `packages` with apt-get, refreshing its lists only when it has to. Asks nothing and waits for a running apt.
pub fn install(packages: &[&str]) -> Result<()> {
    if !may_install() {
        bail!("missing, and this user cannot install packages; run: {}", install_command(packages));
    }
    eprintln!("installing {}", packages.join(" "));
    let arguments = || {
        let options = ["-o", "DPkg::Lock::Timeout=600", "install", "--yes", "--no-install-recommends"];
        options.into_iter().chain(packages.iter().copied()).collect::<Vec<_>>()
    };
    // Fresh containers have no package lists; elsewhere a refresh is a minute wasted.
    if !apt_get(&arguments())? {
        apt_get(&["update"])?;
        if !apt_get(&arguments())? {
            bail!("apt-get failed; try: {}", install_command(packages));
        }
    }
    Ok(())
}

/// The command a person runs to install `packages`.
pub fn install_command(packages: &[&str]) -> String {
    format!("sudo apt-get install {}", packages.join(" "))
}

/// Whether `install` can work here: Debian's apt-get is there and this process is root.
pub fn may_install() -> bool {
    on_path("apt-get").is_some() && is_root()
}

/// The first of `programs` found on `PATH`, absolute.
pub fn first_on_path(programs: &[&str]) -> Option<PathBuf> {
    programs.iter().find_map(|program| on_path(program))
}

/// Where `program` stands on `PATH`, if it does.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Runs apt-get without a terminal. Its own words go to standard error: standard output belongs to the caller's results.
fn apt_get(arguments: &[&str]) -> Result<bool> {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .context("cannot run apt-get")?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_to_copy_names_every_package() {
        assert_eq!(install_command(&["redis-server", "chromium"]), "sudo apt-get install redis-server chromium");
    }

    #[test]
    fn a_program_that_does_not_exist_is_not_on_the_path() {
        assert_eq!(first_on_path(&["no-such-program-anywhere", "nor-this-one"]), None);
    }
}
