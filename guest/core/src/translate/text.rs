//! Strings as JSON literals (escaped, without quotes), and how much of one has been told.

use std::borrow::Cow;

use crate::json::{Json, decode, escape};

/// How much of a text has been streamed. Tells what a later whole of the same text adds to it.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    bytes: usize,
    hash: u64,
}

impl Default for Seen {
    fn default() -> Self {
        Seen { bytes: 0, hash: FNV }
    }
}

impl Seen {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub(super) fn add(&mut self, literal: &str) {
        let decoded = decode(literal);
        self.bytes += decoded.len();
        self.hash = fnv(self.hash, &decoded);
    }

    /// What `whole` adds at the end; "" when it does not begin with what was streamed: that has been read already.
    pub(super) fn rest<'a>(&self, whole: &'a str) -> Cow<'a, str> {
        if self.is_empty() {
            return whole.into();
        }
        let decoded = decode(whole);
        match decoded.split_at_checked(self.bytes) {
            Some((seen, rest)) if fnv(FNV, seen) == self.hash => {
                let mut literal = String::new();
                escape(&mut literal, &String::from_utf8_lossy(rest));
                literal.into()
            }
            _ => "".into(),
        }
    }
}

/// A value as the literal of a string: a string as it is, anything else as its JSON text.
pub(super) fn as_string(value: Json<'_>) -> Cow<'_, str> {
    value.literal().map_or_else(|| as_text(value.text()).into(), Cow::Borrowed)
}

/// Text as the literal of a string that says it.
pub(super) fn as_text(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + text.len() / 4);
    escape(&mut literal, text);
    literal
}

/// Where FNV-1a starts.
pub(super) const FNV: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, continued from `hash`.
pub(super) fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
