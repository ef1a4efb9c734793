//! What belongs together: access, encryption, bounds of connections, and what operators see.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::value::{collector, count, origin, size, time};

/// Who may do what.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Access")]
pub struct Access {
    /// The key of access tokens: a secret of at least 32 bytes (HS256), an Ed25519 public key in PEM (EdDSA), or a JWKS file
    /// with several of them. Read again when it changes.
    #[arg(long, env = "REJOIN_AUTH_KEY_FILE", value_name = "FILE")]
    pub auth_key_file: Option<PathBuf>,
    /// What `aud` of every token must be, or contain.
    #[arg(long, env = "REJOIN_AUTH_AUDIENCE", value_name = "TEXT")]
    pub auth_audience: Option<String>,
    /// Origins of web pages that may use this server, separated by commas: https://chat.example. Its own page always may.
    #[arg(long, env = "REJOIN_CORS_ORIGINS", value_name = "ORIGINS", value_delimiter = ',', value_parser = origin)]
    pub cors_origins: Vec<String>,
    /// How long a ticket for EventSource may be used, once.
    #[arg(long, env = "REJOIN_TICKET_MAX", value_name = "TIME", default_value = "30s", value_parser = time)]
    pub ticket_max: Duration,
}

/// Encryption.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "TLS")]
pub struct Tls {
    /// The certificate chain in PEM. Read again when it changes.
    #[arg(long, env = "REJOIN_TLS_CERT_FILE", value_name = "FILE")]
    pub tls_cert_file: Option<PathBuf>,
    /// Its private key in PEM.
    #[arg(long, env = "REJOIN_TLS_KEY_FILE", value_name = "FILE")]
    pub tls_key_file: Option<PathBuf>,
}

/// Bounds of connections, and of one user.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connections")]
pub struct Door {
    /// Connections at a time. Unless told: one for each subscriber and each active job, and 1024 more.
    #[arg(long, env = "REJOIN_CONNECTIONS_MAX", value_name = "COUNT", value_parser = count::<usize>)]
    pub connections_max: Option<usize>,
    /// Bytes of the head of a request.
    #[arg(long, env = "REJOIN_HEAD_BYTES_MAX", value_name = "SIZE", default_value = "32KiB", value_parser = size::<usize>)]
    pub head_bytes_max: usize,
    /// From the first byte of a connection or a request to the end of its head, TLS included.
    #[arg(long, env = "REJOIN_HEAD_WAIT", value_name = "TIME", default_value = "10s", value_parser = time)]
    pub head_wait: Duration,
    /// How long a connection may rest between two requests.
    #[arg(long, env = "REJOIN_REST_MAX", value_name = "TIME", default_value = "60s", value_parser = time)]
    pub rest_max: Duration,
    /// From the head of a request to the end of its body, but for append bodies that may stay open.
    #[arg(long, env = "REJOIN_BODY_WAIT", value_name = "TIME", default_value = "30s", value_parser = time)]
    pub body_wait: Duration,
    /// An append body that stays open is ended when it brings nothing for this long; what it brought is kept.
    #[arg(long, env = "REJOIN_APPEND_IDLE", value_name = "TIME", default_value = "30m", value_parser = time)]
    pub append_idle: Duration,
    /// Append requests of one user in a second, on this host; five times as many at once.
    #[arg(long, env = "REJOIN_USER_APPENDS_PER_S_MAX", value_name = "COUNT")]
    #[arg(default_value = "1000", value_parser = count::<u32>)]
    pub user_appends_per_s_max: u32,
    /// Generations that one user may create in a minute, on this host.
    #[arg(long, env = "REJOIN_USER_CREATES_PER_MIN_MAX", value_name = "COUNT")]
    #[arg(default_value = "120", value_parser = count::<u32>)]
    pub user_creates_per_min_max: u32,
    /// Open live streams, signals and append bodies of one user, on this host.
    #[arg(long, env = "REJOIN_USER_CONNECTIONS_MAX", value_name = "COUNT")]
    #[arg(default_value = "200", value_parser = count::<u32>)]
    pub user_connections_max: u32,
}

/// What operators see.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs and traces")]
pub struct Watch {
    /// How a log line looks.
    #[arg(long, env = "REJOIN_LOG_FORMAT", value_name = "FORMAT", default_value = "text", value_enum)]
    pub log_format: LogFormat,
    /// Where traces are sent by OTLP over HTTP: http://127.0.0.1:4318. None are unless told.
    #[arg(long, env = "REJOIN_OTLP_ENDPOINT", value_name = "URL", value_parser = collector)]
    pub otlp_endpoint: Option<String>,
    /// Where /metrics is answered without a token, beside the port that is open to all: 127.0.0.1:9464.
    #[arg(long, env = "REJOIN_METRICS_LISTEN", value_name = "ADDRESS")]
    pub metrics_listen: Option<SocketAddr>,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}
