//! The environment, parsed once a request. Names and forms are those of the server where it has them too.

use std::collections::HashMap;
use std::time::Duration;

use crate::auth::Secret;
use crate::bindings::rejoin::streams::types::Limits;
use crate::wasi::get_environment;

/// How the REST endpoint wants to be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// A command is a JSON list; the answer is `{"result": …}` or `{"error": "…"}`.
    Upstash,
    /// A command is a path; the answer is `{"<COMMAND>": …}`.
    Webdis,
}

/// Where the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) is_https: bool,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) token: Option<Secret>,
    pub(crate) dialect: Dialect,
}

/// How long things stay, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetimes {
    pub(crate) idle_ms: u64,
    pub(crate) idle_paused_ms: u64,
    pub(crate) retention_ms: u64,
}

/// Everything that can be set.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) endpoint: Endpoint,
    pub(crate) prefix: String,
    pub(crate) token: Option<Secret>,
    pub(crate) read_token: Option<Secret>,
    pub(crate) limits: Limits,
    pub(crate) lifetimes: Lifetimes,
    /// Active jobs: of the whole store, of one user.
    pub(crate) jobs_max: [u64; 2],
    pub(crate) body_bytes_max: usize,
    pub(crate) body_wait: Duration,
    pub(crate) append_idle: Duration,
    pub(crate) store_wait: Duration,
    pub(crate) keep_alive: Duration,
    pub(crate) stall_max: Duration,
    /// Between two looks at the log while records come, and after a while of silence.
    pub(crate) poll: [Duration; 2],
    /// A live response ends after this long; its reader comes back with its cursor.
    pub(crate) live_max: Duration,
}

impl Config {
    /// Errors: the variable that is wrong, and what it must be.
    pub(crate) fn read() -> Result<Self, String> {
        Self::of(get_environment())
    }

    fn of(variables: Vec<(String, String)>) -> Result<Self, String> {
        // A deployment whose secret is not there must not open every route.
        let empty = |name: &&str| variables.iter().any(|(given, value)| given == name && value.is_empty());
        if let Some(name) = ["REJOIN_TOKEN", "REJOIN_READ_TOKEN"].into_iter().find(empty) {
            return Err(format!("{name} is empty: give it a value, or leave it out"));
        }
        let variables = Variables(variables.into_iter().filter(|(_, value)| !value.is_empty()).collect());
        let token = variables.secret("REJOIN_TOKEN");
        let read_token = variables.secret("REJOIN_READ_TOKEN");
        if read_token.is_some() && token.is_none() {
            return Err("REJOIN_READ_TOKEN protects nothing without REJOIN_TOKEN: set both, or neither".to_owned());
        }
        if read_token.is_some() && read_token == token {
            return Err("REJOIN_READ_TOKEN must differ from REJOIN_TOKEN".to_owned());
        }
        let ms = |name, default| variables.time(name, default).map(|time| time.as_millis() as u64);
        let lifetimes = Lifetimes {
            idle_ms: ms("REJOIN_JOB_IDLE", "30m")?,
            idle_paused_ms: ms("REJOIN_PAUSED_IDLE", "24h")?,
            retention_ms: ms("REJOIN_RETENTION", "5m")?,
        };
        let poll = [variables.time("REJOIN_POLL_MIN", "100ms")?, variables.time("REJOIN_POLL_MAX", "1s")?];
        if poll[0] > poll[1] {
            return Err("REJOIN_POLL_MIN must not be longer than REJOIN_POLL_MAX".to_owned());
        }
        Ok(Config {
            endpoint: variables.endpoint()?,
            prefix: variables.prefix()?,
            token,
            read_token,
            limits: Limits {
                record_bytes_max: variables.count("REJOIN_RECORD_BYTES_MAX", 1 << 20)?,
                records_max: variables.count("REJOIN_RECORDS_MAX", 200_000)?,
                log_bytes_max: variables.count("REJOIN_LOG_BYTES_MAX", 64 << 20)?,
                idle_ms: lifetimes.idle_ms,
                paused_idle_ms: lifetimes.idle_paused_ms,
            },
            lifetimes,
            jobs_max: [variables.count("REJOIN_JOBS_MAX", 10_000)?, variables.count("REJOIN_JOBS_PER_USER_MAX", 100)?],
            body_bytes_max: usize::try_from(variables.count("REJOIN_BODY_BYTES_MAX", 8 << 20)?).unwrap_or(usize::MAX),
            body_wait: variables.time("REJOIN_BODY_WAIT", "30s")?,
            append_idle: variables.time("REJOIN_APPEND_IDLE", "5m")?,
            store_wait: variables.time("REJOIN_STORE_WAIT", "10s")?,
            keep_alive: variables.time("REJOIN_KEEP_ALIVE", "15s")?,
            stall_max: variables.time("REJOIN_STALL_MAX", "60s")?,
            poll,
            live_max: variables.time("REJOIN_LIVE_MAX", "15m")?,
        })
    }
}

struct Variables(HashMap<String, String>);

impl Variables {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn secret(&self, name: &str) -> Option<Secret> {
        self.get(name).map(|text| Secret(text.to_owned()))
    }

    fn endpoint(&self) -> Result<Endpoint, String> {
        const RULE: &str =
            "REJOIN_REST_URL is where the store is: https://host or http://host:port, with a path if it has one";
        let url: http::Uri = self.get("REJOIN_REST_URL").ok_or(RULE)?.parse().map_err(|_| RULE)?;
        let is_https = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(RULE.to_owned()),
        };
        let authority = url.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(RULE)?;
        let token = self.secret("REJOIN_REST_TOKEN");
        let dialect = match self.get("REJOIN_REST_DIALECT") {
            None | Some("upstash") => Dialect::Upstash,
            Some("webdis") if token.is_some() => {
                return Err(
                    "REJOIN_REST_TOKEN is for REJOIN_REST_DIALECT=upstash: Webdis knows no such tokens".to_owned()
                );
            }
            Some("webdis") => Dialect::Webdis,
            Some(_) => return Err("REJOIN_REST_DIALECT is upstash or webdis".to_owned()),
        };
        let path = format!("{}/", url.path().trim_end_matches('/'));
        Ok(Endpoint { is_https, authority: authority.as_str().to_owned(), path, token, dialect })
    }

    fn prefix(&self) -> Result<String, String> {
        let prefix = self.get("REJOIN_REDIS_PREFIX").unwrap_or("rejoin");
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        match prefix.len() <= 64 && prefix.bytes().all(fits) {
            true => Ok(prefix.to_owned()),
            false => Err("REJOIN_REDIS_PREFIX has 1 to 64 letters, digits, or any of - _ . :".to_owned()),
        }
    }

    fn time(&self, name: &str, default: &str) -> Result<Duration, String> {
        let text = self.get(name).unwrap_or(default);
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let scale_ms = match unit {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            _ => None,
        };
        let ms = scale_ms.zip(number.parse::<u64>().ok()).and_then(|(scale, number)| number.checked_mul(scale));
        // Times beyond this would not be exact in a script.
        let ms = ms.filter(|ms| (1..1 << 48).contains(ms));
        ms.map(Duration::from_millis).ok_or(format!("{name} is a whole number and a unit: 500ms, 15s, 30m or 2h"))
    }

    fn count(&self, name: &str, default: u64) -> Result<u64, String> {
        let Some(text) = self.get(name) else { return Ok(default) };
        text.parse().ok().filter(|count| *count > 0).ok_or(format!("{name} is a whole number, at least 1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<Config, String> {
        Config::of(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn the_address_of_the_store_is_enough() {
        let config =
            config(&[("REJOIN_REST_URL", "https://eu1.example.com/redis/"), ("REJOIN_JOB_IDLE", "")]).expect("valid");
        assert_eq!((config.endpoint.authority.as_str(), config.endpoint.path.as_str()), ("eu1.example.com", "/redis/"));
        assert!(config.endpoint.is_https && config.token.is_none());
        assert_eq!((config.endpoint.dialect, config.lifetimes.idle_ms), (Dialect::Upstash, 1_800_000));
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let url = ("REJOIN_REST_URL", "http://127.0.0.1:7379");
        for (pairs, named) in [
            (&[][..], "REJOIN_REST_URL"),
            (&[("REJOIN_REST_URL", "redis://h")], "REJOIN_REST_URL"),
            (&[("REJOIN_REST_URL", "http://user@h")], "REJOIN_REST_URL"),
            (&[url, ("REJOIN_REST_DIALECT", "x")], "REJOIN_REST_DIALECT"),
            (&[url, ("REJOIN_REST_DIALECT", "webdis"), ("REJOIN_REST_TOKEN", "t")], "REJOIN_REST_TOKEN"),
            (&[url, ("REJOIN_TOKEN", "")], "REJOIN_TOKEN"),
            (&[url, ("REJOIN_READ_TOKEN", "t")], "REJOIN_READ_TOKEN"),
            (&[url, ("REJOIN_READ_TOKEN", "t"), ("REJOIN_TOKEN", "t")], "REJOIN_READ_TOKEN"),
            (&[url, ("REJOIN_KEEP_ALIVE", "15")], "REJOIN_KEEP_ALIVE"),
            (&[url, ("REJOIN_KEEP_ALIVE", "0s")], "REJOIN_KEEP_ALIVE"),
            (&[url, ("REJOIN_POLL_MIN", "2s")], "REJOIN_POLL_MIN"),
            (&[url, ("REJOIN_JOBS_MAX", "many")], "REJOIN_JOBS_MAX"),
            (&[url, ("REJOIN_REDIS_PREFIX", "a{b")], "REJOIN_REDIS_PREFIX"),
        ] {
            let error = config(pairs).expect_err(named);
            assert!(error.starts_with(named), "{error}");
        }
    }
}
