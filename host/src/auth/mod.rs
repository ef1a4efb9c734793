//! Who asks, and what they may do.
//!
//! | file | what it knows |
//! |---|---|
//! | this one | identities, scopes, patterns of streams |
//! | [`keyring`], [`key`] | the keys of tokens, read again when their file changes |
//! | [`token`], `crypto` | from a token to an identity; `ring`, which does the arithmetic |
//! | [`ticket`] | what stands in an address instead of a token |
//! | [`issue`] | `rejoin token` |

mod crypto;
pub mod issue;
pub mod key;
pub mod keyring;
pub mod ticket;
pub mod token;

use std::fmt;
use std::sync::Arc;

use crate::types::StreamId;

pub use keyring::Keyring;
pub use ticket::{Ticket, TicketHash};
pub use token::Refused;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Create, append, pause, end; hear the signals.
    Produce,
    /// Read a stream, and everything about it.
    Subscribe,
    /// Stop a generation.
    Abort,
    /// List one's own streams, and count them.
    List,
    /// All of these, on the streams of all users, and what operators see.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 5] = [Scope::Produce, Scope::Subscribe, Scope::Abort, Scope::List, Scope::Admin];

    /// The name in a token.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Produce => "produce",
            Scope::Subscribe => "subscribe",
            Scope::Abort => "abort",
            Scope::List => "list",
            Scope::Admin => "admin",
        }
    }
}

/// Which streams a token is for.
#[derive(Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This one.
    Exact(Arc<str>),
    /// Those that begin so.
    Prefix(Arc<str>),
}

impl Pattern {
    /// `name`, or `begin*`: a star that is not the last character is itself.
    pub fn parse(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(begin) => Pattern::Prefix(begin.into()),
            None => Pattern::Exact(text.into()),
        }
    }

    /// Whether a stream, whose name was decoded, is one of them.
    pub fn fits(&self, stream: &StreamId) -> bool {
        match self {
            Pattern::Exact(name) => **name == *stream.as_str(),
            Pattern::Prefix(begin) => stream.as_str().starts_with(&**begin),
        }
    }
}

/// Who asks. `Debug` shows no more than that there is somebody.
#[derive(Clone)]
pub struct Identity {
    subject: Option<Arc<str>>,
    scopes: Vec<Scope>,
    streams: Option<Pattern>,
}

impl Identity {
    /// Anybody, where there is no key: may do everything.
    pub fn anybody() -> Self {
        Identity { subject: None, scopes: vec![Scope::Admin], streams: None }
    }

    /// Somebody who asks for what everybody may have: may do nothing.
    pub fn nobody() -> Self {
        Identity { subject: None, scopes: Vec::new(), streams: None }
    }

    /// Whoever has used a ticket: reads this one stream, as long as it is its subject's.
    pub fn of_ticket(subject: &str, stream: &StreamId) -> Self {
        Self::of(subject, vec![Scope::Subscribe], Some(Pattern::Exact(stream.as_str().into())))
    }

    /// The owner of a valid token.
    pub fn of(subject: &str, scopes: Vec<Scope>, streams: Option<Pattern>) -> Self {
        Identity { subject: Some(subject.into()), scopes, streams }
    }

    /// Whether the token allows it.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|allowed| *allowed == scope || *allowed == Scope::Admin)
    }

    /// Whether the token is for this stream at all, whoever owns it.
    pub fn fits(&self, stream: &StreamId) -> bool {
        self.streams.as_ref().is_none_or(|pattern| pattern.fits(stream))
    }

    /// Whether the token is for some streams only.
    pub fn is_limited(&self) -> bool {
        self.streams.is_some()
    }

    /// Whether a stream of this user exists for whoever asks.
    pub fn sees(&self, owner: &str) -> bool {
        self.may(Scope::Admin) || self.subject.as_deref() == Some(owner)
    }

    /// The user who asks, if it is one: neither anybody nor somebody who acts for all users.
    pub fn user(&self) -> Option<&str> {
        if self.may(Scope::Admin) { None } else { self.subject.as_deref() }
    }

    /// `sub` of the token.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pattern")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str) -> StreamId {
        StreamId::parse(name).expect("it is valid")
    }

    #[test]
    fn a_pattern_is_a_name_or_the_begin_of_one() {
        for (pattern, name, fits) in [
            ("chat-1", "chat-1", true),
            ("chat-1", "chat-12", false),
            ("chat-*", "chat-1", true),
            ("chat-*", "chat-", true),
            ("chat-*", "cha", false),
            ("chat-*", "CHAT-1", false),
            ("*", "a", true),
            ("a*b", "a*b", true),
            ("a*b", "axb", false),
            ("a/../b*", "a/../bc", true),
            ("a*", "b/../a", false),
        ] {
            assert_eq!(Pattern::parse(pattern).fits(&stream(name)), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn only_an_admin_sees_what_others_own() {
        let user = Identity::of("u1", vec![Scope::Subscribe], None);
        assert!(user.sees("u1") && !user.sees("u2") && user.user() == Some("u1"));
        let admin = Identity::of("op", vec![Scope::Admin], None);
        assert!(admin.sees("u2") && admin.may(Scope::Produce) && admin.user().is_none());
        assert!(Identity::anybody().sees("u2") && Identity::anybody().subject().is_none());
    }
}
