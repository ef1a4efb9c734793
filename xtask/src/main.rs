//! `cargo xtask serve | test | component | edge | fold | bench | fuzz | deny`: finds or installs what is missing, then does the thing.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;

mod commands;

const USAGE: &str = "\
Usage: cargo xtask <command>

  serve [arguments…]     build the server and run it with these arguments (127.0.0.1:8787 unless told otherwise)
  test [filter…]         install what the tests need, build everything, run all tests or those whose names contain a filter
  component              write the component to target/rejoin.wasm, its SHA-256 and its bill of materials beside it
  edge                   write the components for `wasi:http` 0.2 and 0.3, the core in them, to target/rejoin-edge{,-p3}.wasm; print size and SHA-256
  fold [--component]     fold events from standard input into content on standard output, natively or in the component
  bench [name…]          run the benchmarks, or those named; `embed`: the component in every host it is shown in
  fuzz [target] [--seconds N]
                         search for bytes that break a law, in one target or in all, for 600 seconds each unless told
  deny                   check licences, duplicates and sources of every dependency, and advisories where there is a network
";

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Serve(Vec<String>),
    Test(Vec<String>),
    Component,
    Edge,
    Fold(Vec<String>),
    Bench(Vec<String>),
    Fuzz(Vec<String>),
    Deny,
}

fn main() -> ExitCode {
    if let Some(compiler) = commands::as_compiler() {
        return compiler;
    }
    let Some(command) = parse(std::env::args().skip(1)) else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `None`: no such command. What follows a command's name belongs to the program it starts and is not looked at.
fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Command> {
    let name = arguments.next()?;
    let rest: Vec<String> = arguments.collect();
    match name.as_str() {
        "serve" => Some(Command::Serve(rest)),
        "test" => Some(Command::Test(rest)),
        "component" if rest.is_empty() => Some(Command::Component),
        "edge" if rest.is_empty() => Some(Command::Edge),
        "fold" => Some(Command::Fold(rest)),
        "bench" => Some(Command::Bench(rest)),
        "fuzz" => Some(Command::Fuzz(rest)),
        "deny" if rest.is_empty() => Some(Command::Deny),
        _ => None,
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Serve(arguments) => commands::serve(&arguments),
        Command::Test(filters) => commands::test(&filters),
        Command::Component => commands::component(),
        Command::Edge => commands::edge(),
        Command::Fold(arguments) => commands::tool("fold", &arguments),
        Command::Bench(names) => commands::bench(&names),
        Command::Fuzz(arguments) => commands::fuzz(&arguments),
        Command::Deny => commands::deny(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<Command> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_follows_a_command_goes_to_the_program_untouched() {
        let arguments = vec!["--listen".to_owned(), "0.0.0.0:80".to_owned()];
        assert_eq!(parsed("serve --listen 0.0.0.0:80"), Some(Command::Serve(arguments)));
        assert_eq!(parsed("fold --component"), Some(Command::Fold(vec!["--component".to_owned()])));
    }

    #[test]
    fn a_command_without_arguments_is_a_whole_command() {
        assert_eq!(parsed("test"), Some(Command::Test(Vec::new())));
        assert_eq!(parsed("component"), Some(Command::Component));
        assert_eq!(parsed("edge"), Some(Command::Edge));
    }

    #[test]
    fn no_command_an_unknown_one_or_one_argument_too_many_is_a_usage_error() {
        for line in ["", "deploy", "--help", "component twice", "deny all"] {
            assert_eq!(parsed(line), None, "{line}");
        }
    }
}
