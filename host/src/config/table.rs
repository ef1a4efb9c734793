//! The README's table of what can be told, from the same source as `--help`.

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use crate::config::Config;

    const BEGIN: &str = "<!-- settings: written by `BLESS=1 cargo test -p rejoin settings` -->\n";
    const END: &str = "<!-- end of settings -->\n";

    fn table() -> String {
        let mut table = String::from("| flag | default | what it is |\n|---|---|---|\n");
        for argument in Config::command().get_arguments() {
            let Some(name) = argument.get_long() else { continue };
            let default: Vec<_> = argument.get_default_values().iter().filter_map(|value| value.to_str()).collect();
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default().replace('\n', " ");
            table.push_str(&format!("| `--{name}` | {} | {help} |\n", default.join(",")));
        }
        table
    }

    #[test]
    fn the_readme_has_the_table_of_all_settings() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
        let readme = std::fs::read_to_string(path).expect("the README is there");
        let (before, rest) = readme.split_once(BEGIN).expect("the table has a place");
        let (now, after) = rest.split_once(END).expect("the table has an end");
        let wanted = table();
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, format!("{before}{BEGIN}{wanted}{END}{after}")).expect("the README can be written");
        } else {
            assert_eq!(now, wanted, "run it again with BLESS=1");
        }
    }
}
