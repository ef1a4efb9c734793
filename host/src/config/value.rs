//! From the text of a flag, a variable or the file to a value that cannot be wrong.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::StoreKind;
use crate::store::redis::RedisTarget;

pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("an address is IP:PORT, for example {}:8787", Ipv4Addr::LOCALHOST))
}

pub(super) fn store(text: &str) -> Result<StoreKind, String> {
    match text {
        "memory" => Ok(StoreKind::Memory),
        _ => {
            RedisTarget::parse(text).map(StoreKind::Redis).map_err(|rule| format!("a store is memory or Redis; {rule}"))
        }
    }
}

/// `https://host[:port]`, as browsers send it: no path, no `*`.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let rule = || "an origin is https://host or http://host:port, as browsers send it".to_owned();
    let uri: http::Uri = text.parse().map_err(|_| rule())?;
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    let plain = text.to_ascii_lowercase() == text && !text.ends_with('/') && !text.contains(['@', '?', '#', '*']);
    let bare = uri.path() == "/" && uri.authority().is_some_and(|authority| !authority.host().is_empty());
    if web && plain && bare { Ok(text.to_owned()) } else { Err(rule()) }
}

/// 1 to 64 letters, digits, and a few signs. No braces: they mark what a Cluster hashes.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        return Ok(text.to_owned());
    }
    Err("a prefix has 1 to 64 letters, digits, or any of - _ . :".to_owned())
}

/// A time with its unit: `500ms`, `15s`, `30m`, `2h`. Never zero.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
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
pub(super) fn size<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
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
pub(super) fn count<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
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

/// Where traces go: the address of a collector, without the path of the signal.
pub(super) fn collector(text: &str) -> Result<String, &'static str> {
    let rest = text.strip_prefix("http://").ok_or(
        "is http://host:port of a collector nearby; one that wants https or a key is reached through a collector of your own",
    )?;
    let authority = rest.trim_end_matches('/').parse::<http::uri::Authority>().ok();
    match authority.filter(|authority| !authority.as_str().contains('@')) {
        Some(authority) => Ok(format!("http://{authority}")),
        None => Err("is http://host:port, without a user, a path or a query"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_exactly() {
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(size::<u64>("2GiB"), Ok(2 << 30));
        assert_eq!(size::<u64>("512"), Ok(512));
        assert!(size::<u8>("256").is_err() && count::<u32>("1k").is_err() && time("1.5s").is_err());
    }
}
