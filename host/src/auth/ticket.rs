//! Tickets: what a browser's `EventSource`, which can send no header, puts into the address instead of a token.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::crypto;

/// What is given out, once. `Debug` does not show it.
pub struct Ticket(String);

/// What the store knows of it: whoever reads the store cannot use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TicketHash(pub [u8; 32]);

impl Ticket {
    /// A new one: 256 random bits. None when the system has none.
    pub fn new() -> Option<Self> {
        crypto::random().map(|bytes| Ticket(BASE64_URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// As it goes into an address.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the store is told.
    pub fn hash(&self) -> TicketHash {
        TicketHash(crypto::hash(self.0.as_bytes()))
    }
}

impl TicketHash {
    /// Of what came in an address; none when it is no ticket at all.
    pub fn of(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.get(..43).filter(|_| text.len() == 43)?).ok()?;
        (bytes.len() == 32).then(|| TicketHash(crypto::hash(text.as_bytes())))
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_known_by_its_hash_only() {
        let [one, two] = [(); 2].map(|()| Ticket::new().expect("random bytes"));
        assert_ne!(one.reveal(), two.reveal());
        assert_eq!(TicketHash::of(one.reveal()), Some(one.hash()));
        assert_ne!(one.hash(), two.hash());
        assert!(!format!("{one:?}").contains(one.reveal()));
        for garbage in ["", "x", &"é".repeat(22), &"!".repeat(43), &"A".repeat(44)] {
            assert_eq!(TicketHash::of(garbage), None, "{garbage}");
        }
    }
}
