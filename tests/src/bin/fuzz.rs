//! libFuzzer around one of the targets in `rejoin_tests::fuzz`. Started by `cargo xtask fuzz`, which says which one.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rejoin_tests::fuzz::{TARGETS, Target, seeds};

/// `REJOIN_FUZZ`: the name of the target.
static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("REJOIN_FUZZ").unwrap_or_default();
    let found = TARGETS.into_iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| {
        eprintln!("no such target: {name:?}; there are {}", TARGETS.map(|(name, _)| name).join(", "));
        std::process::exit(2)
    })
});

fuzz_target!(
    init: {
        let (name, _) = *TARGET;
        if let Some(folder) = std::env::var_os("REJOIN_FUZZ_SEEDS") {
            for (at, seed) in seeds::of(name).iter().enumerate() {
                let path = std::path::Path::new(&folder).join(format!("seed-{at}"));
                std::fs::write(path, seed).expect("the folder of the seeds can be written");
            }
        }
    },
    |bytes: &[u8]| TARGET.1(bytes)
);
