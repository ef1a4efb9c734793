//! Whether a session may be believed.

use super::Failure;
use super::instance::Live;
use crate::store::Head;

/// How a session stands to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Both know the same.
    Current,
    /// Others have written, or the stream is gone: what the session knows is no longer true.
    Behind,
    /// The session knows of accepted writes that the store has not.
    Ahead,
}

impl Live {
    /// How it stands to what the store says of the stream.
    pub(super) fn standing(&mut self, head: Option<Head>) -> Result<Standing, Failure> {
        let known = self.head()?;
        Ok(match head {
            None if known.generation == 0 => Standing::Current,
            // What has ended may be forgotten at any time; what is active may not.
            None if self.ended.is_some() => Standing::Behind,
            None => Standing::Ahead,
            Some(head) if head.cursor < known => Standing::Ahead,
            Some(head) if head.cursor > known => Standing::Behind,
            // The same records, but writes to the row alone are missing.
            Some(head) if head.revision < self.revision => Standing::Ahead,
            Some(head) if head.revision == self.revision && head.status.is_terminal() == self.ended.is_some() => {
                Standing::Current
            }
            Some(_) => Standing::Behind,
        })
    }
}
