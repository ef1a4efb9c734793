//! Chance with a seed: printed, so that a failure can be run again with `REJOIN_SEED=<seed>`.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

/// A stream of numbers that its seed decides (splitmix64).
pub struct Random(u64);

impl Random {
    /// Seeded by `REJOIN_SEED`, or by chance.
    pub fn new() -> Self {
        let given = std::env::var("REJOIN_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(std::process::id()));
        println!("seed: REJOIN_SEED={seed}");
        Random(seed)
    }

    /// Seeded by another one's number: as repeatable as that one is.
    pub fn seeded(seed: u64) -> Self {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % bound.max(1) as u64).expect("it is below a usize")
    }

    /// Cuts a body into pieces of 1 to `bytes_max` bytes.
    pub fn pieces(&mut self, body: &[u8], bytes_max: usize) -> Vec<Bytes> {
        let (mut pieces, mut rest) = (Vec::new(), body);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((1 + self.below(bytes_max)).min(rest.len()));
            pieces.push(Bytes::copy_from_slice(piece));
            rest = after;
        }
        pieces
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}
