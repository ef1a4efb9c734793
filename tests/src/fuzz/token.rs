//! Who may do what: patterns of streams, identities, and tokens.

use std::io::Write as _;
use std::sync::LazyLock;

use rejoin::auth::{Identity, Keyring, Pattern, Scope};
use rejoin::types::StreamId;

use super::input::Input;
use crate::token::{SECRET, is_signed};

/// The keys of a server whose file has the secret.
static KEYRING: LazyLock<Keyring> = LazyLock::new(|| {
    let mut file = tempfile::NamedTempFile::new().expect("a place for a file");
    file.write_all(SECRET.as_bytes()).expect("room for it");
    Keyring::open(file.path(), None).expect("the secret is long enough")
});

/// A pattern and a stream, each ended by a zero byte; the rest is a token.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (pattern, name, owner) = (input.text(), input.text(), input.text());
    let scope = Scope::ALL[input.below(Scope::ALL.len())];

    let identity = Identity::of(&owner, vec![scope], Some(Pattern::parse(&pattern)));
    assert_eq!(identity.may(Scope::Produce), matches!(scope, Scope::Produce | Scope::Admin));
    assert!(identity.sees(&owner), "an owner sees what is its own");
    assert_eq!(identity.sees(&format!("{owner}2")), scope == Scope::Admin);
    let shown = format!("{identity:?}");
    assert!(owner.len() < 16 || !shown.contains(&owner), "an identity shows nothing of itself");
    if let Ok(stream) = StreamId::parse(&name) {
        let wanted = match pattern.strip_suffix('*') {
            Some(begin) => name.starts_with(begin),
            None => name == pattern,
        };
        assert_eq!(identity.fits(&stream), wanted, "{pattern} and {name}");
    }

    let token = input.rest();
    if let Ok(token) = std::str::from_utf8(token)
        && let Ok(identity) = KEYRING.identify(token)
    {
        assert!(is_signed(token), "{token} is signed with another key, or not at all");
        assert!(identity.subject().is_some_and(|subject| (1..=256).contains(&subject.len())), "a token is somebody's");
    }
}
