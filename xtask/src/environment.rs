//! What the inner cargo may know of the world: everything but the outer cargo.
//!
//! A build script runs with the outer build's compiler, flags, wrapper (clippy's driver) and profile in its environment. Any of
//! these in the inner build changes its bytes or its cache, or makes it fail.

use std::ffi::OsStr;
use std::process::Command;

/// Kept although they begin with `CARGO`: how this machine reaches its registry, how loud cargo is, and the outer build's job slots.
const KEPT: &[&str] = &["CARGO_HOME", "CARGO_MAKEFLAGS"];
const KEPT_PREFIXES: &[&str] =
    &["CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_", "CARGO_TERM_"];

const DROPPED: &[&str] = &[
    "CARGO",
    "RUSTFLAGS",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTC",
    "TARGET",
    "HOST",
    "OUT_DIR",
    "PROFILE",
    "OPT_LEVEL",
    "DEBUG",
    "NUM_JOBS",
];
const DROPPED_PREFIXES: &[&str] = &["CARGO_", "RUSTC_", "CLIPPY_", "DEP_", "__CARGO_"];

/// Removes the outer build's variables from what `command` inherits. Set the command's own variables afterwards.
pub fn scrub(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if belongs_to_outer_build(&name) {
            command.env_remove(name);
        }
    }
}

/// Whether the variable `name` describes the build that is running, and so must not reach one inside it.
pub fn belongs_to_outer_build(name: &OsStr) -> bool {
    // A name that is not Unicode is none of cargo's.
    let Some(name) = name.to_str() else { return false };
    let starts_with = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if KEPT.contains(&name) || starts_with(KEPT_PREFIXES) {
        return false;
    }
    DROPPED.contains(&name) || starts_with(DROPPED_PREFIXES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &[&str], dropped: bool) {
        for name in names {
            assert_eq!(belongs_to_outer_build(OsStr::new(name)), dropped, "{name}");
        }
    }

    #[test]
    fn the_outer_build_s_compiler_flags_and_wrapper_do_not_reach_the_inner_one() {
        check(
            &[
                "RUSTC",
                "RUSTFLAGS",
                "CARGO_ENCODED_RUSTFLAGS",
                "RUSTC_WRAPPER",
                "RUSTC_WORKSPACE_WRAPPER",
                "CLIPPY_ARGS",
            ],
            true,
        );
    }

    #[test]
    fn the_outer_build_s_profile_target_and_directories_do_not_reach_the_inner_one() {
        check(
            &[
                "TARGET",
                "HOST",
                "OUT_DIR",
                "PROFILE",
                "CARGO_TARGET_DIR",
                "CARGO_BUILD_TARGET",
                "CARGO_PROFILE_RELEASE_LTO",
            ],
            true,
        );
        check(&["CARGO", "CARGO_MANIFEST_DIR", "CARGO_FEATURE_PRECOMPILE", "CARGO_CFG_UNIX", "DEP_Z_ROOT"], true);
    }

    #[test]
    fn the_user_s_network_and_home_settings_and_the_job_slots_stay() {
        check(
            &["CARGO_HOME", "CARGO_HTTP_PROXY", "CARGO_NET_OFFLINE", "CARGO_REGISTRIES_A_INDEX", "CARGO_MAKEFLAGS"],
            false,
        );
        check(
            &["PATH", "HOME", "HTTPS_PROXY", "RUSTUP_AUTO_INSTALL", "RUSTUP_TOOLCHAIN", "RUST_BACKTRACE", "TARGETS"],
            false,
        );
    }
}
