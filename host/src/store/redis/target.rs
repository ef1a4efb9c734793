//! Which Redis: what the flag `--store` may say, read once.

use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, RedisConnectionInfo};

const SENTINEL: &str = "redis+sentinel://";
/// What is accepted, for whoever mistyped it.
const SHAPES: &str = "a Redis address is redis://[user:password@]host[:port][/db], rediss://… for TLS, several of them \
    separated by commas for a Cluster, or redis+sentinel://[user:password@]host:port,host:port/<master name>[/db]";

/// One Redis server, one Cluster, or the master that Sentinels name. Credentials are inside: `Debug` and `Display` show none.
#[derive(Clone)]
pub enum RedisTarget {
    /// One server.
    Single(Box<ConnectionInfo>),
    /// The nodes by which a Cluster is found.
    Cluster(Vec<ConnectionInfo>),
    /// The Sentinels, the name of the master, and how to log in there. Sentinels are asked without a password.
    Sentinel {
        /// Where to ask.
        sentinels: Vec<ConnectionAddr>,
        /// What to ask for.
        master: String,
        /// User, password and database of the master.
        login: RedisConnectionInfo,
    },
}

impl RedisTarget {
    /// The database.
    pub(super) fn db(&self) -> i64 {
        match self {
            RedisTarget::Single(node) => node.redis_settings().db(),
            RedisTarget::Cluster(_) => 0,
            RedisTarget::Sentinel { login, .. } => login.db(),
        }
    }

    /// Reads an address. Errors: what is accepted, never what was given.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix(SENTINEL) {
            return sentinel(rest).ok_or_else(|| SHAPES.to_owned());
        }
        let mut nodes = text.split(',').map(|url| node(url.trim())).collect::<Option<Vec<_>>>().ok_or(SHAPES)?;
        if nodes.len() > 1 {
            if nodes.iter().any(|node| node.redis_settings().db() != 0) {
                return Err("a Cluster has one database: leave /db out".to_owned());
            }
            return Ok(RedisTarget::Cluster(nodes));
        }
        nodes.pop().map(|node| RedisTarget::Single(Box::new(node))).ok_or_else(|| SHAPES.to_owned())
    }
}

/// One server's address. RESP3: what the server pushes comes on the same connection.
fn node(url: &str) -> Option<ConnectionInfo> {
    let known = ["redis://", "rediss://", "redis+unix://"].iter().any(|scheme| url.starts_with(scheme));
    let info = url.into_connection_info().ok().filter(|_| known)?;
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Some(info.set_redis_settings(settings))
}

fn sentinel(rest: &str) -> Option<RedisTarget> {
    let (place, path) = rest.split_once('/')?;
    let (login, hosts) = place.rsplit_once('@').unwrap_or(("", place));
    let (master, db) = path.split_once('/').unwrap_or((path, "0"));
    let at = if login.is_empty() { "" } else { "@" };
    let login = node(&format!("redis://{login}{at}sentinel/{db}"))?.redis_settings().clone();
    let address = |host: &str| node(&format!("redis://{host}")).map(|node| node.addr().clone());
    let sentinels = hosts.split(',').map(|host| address(host.trim())).collect::<Option<Vec<_>>>()?;
    let named = !master.is_empty() && !hosts.is_empty();
    named.then(|| RedisTarget::Sentinel { sentinels, master: master.to_owned(), login })
}

impl fmt::Display for RedisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |addresses: &mut dyn Iterator<Item = &ConnectionAddr>| {
            addresses.map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        match self {
            RedisTarget::Single(node) => write!(f, "redis {}", node.addr()),
            RedisTarget::Cluster(nodes) => {
                write!(f, "redis cluster {}", join(&mut nodes.iter().map(ConnectionInfo::addr)))
            }
            RedisTarget::Sentinel { sentinels, master, .. } => {
                write!(f, "redis master {master} of sentinels {}", join(&mut sentinels.iter()))
            }
        }
    }
}

impl fmt::Debug for RedisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deployment_has_its_address_and_no_password_is_ever_shown() {
        for (text, shown) in [
            ("redis://localhost", "redis localhost:6379"),
            ("redis://u:secret@h:1/3", "redis h:1"),
            ("rediss://:secret@h:1", "redis h:1"),
            ("redis+unix:///tmp/r.sock?pass=secret", "redis /tmp/r.sock"),
            ("redis://:secret@a:1,redis://:secret@b:2", "redis cluster a:1,b:2"),
            ("redis+sentinel://u:se%20cret@a:1,b:2/main/4", "redis master main of sentinels a:1,b:2"),
            ("redis+sentinel://a:1/main", "redis master main of sentinels a:1"),
        ] {
            let target = RedisTarget::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((target.to_string(), format!("{target:?}")), (shown.to_owned(), shown.to_owned()));
        }
        let sentinel = RedisTarget::parse("redis+sentinel://u:se%20cret@a:1/main/4").expect("it is one");
        let RedisTarget::Sentinel { login, .. } = sentinel else { panic!("{sentinel}") };
        assert_eq!((login.username(), login.password(), login.db()), (Some("u"), Some("se cret"), 4));
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for text in [
            "",
            "redis",
            "http://secret@a",
            "redis://a,",
            "redis+sentinel://secret@a:1",
            "redis+sentinel://a:1/",
            "redis://:secret@a:x",
        ] {
            let error = RedisTarget::parse(text).expect_err(text);
            assert!(error.contains("redis+sentinel://[user") && !error.contains("secret"), "{text}: {error}");
        }
        assert!(RedisTarget::parse("redis://a/1,redis://b/1").is_err());
    }
}
