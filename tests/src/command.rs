//! The real program: built once, started on a free port, watched from outside.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::client::Client;
use crate::wait::PATIENCE;

/// The program of this checkout, in the profile and target directory of the running test.
///
/// cargo gives a test the path of a program of its own package only, so cargo is asked. Nothing is compiled twice: the
/// packages that decide about features are those of the test's own build.
pub fn program() -> Result<&'static Path> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let what = ["-p=rejoin", "-p=rejoin-tests", "--bin=rejoin"];
    let built = PROGRAM.get_or_init(|| build(&what, "bin", "rejoin").map_err(|error| format!("{error:#}")));
    built.as_deref().map_err(|error| anyhow!("{error}"))
}

/// An example of the kit for Rust. Asked for among all tests of the workspace: alone it has other features of the same
/// crates, a compiler of components among them, and that takes minutes.
pub fn example(name: &str) -> Result<PathBuf> {
    build(&["--workspace", "--tests", "--example", name], "example", name)
}

/// The program of this kind and name among what cargo builds when it is told so.
fn build(what: &[&str], kind: &str, name: &str) -> Result<PathBuf> {
    // A test is <target>/<profile>/deps/<test>, a program <target>/<profile>/<program>.
    let this = std::env::current_exe()?;
    let folder = this.parent().context("the folder of this program")?;
    let profile = if folder.ends_with("deps") { folder.parent().context("the profile's folder")? } else { folder };
    let target = profile.parent().context("the target directory")?;
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--message-format=json"]).args(what);
    cargo.arg("--target-dir").arg(target).current_dir(crate::root());
    // ring's build script looks at it: what it is set to here would make everything above ring be compiled anew.
    cargo.env_remove("CARGO_MANIFEST_DIR");
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let output = cargo.stderr(Stdio::inherit()).output().context("cargo cannot be started")?;
    ensure!(output.status.success(), "cargo build: {}", output.status);
    let messages = String::from_utf8(output.stdout)?;
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs =
        messages.filter(|message| message["target"]["name"] == name && message["target"]["kind"][0] == kind);
    let program = programs.find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
    program.with_context(|| format!("cargo named no {kind} {name}"))
}

/// A command of the program that hears nothing from the outer environment's `REJOIN_*` and `RUST_LOG`.
fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Command> {
    let mut command = Command::new(program()?);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("REJOIN_")) {
        command.env_remove(name);
    }
    command.env_remove("RUST_LOG").args(arguments).envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    Ok(command)
}

/// Runs the program to its end, which must come by itself.
pub async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Output> {
    let output = tokio::time::timeout(PATIENCE, command(arguments, variables)?.output());
    Ok(output.await.context("the program did not end by itself")??)
}

/// The program, listening. Dropped: killed.
pub struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Where it listens, as it says.
    pub address: SocketAddr,
}

impl Program {
    /// Starts it on a free port with these further arguments.
    pub async fn start(arguments: &[&str]) -> Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), arguments).await
    }

    /// Starts it on a free port; what it logs goes to `log`, as much as `filter` (of `RUST_LOG`) says.
    pub async fn start_logging(arguments: &[&str], filter: &str, log: std::fs::File) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut command = command(&["--listen", &address.to_string()], &[("RUST_LOG", filter)])?;
        Self::launch(command.args(arguments).stderr(log)).await
    }

    /// Starts it on this address.
    pub async fn start_at(address: SocketAddr, arguments: &[&str]) -> Result<Self> {
        let mut command = command(&["--listen", &address.to_string()], &[("RUST_LOG", "warn")])?;
        // What it logs is for whoever reads the test's output.
        Self::launch(command.args(arguments).stderr(Stdio::inherit())).await
    }

    async fn launch(command: &mut Command) -> Result<Self> {
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
        let first = line(&mut lines).await?;
        let (_, address) = first.split_once("://").with_context(|| format!("no address in {first:?}"))?;
        Ok(Program { address: address.trim().parse()?, child, lines })
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// The next line that it prints.
    pub async fn line(&mut self) -> Result<String> {
        line(&mut self.lines).await
    }

    /// The most memory it ever had resident, in bytes.
    pub fn memory_peak(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().context("it has ended")?))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
        Ok(peak.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
    }

    /// Sends it a signal by name.
    pub async fn signal(&self, name: &str) -> Result<()> {
        let id = self.child.id().context("it has ended")?.to_string();
        let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &id]).status().await?;
        ensure!(sent.success(), "kill: {sent}");
        Ok(())
    }

    /// Waits for its end: the exit code.
    pub async fn end(&mut self) -> Result<Option<i32>> {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.context("the program goes on")??;
        Ok(status.code())
    }
}

async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<String> {
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.context("the program prints nothing")??;
    line.context("the program has ended")
}
