//! Who may come in: one secret for everything, one that only reads. Without a secret: this machine alone.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, Method};

use super::Problem;
use super::request::Request;
use super::route::Route;
use crate::auth::{Refused, Scope};
use crate::config::Config;

/// What whoever asks may do. Errors: 401, 403.
pub(super) fn admit(config: &Config, route: Route, request: &Request) -> Result<Scope, Problem> {
    if matches!(route, Route::Health | Route::Ready) {
        return Ok(Scope::Subscribe);
    }
    let Some(token) = &config.token else {
        return strangers(&request.method, &request.headers).map(|()| Scope::Produce);
    };
    let given = bearer(&request.headers)?;
    let scope = if token.is(given) {
        Scope::Produce
    } else if config.read_token.as_ref().is_some_and(|secret| secret.is(given)) {
        Scope::Subscribe
    } else {
        return Err(Problem::unauthorized(Some(Refused)));
    };
    match needs(route, &request.method) {
        Scope::Produce if scope != Scope::Produce => Err(Problem::insufficient_scope(&[Scope::Produce])),
        _ => Ok(scope),
    }
}

fn needs(route: Route, method: &Method) -> Scope {
    let reads = *method == Method::GET || *method == Method::HEAD;
    match route {
        // A person answers what a producer asked; who may ask is looked at where the body is read.
        Route::Action => Scope::Subscribe,
        _ if reads => Scope::Subscribe,
        _ => Scope::Produce,
    }
}

/// The token of `Authorization: Bearer`. Errors: 401 for none, any other kind, and for two of them.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), second) = (values.next(), values.next()) else { return Err(Problem::unauthorized(None)) };
    let text = value.to_str().ok().filter(|_| second.is_none());
    let token = text.and_then(|text| text.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
    token.map(|(_, token)| token.trim_matches(' ')).ok_or_else(|| Problem::unauthorized(Some(Refused)))
}

/// Without a secret: refuses names that are not this machine's, and changes by pages of other origins.
///
/// Errors: 403 `foreign_host`, also where the host keeps the name for itself (`wasmtime serve` 48 with `wasi:http` 0.3
/// does); `cross_site`.
fn strangers(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if !headers.contains_key(HOST) {
        let detail = "this host does not tell under which name it was asked, so who asks may be a page of anybody: set \
                      REJOIN_TOKEN";
        return Err(Problem::forbidden("foreign_host", detail));
    }
    let named = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or("?"));
    if !named.into_iter().all(is_loopback) {
        let detail = "without REJOIN_TOKEN this host answers to localhost only, and the request names another host";
        return Err(Problem::forbidden("foreign_host", detail));
    }
    let harmless = *method == Method::GET || *method == Method::HEAD;
    if harmless || !is_cross_site(headers) {
        return Ok(());
    }
    let detail = "without REJOIN_TOKEN pages of other origins may change nothing here";
    Err(Problem::forbidden("cross_site", detail))
}

/// Whether a page of another origin sends this, as its browser says.
fn is_cross_site(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    authority.is_none() || authority != headers.get(HOST).and_then(|host| host.to_str().ok())
}

/// `localhost`, `127.0.0.1:8787`, `[::1]:8787`, `chat.localhost`.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    };
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn without_a_secret_only_this_machine_is_answered() {
        let post = |pairs: &[_]| strangers(&Method::POST, &headers(pairs)).map_err(|problem| problem.code);
        assert_eq!(post(&[("host", "localhost:8080")]), Ok(()));
        assert_eq!(post(&[("host", "[::1]:8080"), ("origin", "http://[::1]:8080")]), Ok(()));
        assert_eq!(post(&[("host", "example.com")]), Err("foreign_host"));
        assert_eq!(post(&[]), Err("foreign_host"), "a name that is not told is not this machine's");
        assert_eq!(post(&[("host", "127.0.0.1:8080"), ("origin", "https://evil.example")]), Err("cross_site"));
        assert_eq!(post(&[("host", "127.0.0.1"), ("sec-fetch-site", "cross-site")]), Err("cross_site"));
    }

    #[test]
    fn one_bearer_token_is_read() {
        assert_eq!(bearer(&headers(&[("authorization", "bearer  t ")])).expect("one"), "t");
        for bad in [&[][..], &[("authorization", "Basic dDp0")], &[("authorization", "t")]] {
            assert_eq!(bearer(&headers(bad)).expect_err("none").status, 401);
        }
    }

    #[test]
    fn who_reads_may_not_change() {
        assert_eq!(needs(Route::Events, &Method::GET), Scope::Subscribe);
        assert_eq!(needs(Route::Events, &Method::POST), Scope::Produce);
        assert_eq!(needs(Route::Abort, &Method::POST), Scope::Produce);
        assert_eq!(needs(Route::Stream, &Method::DELETE), Scope::Produce);
    }
}
