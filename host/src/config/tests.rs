//! What can be told, and what is refused.

use std::io::Write as _;

use super::*;

fn read(arguments: &[&str]) -> Result<Config, Stop> {
    Config::read(std::iter::once("rejoin").chain(arguments.iter().copied()).map(OsString::from))
}

#[test]
fn every_default_parses() {
    let config = Config::default();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8787");
    assert_eq!((config.record_bytes_max, config.log_bytes_max), (1 << 20, 64 << 20));
    assert_eq!((config.keep_alive, config.job_idle), (Duration::from_secs(15), Duration::from_secs(1800)));
    assert_eq!(config.memory_bytes_max, 1 << 30);
}

#[test]
fn a_flag_changes_its_value() {
    let config = read(&["--listen", "[::1]:0", "--retention=90s", "--records-max", "7"]).expect("it is valid");
    assert_eq!(config.listen.to_string(), "[::1]:0");
    assert_eq!((config.retention, config.records_max), (Duration::from_secs(90), 7));
}

#[test]
fn a_bad_value_stops_with_64_and_names_flag_and_variable() {
    for (flag, value, says) in [
        ("--listen", "localhost", "IP:PORT"),
        ("--store", "redis", "a store is memory or Redis"),
        ("--store", "http://:password1@host", "redis+sentinel://"),
        ("--redis-prefix", "a{b", "1 to 64 letters"),
        ("--retention", "5", "a unit"),
        ("--retention", "0s", "at least 1"),
        ("--record-bytes-max", "1MB", "64KiB"),
        ("--record-bytes-max", "99999999999999999999", "not a whole number in range"),
        ("--records-max", "many", "a whole number"),
    ] {
        let stop = read(&[flag, value]).expect_err(value);
        assert_eq!(stop.exit_code, 64, "{value}");
        let variable = format!("REJOIN_{}", flag[2..].to_uppercase().replace('-', "_"));
        for part in [flag, &variable, says] {
            assert!(stop.text.contains(part), "{value}: {part:?} is missing in {}", stop.text);
        }
        assert!(!stop.text.contains("password1"), "{}", stop.text);
    }
}

#[test]
fn a_password_is_not_shown() {
    let config = read(&["--store", "redis://:password1@host"]).expect("it is valid");
    let shown = format!("{config:?}");
    assert!(shown.contains("redis host:6379") && !shown.contains("password1"), "{shown}");
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    let stop = read(&["--log-bytes-max", "1KiB"]).expect_err("a record would not fit");
    assert!(stop.exit_code == 64 && stop.text.contains("REJOIN_RECORD_BYTES_MAX"), "{}", stop.text);
}

#[test]
fn an_unknown_flag_stops_with_64_and_help_with_0() {
    assert_eq!(read(&["--no-such-flag"]).expect_err("unknown").exit_code, 64);
    let help = read(&["--help"]).expect_err("help is shown");
    assert!(help.exit_code == 0 && help.text.contains("REJOIN_KEEP_ALIVE"), "{}", help.text);
}

#[test]
fn another_address_than_loopback_needs_a_key() {
    let stop = read(&["--listen", "0.0.0.0:8787"]).expect_err("anybody could do anything");
    assert!(stop.exit_code == 64 && stop.text.contains("--auth-key-file"), "{}", stop.text);
    assert!(read(&["--listen", "0.0.0.0:8787", "--auth-key-file", "k"]).is_ok());
}

#[test]
fn a_certificate_needs_its_key() {
    let stop = read(&["--tls-cert-file", "c.pem"]).expect_err("no key");
    assert!(stop.exit_code == 64 && stop.text.contains("--tls-key-file"), "{}", stop.text);
}

fn written(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a place for a file");
    file.write_all(text.as_bytes()).expect("room for it");
    file
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_what_is_built_in() {
    let file = written(
        "retention = \"90s\"\nrecords-max = 7\ncors-origins = [\"https://a.example\", \"https://b.example\"]\n",
    );
    let path = file.path().to_str().expect("UTF-8");
    let config = read(&["--config", path, "--records-max=9"]).expect("it is valid");
    assert_eq!((config.retention, config.records_max), (Duration::from_secs(90), 9));
    assert_eq!(config.access.cors_origins, ["https://a.example", "https://b.example"]);
}

#[test]
fn what_belongs_together_is_looked_at_wherever_it_stands() {
    for (text, says) in [("tls-cert-file = \"c.pem\"", "--tls-key-file"), ("auth-audience = \"a\"", "--auth-key-file")]
    {
        let file = written(text);
        let stop = read(&[&format!("--config={}", file.path().display())]).expect_err(text);
        assert!(stop.exit_code == 64 && stop.text.contains(says), "{text}: {}", stop.text);
    }
    let file = written("tls-key-file = \"k.pem\"");
    assert!(read(&[&format!("--config={}", file.path().display()), "--tls-cert-file=c.pem"]).is_ok());
}

#[test]
fn a_password_in_the_file_is_not_shown() {
    let file = written("store = \"redis://:password1@host\"");
    let help = read(&[&format!("--config={}", file.path().display()), "--help"]).expect_err("help is shown");
    assert!(help.exit_code == 0 && !help.text.contains("password1"), "{}", help.text);
    let file = written("records-max = 7\nstore = \"redis://:password1@host");
    let stop = read(&[&format!("--config={}", file.path().display())]).expect_err("no closing quote");
    assert!(stop.text.contains("line 2") && !stop.text.contains("password1"), "{}", stop.text);
}

#[test]
fn a_file_that_is_wrong_stops_with_64_and_says_where() {
    for (text, says) in [
        ("retention = \"5\"", "retention in the file"),
        ("retentoin = \"5m\"", "retentoin"),
        ("retention = ", "line 1"),
        ("[limits]\nretention = \"5m\"", "limits"),
        ("config = \"other\"", "config"),
    ] {
        let file = written(text);
        let stop = read(&[&format!("--config={}", file.path().display())]).expect_err(text);
        assert!(stop.exit_code == 64 && stop.text.contains(says), "{text}: {}", stop.text);
    }
    let stop = read(&["--config", "/nowhere/at/all"]).expect_err("no such file");
    assert!(stop.text.contains("/nowhere/at/all"), "{}", stop.text);
}

#[test]
fn the_shipped_file_is_valid() {
    let config =
        read(&["--config", concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/rejoin.toml")]).expect("it is valid");
    assert_eq!((config.listen.to_string().as_str(), config.watch.log_format), ("0.0.0.0:8787", LogFormat::Json));
}
