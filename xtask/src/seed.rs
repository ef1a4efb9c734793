//! The second target directory starts as a copy of the first: the standard library and the binding generator, most of a cold build,
//! are compiled once. cargo then rebuilds what differs, so a bad copy costs time, never correctness.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};

/// Makes `target` a copy of `sibling` if only the sibling exists. All or nothing: a half-made copy never bears the name `target`.
pub(crate) fn seed(target: &Path, sibling: &Path) -> Result<()> {
    if target.exists() || !sibling.is_dir() {
        return Ok(());
    }
    let partial = target.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    copy_folder(&partial, sibling).with_context(|| format!("cannot copy {}", sibling.display()))?;
    fs::rename(&partial, target)?;
    Ok(())
}

fn copy_folder(to: &Path, from: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in from.read_dir()? {
        let entry = entry?;
        let (source, copy) = (entry.path(), to.join(entry.file_name()));
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            copy_folder(&copy, &source)?;
        } else {
            fs::copy(&source, &copy)?;
            // cargo compares modification times to decide what is fresh.
            File::options().append(true).open(&copy)?.set_modified(metadata.modified()?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn empty_folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("rejoin-seed-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        folder
    }

    #[test]
    fn a_copy_keeps_contents_and_modification_times() -> Result<()> {
        let folder = empty_folder("copy");
        let file = folder.join("first/deps/library");
        fs::create_dir_all(folder.join("first/deps"))?;
        fs::write(&file, "bytes")?;
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        File::options().append(true).open(&file)?.set_modified(long_ago)?;

        seed(&folder.join("second"), &folder.join("first"))?;

        let copy = folder.join("second/deps/library");
        assert_eq!(fs::read(&copy)?, b"bytes");
        assert_eq!(copy.metadata()?.modified()?, long_ago);
        fs::remove_dir_all(folder)?;
        Ok(())
    }

    #[test]
    fn a_directory_that_exists_is_left_alone_and_a_missing_sibling_is_no_error() -> Result<()> {
        let folder = empty_folder("alone");
        fs::create_dir(folder.join("first"))?;
        fs::write(folder.join("first/file"), "")?;
        fs::create_dir(folder.join("second"))?;
        seed(&folder.join("second"), &folder.join("first"))?;
        seed(&folder.join("third"), &folder.join("missing"))?;
        assert!(!folder.join("second/file").exists() && !folder.join("third").exists());
        fs::remove_dir_all(folder)?;
        Ok(())
    }
}
