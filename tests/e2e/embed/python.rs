//! The component in Python: the kit's own tests, its types, and the package that a user installs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rejoin_tests::command::program as server;
use rejoin_tests::foreign;
use rejoin_tests::root;
use tokio::process::Command;

/// Much longer than they take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(600);

fn kit() -> PathBuf {
    root().join("guest/embed/python")
}

/// Runs the Python that `cargo xtask test` prepared, in the kit's folder, to its end: what it said. It is in the error, too.
async fn python(arguments: &[&str]) -> Result<String> {
    python_with(arguments, Path::new("")).await
}

/// The same, where the tests start the Rust server too.
async fn python_with(arguments: &[&str], rejoin: &Path) -> Result<String> {
    let program = root().join("target/tools/python/bin/python");
    ensure!(program.exists(), "no {}: `cargo xtask test python` installs it", program.display());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(kit()).env_remove("REJOIN_COMPONENT").env("PYTHONDONTWRITEBYTECODE", "1");
    // What it says on either channel stands in the order in which it is said.
    command.env("REJOIN_PROGRAM", rejoin).env("PYTHONUNBUFFERED", "1");
    let (status, said) = foreign::run(&mut command, PATIENCE).await.with_context(|| format!("{arguments:?}"))?;
    ensure!(status.success(), "{arguments:?}: {status}\n{said}");
    Ok(said)
}

/// The tests that stand in the kit's files.
fn written() -> Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(kit().join("tests"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("test_") && name.ends_with(".py") {
            let text = std::fs::read_to_string(&path)?;
            count += text
                .lines()
                .filter(|line| line.starts_with("    def test_") || line.starts_with("    async def test_"))
                .count();
        }
    }
    Ok(count)
}

#[tokio::test]
async fn every_test_of_the_python_kit_runs_and_passes() -> Result<()> {
    let said =
        python_with(&["-m", "unittest", "discover", "--start-directory", "tests", "--verbose"], server()?).await?;
    println!("{said}");
    let written = written()?;
    ensure!(written >= 80, "{written} tests are written");
    ensure!(said.contains(&format!("Ran {written} tests in ")), "{written} are written\n{said}");
    ensure!(said.trim_end().ends_with("\nOK"), "none is left out\n{said}");
    Ok(())
}

#[tokio::test]
async fn the_python_kit_and_its_example_are_typed_strictly() -> Result<()> {
    let cache = root().join("target/tools/python/mypy");
    let cache = cache.to_str().context("a path in UTF-8")?;
    let said = python(&["-m", "mypy", "--strict", "--cache-dir", cache, "rejoin_core", "example/app.py"]).await?;
    ensure!(said.contains("Success"), "{said}");
    Ok(())
}

#[tokio::test]
async fn the_python_package_brings_the_very_same_component() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // The sources are copied: setuptools writes beside them.
    let source = folder.path().join("guest/embed/python");
    for part in ["rejoin_core/redis", "rejoin_core", "."] {
        std::fs::create_dir_all(source.join(part))?;
        for entry in std::fs::read_dir(kit().join(part))? {
            let path = entry?.path();
            let name = path.file_name().context("a name")?;
            if path.is_file() && name != "rejoin.wasm" {
                std::fs::copy(&path, source.join(part).join(name))?;
            }
        }
    }
    let [source, target] = [source, folder.path().join("installed")].map(|path| path.display().to_string());
    let install =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-build-isolation", "--no-deps"];
    let install = [&install[..], &["--target", &target, &source]].concat();
    let refused = python(&install).await.expect_err("there is no component yet");
    ensure!(format!("{refused:#}").contains("run `cargo xtask component` first"), "{refused:#}");

    let component = std::fs::read(root().join("target/rejoin.wasm"))?;
    std::fs::create_dir_all(folder.path().join("target"))?;
    std::fs::write(folder.path().join("target/rejoin.wasm"), &component)?;
    let scripts = "host/src/store/redis/scripts";
    std::fs::create_dir_all(folder.path().join(scripts))?;
    for entry in std::fs::read_dir(root().join(scripts))? {
        let script = entry?;
        std::fs::copy(script.path(), folder.path().join(scripts).join(script.file_name()))?;
    }
    python(&install).await?;
    ensure!(std::fs::read(folder.path().join("installed/rejoin_core/rejoin.wasm"))? == component, "other bytes");
    let fold = "import sys; sys.path.insert(0, sys.argv[1]); import rejoin_core as r; print(r.__file__, r.fold('[]'))";
    let said = python(&["-c", fold, &target]).await?;
    assert_eq!(said.trim(), format!("{target}/rejoin_core/__init__.py []"));
    let script = "redis/scripts/append.lua";
    let installed = std::fs::read(Path::new(&target).join("rejoin_core").join(script))?;
    ensure!(installed == std::fs::read(root().join("host/src/store").join(script))?, "another script");
    Ok(())
}
