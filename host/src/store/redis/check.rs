//! What is asked of a Redis before the host starts on it. Each refusal is one line that says what to do.

use std::sync::Once;

use redis::aio::ConnectionLike as _;
use redis::{ConnectionInfo, RedisError, Value, from_redis_value};

use super::link::{Link, Source, bounded};
use super::target::RedisTarget;

/// Scripts and sharded channels are used as Redis 7 knows them.
const VERSION_MIN: u64 = 7;

/// Why the host does not start on this Redis.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nobody answers.
    #[error("cannot reach {target}: {why}; is it running, and is --store (REJOIN_STORE) right?")]
    Unreachable {
        /// Who was asked, without credentials.
        target: String,
        /// What the attempt said.
        why: String,
    },
    /// It wants another user or password.
    #[error(
        "{target} refused the log-in: give user and password in --store (REJOIN_STORE), as redis://user:password@host"
    )]
    LogInRefused {
        /// Who was asked, without credentials.
        target: String,
    },
    /// It is too old.
    #[error("{target} is Redis {version}: Redis {VERSION_MIN} or newer, or Valkey, is needed")]
    TooOld {
        /// Who was asked.
        target: String,
        /// What it says of itself.
        version: String,
    },
    /// Several addresses, but no Cluster.
    #[error("{target} is no Cluster: give one address in --store (REJOIN_STORE), or redis+sentinel://…")]
    NoCluster {
        /// Who was asked.
        target: String,
    },
    /// One address, but a Cluster.
    #[error(
        "{target} is part of a Cluster: give at least two of its nodes in --store (REJOIN_STORE), separated by commas"
    )]
    IsCluster {
        /// Who was asked.
        target: String,
    },
}

/// A link to a Redis that is fit for this host.
pub(super) async fn link(target: &RedisTarget) -> Result<Link, StartError> {
    static RING: Once = Once::new();
    // Refused when another part of the process has chosen before: that choice will do as well.
    RING.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let bytes_max = check(target).await?;
    Link::open(target, bytes_max).await.map_err(|error| refusal(target, &error))
}

/// Asks a server of the target what it is. Gives its `maxmemory`.
async fn check(target: &RedisTarget) -> Result<u64, StartError> {
    let info = info(target).await.map_err(|error| refusal(target, &error))?;
    let field = |name: &str| info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'));
    let target_text = || target.to_string();
    let version = field("redis_version").unwrap_or("of unknown version");
    let major = version.split('.').next().and_then(|major| major.parse::<u64>().ok());
    if major.is_none_or(|major| major < VERSION_MIN) {
        return Err(StartError::TooOld { target: target_text(), version: version.to_owned() });
    }
    match (target, field("cluster_enabled") == Some("1")) {
        (RedisTarget::Cluster(_), false) => return Err(StartError::NoCluster { target: target_text() }),
        (RedisTarget::Single(_) | RedisTarget::Sentinel { .. }, true) => {
            return Err(StartError::IsCluster { target: target_text() });
        }
        _ => {}
    }
    let policy = field("maxmemory_policy").unwrap_or("noeviction");
    if policy != "noeviction" {
        tracing::warn!(%target, policy, "Redis may evict streams that are alive: set maxmemory-policy noeviction");
    }
    Ok(field("maxmemory").and_then(|bytes| bytes.parse().ok()).unwrap_or(0))
}

/// `INFO` of the first server that answers.
async fn info(target: &RedisTarget) -> Result<String, RedisError> {
    let nodes: &[ConnectionInfo] = match target {
        RedisTarget::Single(node) => std::slice::from_ref(node),
        RedisTarget::Cluster(nodes) => nodes,
        RedisTarget::Sentinel { .. } => &[],
    };
    let sources = nodes.iter().map(Source::single).chain(Source::sentinel(target).transpose());
    let mut last = (redis::ErrorKind::InvalidClientConfig, "no address").into();
    for source in sources {
        let answer: Result<Value, RedisError> = async {
            let mut connection = source?.connect(&bounded()).await?;
            connection.req_packed_command(&redis::cmd("INFO")).await.and_then(Value::extract_error)
        }
        .await;
        match answer.and_then(|value| Ok(from_redis_value::<String>(value)?)) {
            Ok(info) => return Ok(info),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn refusal(target: &RedisTarget, error: &RedisError) -> StartError {
    let target = target.to_string();
    let login = error.kind() == redis::ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
        || error.to_string().contains("NOAUTH");
    if login { StartError::LogInRefused { target } } else { StartError::Unreachable { target, why: error.to_string() } }
}
