//! Who may do what: one secret for everything, one that only reads.

use std::fmt;

/// What a route asks for. The names are those of the server's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everything.
    Produce,
    /// Reading, and answering what a producer asked.
    Subscribe,
}

impl Scope {
    /// The name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Scope::Produce => "produce",
            Scope::Subscribe => "subscribe",
        }
    }
}

/// The token is none of ours. Says no more of it than that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the access token is none of this host's")
    }
}

/// A secret that no log line and no answer shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Secret {
    /// Compares all bytes, whatever the first difference is: only the length shows in the time it takes.
    pub(crate) fn is(&self, given: &str) -> bool {
        let (ours, given) = (self.0.as_bytes(), given.as_bytes());
        let same_length = ours.len() == given.len();
        let against = if same_length { given } else { ours };
        let differences =
            ours.iter().zip(against).fold(0, |all, (one, other)| std::hint::black_box(all | (one ^ other)));
        same_length & (differences == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_itself_and_nothing_else() {
        let secret = Secret("s3cret".to_owned());
        assert!(secret.is("s3cret"));
        for other in ["", "s3cre", "s3crets", "S3cret", "xxxxxx"] {
            assert!(!secret.is(other), "{other}");
        }
        assert_eq!(format!("{secret:?}"), "…");
    }
}
