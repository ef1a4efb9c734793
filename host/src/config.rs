//! Flags and `REJOIN_*` variables, checked before a port is bound. Every default stands here, typed, and nowhere else.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command, CommandFactory as _, FromArgMatches as _, Parser};

use crate::store::redis::RedisTarget;

/// What the server may be told at start. Each flag `--a-b` is also the variable `REJOIN_A_B`; the flag wins.
#[derive(Clone, Debug, Parser)]
#[command(name = "rejoin", version, about = "Keeps the stream of an LLM answer alive.", long_about = None)]
pub struct Config {
    /// Where to listen. Without access tokens only a loopback address is allowed.
    #[arg(long, env = "REJOIN_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8787", value_parser = listen)]
    pub listen: SocketAddr,
    /// Where jobs and logs are kept: memory, or a Redis 7 or newer that several hosts may share:
    /// redis://[user:password@]host[:port][/db], rediss://… for TLS, several of them separated by commas for a Cluster, or
    /// redis+sentinel://[user:password@]host:port,host:port/<master name>[/db].
    #[arg(long, env = "REJOIN_STORE", default_value = "memory", value_parser = store, hide_env_values = true)]
    pub store: StoreKind,
    /// What all keys in Redis begin with. Hosts that share streams have the same.
    #[arg(long, env = "REJOIN_REDIS_PREFIX", value_name = "TEXT", default_value = "rejoin", value_parser = prefix)]
    pub redis_prefix: String,
    /// Bytes that the memory store may hold.
    #[arg(long, env = "REJOIN_MEMORY_BYTES_MAX", value_name = "SIZE")]
    #[arg(default_value = "1GiB", value_parser = size::<u64>)]
    pub memory_bytes_max: u64,

    /// How long a request waits for a store that cannot be reached, before it is answered 503.
    #[arg(long, env = "REJOIN_STORE_WAIT", value_name = "TIME", default_value = "10s", value_parser = time)]
    pub store_wait: Duration,

    /// Bytes of one record.
    #[arg(long, env = "REJOIN_RECORD_BYTES_MAX", value_name = "SIZE")]
    #[arg(default_value = "1MiB", value_parser = size::<usize>)]
    pub record_bytes_max: usize,
    /// Bytes of one append body of content type application/json.
    #[arg(long, env = "REJOIN_BODY_BYTES_MAX", value_name = "SIZE")]
    #[arg(default_value = "8MiB", value_parser = size::<usize>)]
    pub body_bytes_max: usize,
    /// Records of one generation.
    #[arg(long, env = "REJOIN_RECORDS_MAX", value_name = "COUNT")]
    #[arg(default_value = "200000", value_parser = count::<u64>)]
    pub records_max: u64,
    /// Bytes of all records of one generation.
    #[arg(long, env = "REJOIN_LOG_BYTES_MAX", value_name = "SIZE", default_value = "64MiB", value_parser = size::<u64>)]
    pub log_bytes_max: u64,

    /// Active jobs in the store: on this host, or on all replicas that share a Redis.
    #[arg(long, env = "REJOIN_JOBS_MAX", value_name = "COUNT", default_value = "10000", value_parser = count::<u64>)]
    pub jobs_max: u64,
    /// Active jobs of one user.
    #[arg(long, env = "REJOIN_JOBS_PER_USER_MAX", value_name = "COUNT")]
    #[arg(default_value = "100", value_parser = count::<u64>)]
    pub jobs_per_user_max: u64,
    /// Subscribers on this host.
    #[arg(long, env = "REJOIN_SUBSCRIBERS_MAX", value_name = "COUNT")]
    #[arg(default_value = "20000", value_parser = count::<usize>)]
    pub subscribers_max: usize,
    /// Subscribers of one stream.
    #[arg(long, env = "REJOIN_SUBSCRIBERS_PER_STREAM_MAX", value_name = "COUNT")]
    #[arg(default_value = "2000", value_parser = count::<usize>)]
    pub subscribers_per_stream_max: usize,

    /// Open sessions: streams whose state is held ready for the next command.
    #[arg(long, env = "REJOIN_SESSIONS_MAX", value_name = "COUNT")]
    #[arg(default_value = "10000", value_parser = count::<u32>)]
    pub sessions_max: u32,
    /// A session without work is dropped after this time; its stream lives on in the store.
    #[arg(long, env = "REJOIN_SESSION_IDLE", value_name = "TIME", default_value = "5s", value_parser = time)]
    pub session_idle: Duration,
    /// Memory of the component for one session.
    #[arg(long, env = "REJOIN_SESSION_BYTES_MAX", value_name = "SIZE")]
    #[arg(default_value = "64MiB", value_parser = size::<usize>)]
    pub session_bytes_max: usize,
    /// Time of one call into the component.
    #[arg(long, env = "REJOIN_CALL_MAX", value_name = "TIME", default_value = "1s", value_parser = time)]
    pub call_max: Duration,

    /// An active job without an append for this long ends in error "timed out".
    #[arg(long, env = "REJOIN_JOB_IDLE", value_name = "TIME", default_value = "30m", value_parser = time)]
    pub job_idle: Duration,
    /// A job that waits for a person's answer for this long ends in error "timed out".
    #[arg(long, env = "REJOIN_PAUSED_IDLE", value_name = "TIME", default_value = "24h", value_parser = time)]
    pub paused_idle: Duration,
    /// How long a job that has ended can still be read.
    #[arg(long, env = "REJOIN_RETENTION", value_name = "TIME", default_value = "5m", value_parser = time)]
    pub retention: Duration,

    /// Bytes of the newest records kept ready for the subscribers of one stream; who is further behind reads the log.
    #[arg(long, env = "REJOIN_RING_BYTES_MAX", value_name = "SIZE")]
    #[arg(default_value = "256KiB", value_parser = size::<usize>)]
    pub ring_bytes_max: usize,
    /// A live stream without records sends a comment this often.
    #[arg(long, env = "REJOIN_KEEP_ALIVE", value_name = "TIME", default_value = "15s", value_parser = time)]
    pub keep_alive: Duration,
    /// A client that takes no byte for this long, while there are some for it, is cut.
    #[arg(long, env = "REJOIN_STALL_MAX", value_name = "TIME", default_value = "60s", value_parser = time)]
    pub stall_max: Duration,
    /// How long open requests may go on after the signal to stop.
    #[arg(long, env = "REJOIN_SHUTDOWN_MAX", value_name = "TIME", default_value = "10s", value_parser = time)]
    pub shutdown_max: Duration,
}

/// Where jobs and logs are kept. `Debug` shows no password.
#[derive(Clone, Debug)]
pub enum StoreKind {
    /// In this process: gone when it ends.
    Memory,
    /// In Redis.
    Redis(RedisTarget),
}

/// Why there is no configuration: what to print, and the exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct Stop {
    /// For stdout when `exit_code` is 0, else for stderr.
    pub text: String,
    /// 0 for `--help` and `--version`, else 64 (`EX_USAGE`).
    pub exit_code: u8,
}

impl Config {
    /// Reads the command line (program name first) and the environment.
    ///
    /// Errors: [`Stop`], whose text names the flag and the variable that is wrong.
    pub fn read<I: IntoIterator<Item = OsString>>(arguments: I) -> Result<Self, Stop> {
        Self::command().try_get_matches_from(arguments).and_then(from_matches).map_err(stop)
    }
}

/// What the server does when it is told nothing; the environment is not looked at.
impl Default for Config {
    fn default() -> Self {
        let silent: Command = Self::command().mut_args(|argument| argument.env(Resettable::Reset));
        let parsed = silent.try_get_matches_from(["rejoin"]).and_then(from_matches);
        parsed.expect("every default parses: a test reads them all")
    }
}

fn from_matches(mut matches: ArgMatches) -> Result<Config, clap::Error> {
    let config = Config::from_arg_matches_mut(&mut matches)?;
    if config.log_bytes_max < config.record_bytes_max as u64 {
        let rule =
            "--log-bytes-max (REJOIN_LOG_BYTES_MAX) must be at least --record-bytes-max (REJOIN_RECORD_BYTES_MAX)";
        return Err(Config::command().error(ErrorKind::ArgumentConflict, rule));
    }
    Ok(config)
}

fn stop(error: clap::Error) -> Stop {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Stop { text: error.to_string(), exit_code: 0 };
    }
    let mut text = without_store(&error);
    // clap names the flag; when the value came from the environment the reader looks for the variable.
    if let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg)
        && let Some(name) = flag.strip_prefix("--").and_then(|rest| rest.split_whitespace().next())
    {
        let variable = name.to_uppercase().replace('-', "_");
        text.push_str(&format!("\nIt is set by the flag --{name} or the variable REJOIN_{variable}.\n"));
    }
    Stop { text, exit_code: 64 }
}

/// What clap says, but for the value of `--store`: there may be a password in it.
fn without_store(error: &clap::Error) -> String {
    let text = error.to_string();
    match (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue)) {
        (Some(ContextValue::String(flag)), Some(ContextValue::String(value)))
            if flag.starts_with("--store") && !value.is_empty() =>
        {
            text.replace(&format!("'{value}'"), "'…'")
        }
        _ => text,
    }
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| format!("an address is IP:PORT, for example {}:8787", Ipv4Addr::LOCALHOST))?;
    if !address.ip().is_loopback() {
        return Err("without access tokens everybody who reaches the port may do everything, so only a loopback \
                    address (127.0.0.1 or [::1]) is allowed; access tokens come in a later version"
            .to_owned());
    }
    Ok(address)
}

fn store(text: &str) -> Result<StoreKind, String> {
    match text {
        "memory" => Ok(StoreKind::Memory),
        _ => {
            RedisTarget::parse(text).map(StoreKind::Redis).map_err(|rule| format!("a store is memory or Redis; {rule}"))
        }
    }
}

/// 1 to 64 letters, digits, and a few signs. No braces: they mark what a Cluster hashes.
fn prefix(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        return Ok(text.to_owned());
    }
    Err("a prefix has 1 to 64 letters, digits, or any of - _ . :".to_owned())
}

/// A time with its unit: `500ms`, `15s`, `30m`, `2h`. Never zero.
fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let scale_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a time is a whole number and a unit: 500ms, 15s, 30m or 2h".to_owned()),
    };
    positive(number, scale_ms).map(Duration::from_millis)
}

/// A number of bytes: `512`, `64KiB`, `1MiB`, `2GiB`. Never zero.
fn size<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let (number, unit) = split(text);
    let scale = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("a size is a whole number of bytes, or one with a unit: 64KiB, 1MiB, 2GiB".to_owned()),
    };
    fitting(positive(number, scale)?)
}

/// A plain number, at least 1.
fn count<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    match split(text) {
        (number, "") => fitting(positive(number, 1)?),
        _ => Err("a count is a whole number".to_owned()),
    }
}

fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn positive(number: &str, scale: u64) -> Result<u64, String> {
    let value = number.parse::<u64>().ok().and_then(|number| number.checked_mul(scale));
    match value {
        Some(0) => Err("it must be at least 1".to_owned()),
        Some(value) => Ok(value),
        None => Err(format!("{number:?} is not a whole number in range")),
    }
}

fn fitting<T: TryFrom<u64>>(value: u64) -> Result<T, String> {
    T::try_from(value).map_err(|_| format!("{value} is too large here"))
}

#[cfg(test)]
mod tests {
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
            ("--listen", "0.0.0.0:8787", "access tokens come in a later version"),
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
    fn units_are_read_exactly() {
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(size::<u64>("2GiB"), Ok(2 << 30));
        assert_eq!(size::<u64>("512"), Ok(512));
        assert!(size::<u8>("256").is_err() && count::<u32>("1k").is_err() && time("1.5s").is_err());
    }
}
