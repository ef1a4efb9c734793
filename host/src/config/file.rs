//! The TOML file: names of flags and what they are set to, flat. What it says takes the place of the defaults.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::Command;
use toml::{Table, Value};

/// The file that the command line or the environment names.
pub(super) fn named(arguments: &[OsString]) -> Option<PathBuf> {
    let mut rest = arguments.iter().skip(1);
    while let Some(argument) = rest.next() {
        if argument == "--config" {
            return rest.next().map(PathBuf::from);
        }
        if let Some(path) = argument.to_str().and_then(|text| text.strip_prefix("--config=")) {
            return Some(path.into());
        }
    }
    std::env::var_os("REJOIN_CONFIG").filter(|path| path != OsStr::new("")).map(PathBuf::from)
}

/// The command with the file's values as defaults: they go through the same checks. Errors: what is wrong with the file.
pub(super) fn defaults(command: Command, path: &Path) -> Result<Command, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("error: cannot read {shown}: {error}\n"))?;
    // Without the line itself: there may be a password in it.
    let broken = |error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or_default().lines().count().max(1));
        format!("error: {shown} is not TOML: line {line}: {}\n", error.message())
    };
    let mut table: Table = text.parse().map_err(broken)?;
    let mut wrong = None;
    let command = command.mut_args(|argument| {
        let taken = argument.get_long().filter(|name| *name != "config").and_then(|name| table.remove(name));
        match taken.map(|value| words(&value)) {
            None => argument,
            Some(Some(values)) => argument.default_values(values).hide_default_value(true),
            Some(None) => {
                wrong = argument.get_long().map(str::to_owned);
                argument
            }
        }
    });
    if let Some(name) = wrong {
        return Err(format!("error: {name} in {shown} must be a text, a number, or a list of texts\n"));
    }
    match table.keys().next() {
        None => Ok(command),
        Some(name) => Err(format!("error: {name} in {shown} is not the name of a flag: rejoin --help lists them\n")),
    }
}

/// A value as it would stand on the command line; none: it cannot.
fn words(value: &Value) -> Option<Vec<String>> {
    let word = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    };
    match value {
        Value::Array(values) => values.iter().map(word).collect(),
        single => word(single).map(|word| vec![word]),
    }
}
