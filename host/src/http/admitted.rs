//! What the guard leaves with a request for its handler: who was let in, and the generation that they were let in to.

use super::{Problem, Request};
use crate::auth::Identity;
use crate::engine::{Failure, Refusal};

/// Who was let in. Nobody, where that was forgotten.
pub(super) fn identity(request: &Request) -> Identity {
    request.extensions().get().cloned().unwrap_or_else(Identity::nobody)
}

/// The generation that was theirs when a user was let in; none for those who may act on every stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fence(Option<u64>);

impl Fence {
    pub(super) fn at(generation: u64) -> Self {
        Fence(Some(generation))
    }

    /// That of this request.
    pub(super) fn of(request: &Request) -> Self {
        request.extensions().get().copied().unwrap_or_default()
    }

    /// The generation that a command is for, when `wanted` is what it says itself.
    ///
    /// Errors: 409 `generation_replaced` for one that was not there yet.
    pub(super) fn bind(self, wanted: Option<u64>) -> Result<Option<u64>, Problem> {
        match (self.0, wanted) {
            (Some(seen), Some(wanted)) if wanted > seen => {
                Err(Failure::Refused(Refusal::GenerationReplaced(seen)).into())
            }
            (seen, wanted) => Ok(wanted.or(seen)),
        }
    }

    /// The generation that a request without one of its own is held to; none: to none.
    pub(super) fn generation(self) -> Option<u64> {
        self.0
    }

    /// Whether an answer of this generation may be given.
    pub(super) fn holds(self, generation: u64) -> bool {
        self.0.is_none_or(|seen| seen == generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_for_what_was_seen_and_never_for_what_came_after() {
        let bind = |seen, wanted| Fence(seen).bind(wanted).map_err(|problem| problem.code);
        assert_eq!(bind(None, None), Ok(None));
        assert_eq!(bind(None, Some(9)), Ok(Some(9)));
        assert_eq!(bind(Some(7), None), Ok(Some(7)));
        assert_eq!(bind(Some(7), Some(6)), Ok(Some(6)), "the session says that it was replaced");
        assert_eq!(bind(Some(7), Some(8)), Err("generation_replaced"));
        assert!(Fence(Some(7)).holds(7) && !Fence(Some(7)).holds(8) && Fence(None).holds(8));
    }
}
