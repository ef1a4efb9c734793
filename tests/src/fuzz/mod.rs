//! What is fuzzed: bytes in, and a law that holds whatever they are. `cargo xtask fuzz` searches with these, guided by
//! coverage; the end-to-end tests run them on the seeds and on everything that was ever found (`tests/cases/fuzz/`).
//!
//! | target | the law |
//! |---|---|
//! | [`ndjson`] | any split of a body gives the same lines, and any batches of its lines the same log and content |
//! | [`provider`] | any split of a provider's body gives the same records, and each of them is one |
//! | [`cursor`] | what is read of a path, a query and headers is what was written |
//! | [`token`] | a token is for a stream only where its pattern says so |
//! | [`boundary`] | the component and the same code run natively agree, call by call, and neither panics |

pub mod boundary;
pub mod cursor;
mod input;
pub mod ndjson;
pub mod provider;
pub mod seeds;
mod session;
pub mod token;

/// A target: its name, and what it does with some bytes. It panics when the law is broken.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 5] = [
    ("ndjson", ndjson::run),
    ("provider", provider::run),
    ("cursor", cursor::run),
    ("token", token::run),
    ("boundary", boundary::run),
];
