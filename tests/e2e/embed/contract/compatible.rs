//! What may change in the WIT without a new version, and what may not.

use anyhow::{Context, Result, ensure};
use rejoin_tests::root;

use super::package::{Package, component_runs, may_follow};

const VERSION: &str = "package rejoin:streams@0.1.0;";
const FOLD: &str = "    fold: func(events: string) -> result<string, string>;\n";

/// The released package with one change, and why hosts of the released one cannot run a component of it; none: they can.
fn changed(file: &str, old: &str, new: &str) -> Result<Option<String>> {
    let released = Package::last_released()?;
    let changed = released.with(file, old, new)?;
    Ok(may_follow(&released, &changed).err().map(|error| format!("{error:#}")))
}

#[track_caller]
fn refused(file: &str, old: &str, new: &str) {
    let answer = changed(file, old, new).expect("the change can be made");
    let error = answer.unwrap_or_else(|| panic!("{file}: {new:?} instead of {old:?} passes"));
    assert!(error.contains("cannot run it") && error.contains("0.2.0"), "{error}");
}

#[track_caller]
fn allowed(file: &str, old: &str, new: &str) {
    assert_eq!(changed(file, old, new).expect("the change can be made"), None, "{file}: {new:?}");
}

#[test]
fn the_wit_breaks_no_host_of_the_last_release_or_has_a_version_that_says_so() -> Result<()> {
    let (released, now) = (Package::last_released()?, Package::read(&root().join("wit"))?);
    may_follow(&released, &now)
}

/// Else a release would name bytes that nobody can look up.
#[test]
fn the_package_and_the_component_have_one_version() -> Result<()> {
    let manifest = super::read(root().join("Cargo.toml"))?;
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = ")).context("a version")?;
    assert_eq!(version.trim_matches('"'), Package::read(&root().join("wit"))?.version()?.to_string());
    Ok(())
}

#[test]
fn a_record_that_has_changed_is_refused() {
    refused("types.wit", "        sequence: u64,\n", "        sequence: u32,\n");
    refused("types.wit", "        head: u64,\n", "        head: u64,\n        revision: u64,\n");
    refused("translate.wit", "        line: u64,\n", "        row: u64,\n");
}

#[test]
fn a_case_more_or_one_less_is_refused() {
    refused("types.wit", "        busy,\n", "        busy,\n        asleep,\n");
    refused("types.wit", "        requires-action,\n", "");
    refused("sse.wit", "        replaced(u64),\n", "        replaced(string),\n");
}

#[test]
fn an_export_that_is_gone_or_has_another_shape_is_refused() {
    refused("content.wit", FOLD, "");
    refused("content.wit", "        parts: func() -> string;\n", "");
    refused("session.wit", "next-index: func() -> u64;", "next-index: func() -> u32;");
    refused("session.wit", "push: func(generation: option<u64>", "push: func(generation: u64");
    refused("session.wit", "action-id: string, decision", "action: string, decision");
    refused("world.wit", "    export content;\n", "");
}

#[test]
fn an_import_that_hosts_do_not_know_is_refused() {
    refused("sse.wit", "    /// Tell the producers", "    tick: func();\n\n    /// Tell the producers");
    refused("world.wit", "    import sse;\n", "    import sse;\n    import tick: func();\n");
    refused("store.wit", "state: string);", "state: string) -> bool;");
}

#[test]
fn a_function_more_in_an_exported_interface_is_allowed() {
    allowed("content.wit", FOLD, &format!("{FOLD}    count: func(events: string) -> u64;\n"));
    allowed(
        "session.wit",
        "        head: func() -> cursor;\n",
        "        head: func() -> cursor;\n        age: func() -> u64;\n",
    );
    allowed("world.wit", "    export content;\n", "    export content;\n    export ping: func();\n");
}

#[test]
fn an_import_less_and_other_words_are_allowed() {
    allowed("sse.wit", "    signal: func(stream-id: string, generation: u64, what: producer-signal);\n", "");
    allowed("content.wit", "/// An empty one.", "/// One without events.");
}

#[test]
fn a_change_that_breaks_is_allowed_with_a_version_that_says_so_and_with_no_other() -> Result<()> {
    let released = Package::last_released()?;
    let broken = released.with("content.wit", FOLD, "")?;
    for (version, enough) in [("0.1.1", false), ("0.2.0", true), ("0.3.0", true), ("1.0.0", true)] {
        let bumped = broken.with("world.wit", VERSION, &VERSION.replace("0.1.0", version))?;
        ensure!(may_follow(&released, &bumped).is_ok() == enough, "{version}");
    }
    Ok(())
}

#[test]
fn from_one_on_it_is_the_first_number_that_says_so_and_none_ever_falls() -> Result<()> {
    let released = Package::last_released()?;
    let of = |package: &Package, version: &str| package.with("world.wit", VERSION, &VERSION.replace("0.1.0", version));
    let (released, broken) = (of(&released, "1.2.0")?, released.with("content.wit", FOLD, "")?);
    for (version, enough) in [("1.2.0", false), ("1.3.0", false), ("2.0.0", true)] {
        ensure!(may_follow(&released, &of(&broken, version)?).is_ok() == enough, "{version}");
    }
    ensure!(may_follow(&released, &Package::last_released()?).is_err(), "0.1.0 after 1.2.0");
    Ok(())
}

/// The other direction is the law of worlds that a host owns. For ours it would let through what breaks every host.
#[test]
fn the_check_asks_for_a_new_component_in_an_old_host_not_for_an_old_one_in_a_new_host() -> Result<()> {
    let released = Package::last_released()?;
    let without_fold = released.with("content.wit", FOLD, "")?;
    component_runs(&released, &without_fold).context("who calls less is content with the old component")?;
    ensure!(component_runs(&without_fold, &released).is_err(), "who calls `fold` is not content with the new one");
    Ok(())
}
