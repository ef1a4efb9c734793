//! Flags, `REJOIN_*` variables and a file, checked before a port is bound. Every default stands here, typed, and nowhere else.
//!
//! | file | what it knows |
//! |---|---|
//! | this one, `groups` | what can be told, and what is so when it is not |
//! | `value` | from text to values |
//! | `file` | the TOML file |
//! | `table` | the README's table of all of it |

mod file;
mod groups;
mod table;
#[cfg(test)]
mod tests;
mod value;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command, CommandFactory as _, FromArgMatches as _, Parser};

use crate::store::redis::RedisTarget;
use value::{count, listen, prefix, size, store};

pub(crate) use value::time;

pub use groups::{Access, Door, LogFormat, Tls, Watch};

/// What the server may be told at start. Each flag `--a-b` is also the variable `REJOIN_A_B` and the name `a-b` in the
/// file; the flag wins, then the variable, then the file.
#[derive(Clone, Debug, Parser)]
#[command(name = "rejoin", version, about = "Keeps the stream of an LLM answer alive.", long_about = None)]
#[command(after_help = COMMANDS)]
pub struct Config {
    /// A TOML file with any of these, each under its name: retention = "10m".
    #[arg(long, env = "REJOIN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Where to listen. Without --auth-key-file only a loopback address is allowed.
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

    /// Who may do what.
    #[command(flatten)]
    pub access: Access,
    /// Encryption.
    #[command(flatten)]
    pub tls: Tls,
    /// Bounds of connections, and of one user.
    #[command(flatten)]
    pub door: Door,
    /// What operators see.
    #[command(flatten)]
    pub watch: Watch,
}

const COMMANDS: &str = "\
Other commands:
  rejoin token --help    print an access token, for development
  rejoin doctor --help   connect through a proxy as a reader does, and say what it breaks
";

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
    /// Reads the command line (program name first), the environment, and the file that one of them names.
    ///
    /// Errors: [`Stop`], whose text names the flag, the variable and the name in the file that is wrong.
    pub fn read<I: IntoIterator<Item = OsString>>(arguments: I) -> Result<Self, Stop> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        let command = match file::named(&arguments) {
            Some(path) => file::defaults(Self::command(), &path).map_err(|text| Stop { text, exit_code: 64 })?,
            None => Self::command(),
        };
        command.try_get_matches_from(arguments).and_then(from_matches).map_err(stop)
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
    let refused = |rule: &str| Err(Config::command().error(ErrorKind::ArgumentConflict, rule));
    if config.log_bytes_max < config.record_bytes_max as u64 {
        return refused(
            "--log-bytes-max (REJOIN_LOG_BYTES_MAX) must be at least --record-bytes-max (REJOIN_RECORD_BYTES_MAX)",
        );
    }
    if config.tls.tls_cert_file.is_some() != config.tls.tls_key_file.is_some() {
        return refused(
            "--tls-cert-file (REJOIN_TLS_CERT_FILE) and --tls-key-file (REJOIN_TLS_KEY_FILE) need each other",
        );
    }
    if config.access.auth_audience.is_some() && config.access.auth_key_file.is_none() {
        return refused("--auth-audience (REJOIN_AUTH_AUDIENCE) needs --auth-key-file (REJOIN_AUTH_KEY_FILE)");
    }
    if !config.listen.ip().is_loopback() && config.access.auth_key_file.is_none() {
        return refused(&format!(
            "without access tokens everybody who reaches the port may do everything, so --listen (REJOIN_LISTEN) may \
             only be a loopback address (127.0.0.1 or [::1]): give the key of your tokens with --auth-key-file \
             (REJOIN_AUTH_KEY_FILE) to listen on {}",
            config.listen
        ));
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
        let ways = format!("the flag --{name}, the variable REJOIN_{variable}, or {name} in the file of --config");
        text.push_str(&format!("\nIt is set by {ways}.\n"));
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
