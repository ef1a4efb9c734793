//! The keys of a running server: read at start, and again whenever their file changes.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::Identity;
use super::key::{KeyError, Keys};
use super::token::{self, Refused};

/// How often the file is looked at: a key that was taken out is refused within this.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// No key file is as long.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// It can, but is of no use.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The keys that are valid now.
pub struct Keyring {
    path: PathBuf,
    audience: Option<String>,
    keys: RwLock<Arc<Keys>>,
    /// The file as it was last read, good or not.
    seen: Mutex<Vec<u8>>,
}

impl Keyring {
    /// Reads the file. Errors: it cannot be used; the text says what to do.
    pub fn open(path: &Path, audience: Option<&str>) -> Result<Self, FileError> {
        let seen = read(path)?;
        let keys = Keys::parse(&seen, audience)?;
        Ok(Keyring {
            path: path.to_owned(),
            audience: audience.map(str::to_owned),
            keys: RwLock::new(Arc::new(keys)),
            seen: Mutex::new(seen),
        })
    }

    /// Who asks with this token.
    pub fn identify(&self, token: &str) -> Result<Identity, Refused> {
        let keys = Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner));
        token::verify(token, &keys)
    }

    /// Reads the file again whenever it has changed, until `ended` resolves. One that cannot be used changes nothing.
    pub async fn watch(self: Arc<Self>, ended: impl Future<Output = ()>) {
        let mut ended = std::pin::pin!(ended);
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                _ = every.tick() => {}
                () = &mut ended => return,
            }
            let this = Arc::clone(&self);
            // Off the threads that serve: a file may be on a disk that has gone away.
            let looked = match tokio::task::spawn_blocking(move || this.look()).await {
                Ok(looked) => looked,
                Err(_) => continue,
            };
            let file = self.path.display();
            match &looked {
                Ok(Some(keys)) => tracing::info!(%file, keys, "key file has changed: its keys are valid now"),
                Ok(None) => {}
                Err(error) if !failing => {
                    tracing::error!(%file, %error, "key file is of no use: the keys of before stay")
                }
                Err(_) => continue,
            }
            failing = looked.is_err();
        }
    }

    /// The number of keys when they are others now.
    fn look(&self) -> Result<Option<usize>, FileError> {
        let file = read(&self.path)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == file {
            return Ok(None);
        }
        let keys = Keys::parse(&file, self.audience.as_deref())?;
        let count = keys.len();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        *seen = file;
        Ok(Some(count))
    }
}

/// A key file, which is never long.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "longer than 1 MiB: this is no key file"));
    }
    Ok(bytes)
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("path", &self.path).finish_non_exhaustive()
    }
}
