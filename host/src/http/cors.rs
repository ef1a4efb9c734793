//! Pages of other origins: which may use this server, and how the others are kept from it.
//!
//! With a key the token is what counts, and no cookie exists that a foreign page could ride on. Without one everybody on
//! this machine may do everything, the pages in its browser not included: what changes something is refused to a page of
//! another site, and everything to a name that was made to point here (DNS rebinding).

use std::net::IpAddr;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use super::route::Part;
use super::route::Route;
use super::{Problem, Request, Response, answer};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Last-Event-ID, Idempotency-Key, Producer-Id, Producer-Seq, traceparent",
);
const EXPOSED: HeaderValue = HeaderValue::from_static("Retry-After, WWW-Authenticate, Location");
/// As long as browsers keep the answer to a preflight at most.
const PREFLIGHT_S: HeaderValue = HeaderValue::from_static("7200");

/// What a request says of the page that sent it.
pub(super) struct Asked {
    origin: Option<HeaderValue>,
    preflight: bool,
}

impl Asked {
    pub(super) fn of(request: &Request) -> Self {
        let headers = request.headers();
        let asks = *request.method() == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let origin = headers.get(ORIGIN).cloned();
        Asked { preflight: asks && origin.is_some(), origin }
    }

    /// The answer to a preflight; none when it is none.
    pub(super) fn preflight(&self, origins: &[String]) -> Option<Result<Response, Problem>> {
        if !self.preflight {
            return None;
        }
        if self.allowed(origins).is_none() {
            let detail = "pages of this origin may not use this server: name it in --cors-origins";
            return Some(Err(Problem::forbidden("cross_site", detail)));
        }
        let mut response = answer::empty(StatusCode::NO_CONTENT);
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_S);
        Some(Ok(response))
    }

    fn allowed(&self, origins: &[String]) -> Option<&HeaderValue> {
        self.origin.as_ref().filter(|origin| origins.iter().any(|known| known.as_bytes() == origin.as_bytes()))
    }

    /// What every answer says to browsers: whether the page may read it, and that its address, which may have a ticket in it,
    /// is told to nobody.
    pub(super) fn mark(&self, origins: &[String], response: &mut Response) {
        let headers = response.headers_mut();
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if origins.is_empty() {
            return;
        }
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.allowed(origins) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

/// Without a key: refuses pages of other sites, and names that are not this machine's.
///
/// Errors: 403 `foreign_host`, `cross_site`.
pub(super) fn refuse_strangers(origins: &[String], route: Route, request: &Request) -> Result<(), Problem> {
    // Harmless, and asked for by whatever watches over the process.
    if matches!(route, Route::Health | Route::Ready) {
        return Ok(());
    }
    strangers(origins, route, request.method(), request.uri(), request.headers())
}

fn strangers(origins: &[String], route: Route, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let named = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or("?"));
    if !named.chain(uri.authority().map(http::uri::Authority::as_str)).all(is_loopback) {
        let detail = "without access tokens this server answers to localhost only, and the request names another host: \
                      give it keys with --auth-key-file, or let the proxy before it send Host: localhost";
        return Err(Problem::forbidden("foreign_host", detail));
    }
    // To read from a group is to take what others of it then do not get.
    let harmless = (*method == Method::GET && route != Route::Group(Part::Events)) || *method == Method::HEAD;
    if harmless || !is_cross_site(headers) {
        return Ok(());
    }
    let origin = headers.get(ORIGIN).map(HeaderValue::as_bytes);
    if origin.is_some_and(|origin| origins.iter().any(|known| known.as_bytes() == origin)) {
        return Ok(());
    }
    let detail = "without access tokens pages of other origins may change nothing here: name the page's origin in \
                  --cors-origins, or give the server keys with --auth-key-file";
    Err(Problem::forbidden("cross_site", detail))
}

/// Whether a page of another origin sends this, as its browser says.
fn is_cross_site(headers: &HeaderMap) -> bool {
    // A page cannot set it, and a proxy that rewrites Host leaves it alone.
    if let Some(site) = headers.get("sec-fetch-site") {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    authority.is_none() || authority != headers.get(HOST).and_then(|host| host.to_str().ok())
}

/// `localhost`, `127.0.0.1:8787`, `[::1]:8787`, `chat.localhost`.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) if port.is_empty() || port.starts_with(':') => host,
            _ => return false,
        },
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    };
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, target: &str, pairs: &[(&'static str, &'static str)]) -> Result<(), &'static str> {
        check_route(Route::Stream, method, target, pairs)
    }

    fn check_route(
        route: Route,
        method: Method,
        target: &str,
        pairs: &[(&'static str, &'static str)],
    ) -> Result<(), &'static str> {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let headers: HeaderMap = pairs.iter().map(pair).collect();
        let origins = ["https://chat.example".to_owned()];
        strangers(&origins, route, &method, &target.parse().expect("a URI"), &headers).map_err(|problem| problem.code)
    }

    #[test]
    fn only_names_of_this_machine_are_answered_to() {
        for host in [
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1:8787",
            "127.9.9.9",
            "[::1]:8787",
            "[::1]",
            "a.localhost",
            "localhost.",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "192.168.0.1",
            "[::2]",
            "[::1",
            "[::1]x",
            "0.0.0.0",
            "127.0.0.1.evil.example",
            "1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
        assert_eq!(check(Method::GET, "/", &[("host", "evil.example")]), Err("foreign_host"));
        assert_eq!(check(Method::GET, "http://evil.example/", &[("host", "localhost")]), Err("foreign_host"));
        assert_eq!(check(Method::GET, "/", &[]), Ok(()), "HTTP/1.0: no browser");
    }

    #[test]
    fn a_page_of_another_origin_takes_nothing_out_of_a_group() {
        let pairs = [("host", "localhost"), ("sec-fetch-site", "cross-site")];
        let read = |part| check_route(Route::Group(part), Method::GET, "/", &pairs);
        assert_eq!((read(Part::Events), read(Part::Pending)), (Err("cross_site"), Ok(())));
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing_unless_it_is_allowed() {
        let host = ("host", "127.0.0.1:8787");
        for (more, answer) in [
            (&[][..], Ok(())),
            (&[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:8080")], Ok(())),
            (&[("sec-fetch-site", "none")], Ok(())),
            (&[("sec-fetch-site", "cross-site")], Err("cross_site")),
            (&[("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:3000")], Err("cross_site")),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://chat.example")], Ok(())),
            (&[("origin", "https://chat.example")], Ok(())),
            (&[("origin", "http://127.0.0.1:8787")], Ok(())),
            (&[("origin", "https://chat.example.evil.example")], Err("cross_site")),
            (&[("origin", "null")], Err("cross_site")),
        ] {
            let headers: Vec<_> = [host].iter().chain(more).copied().collect();
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert_eq!(check(method, "/x", &headers), answer, "{more:?}");
            }
            assert_eq!(check(Method::GET, "/x", &headers), Ok(()));
        }
    }
}
