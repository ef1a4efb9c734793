//! Programs of others that run to their end: Node, Python and what checks the OpenAPI document.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::time::timeout;

/// A program, what it has started and what that has started: one group of processes, ended together.
struct Group(u32);

impl Drop for Group {
    fn drop(&mut self) {
        let group = format!("-{}", self.0);
        let _ = std::process::Command::new("kill").args(["-s", "KILL", "--", &group]).stderr(Stdio::null()).status();
    }
}

/// How it ended, and all that it said, on both channels, in the order in which it was said. One that does not end within
/// `limit` is killed with all that it has started: the error shows what it said until then.
pub async fn run(command: &mut Command, limit: Duration) -> Result<(ExitStatus, String)> {
    // A file, not a pipe: it is whole whenever it is looked at, and nobody has to read it meanwhile.
    let mut said = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said.try_clone()?);
    let mut child = command.process_group(0).kill_on_drop(true).spawn().context("it cannot be started")?;
    let group = Group(child.id().context("it has ended at once")?);
    let Ok(status) = timeout(limit, child.wait()).await else {
        drop(group);
        bail!("it did not end within {limit:?}; it said:\n{}", text(&mut said)?);
    };
    let status = status?;
    // What one that failed has left behind goes with it; else there is nobody, and the number may be another's soon.
    if status.success() {
        std::mem::forget(group);
    }
    Ok((status, text(&mut said)?))
}

fn text(said: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    said.rewind()?;
    said.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;
    use crate::steady::steady;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn how_it_ended_and_what_it_said_are_told() -> Result<()> {
        let (status, said) =
            run(&mut shell("echo one; echo two >&2; echo three; exit 3"), Duration::from_secs(60)).await?;
        assert_eq!((status.code(), said.as_str()), (Some(3), "one\ntwo\nthree\n"));
        Ok(())
    }

    #[tokio::test]
    async fn one_that_hangs_is_killed_with_what_it_started_and_its_last_words_are_shown() -> Result<()> {
        steady(async || {
            let folder = tempfile::tempdir()?;
            let alive = folder.path().join("alive");
            // Its child would outlive it.
            let script = format!("(while echo beat >> {}; do sleep 0.05; done) & echo begun; wait", alive.display());
            let error = run(&mut shell(&script), Duration::from_secs(3)).await.expect_err("it never ends");
            ensure!(format!("{error:#}").ends_with("it said:\nbegun\n"), "{error:#}");
            crate::wait::until("its child is gone", async || {
                let before = std::fs::read(&alive)?.len();
                tokio::time::sleep(Duration::from_millis(500)).await;
                Ok((std::fs::read(&alive)?.len() == before).then_some(()))
            })
            .await
        })
        .await
    }
}
