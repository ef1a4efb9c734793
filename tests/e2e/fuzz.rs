//! The fuzz targets on their seeds and on everything that was ever found. The search itself: `cargo xtask fuzz`.

use rejoin_tests::fuzz::{TARGETS, seeds};
use rejoin_tests::random::Random;

/// Runs a target on its seeds, and on each of them with some bytes changed.
fn check(name: &str) {
    let (_, target) = TARGETS.into_iter().find(|(known, _)| *known == name).expect("a target");
    let seeds = seeds::of(name);
    assert!(seeds.len() > 3 || name == "provider", "{name} has {} seeds", seeds.len());
    let mut random = Random::new();
    for seed in &seeds {
        target(seed);
        let mut changed = seed.clone();
        for _ in 0..4 {
            let at = random.below(changed.len());
            changed.splice(at..=at, [u8::try_from(random.below(256)).expect("a byte")]);
            target(&changed);
        }
    }
}

#[test]
fn append_bodies_keep_their_law() {
    check("ndjson");
}

#[test]
fn provider_bodies_keep_their_law() {
    check("provider");
}

#[test]
fn heads_keep_their_law() {
    check("cursor");
}

#[test]
fn tokens_keep_their_law() {
    check("token");
}

#[test]
fn the_component_and_the_native_code_agree() {
    check("boundary");
}
