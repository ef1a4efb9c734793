//! Who may come in: the one place where a request is let through to its handler. In this order: who it is and what the
//! token allows ([`identify`]), how often they ask (`rate`), whose the stream is ([`fence`]).
//!
//! A stream of somebody else is not there: 404, with the body that an unknown stream has. Between this look at the row and
//! what the handler does, a stream may be deleted and made anew by another user: so the handler of a user's request is held
//! to the generation that was seen here ([`Fence`]), or looks at the owner of what it is about to answer (`theirs`).

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};

use super::admitted::Fence;
use super::route::{Part, Route};
use super::{Problem, Query, Request, cors, tickets};
use crate::app::App;
use crate::auth::{Identity, Refused, Scope};
use crate::types::StreamId;

/// Who asks, if they may at all. The store is asked for a ticket only: what follows is not yet counted.
///
/// Errors: 401, 403; 404 for a stream that the token is not for.
pub(super) async fn identify(
    app: &App,
    route: Route,
    method: &Method,
    stream: Option<&StreamId>,
    request: &mut Request,
) -> Result<Identity, Problem> {
    if app.auth.is_none() {
        cors::refuse_strangers(&app.config.access.cors_origins, route, request)?;
        return Ok(Identity::anybody());
    }
    let needs = needs(route, method);
    if needs.is_empty() {
        return Ok(Identity::nobody());
    }
    let identity = authenticate(app, route, method, stream, request).await?;
    if !needs.iter().any(|scope| identity.may(*scope)) {
        return Err(Problem::insufficient_scope(needs));
    }
    let Some(stream) = stream else {
        if matches!(route, Route::Stats | Route::Metrics) && identity.is_limited() && identity.user().is_none() {
            let detail = "the access token is for some streams only (`stream`), and these figures are of all of them";
            return Err(Problem::forbidden("forbidden", detail));
        }
        return Ok(identity);
    };
    if !identity.fits(stream) {
        let detail = "the access token is for other streams (`stream`): choose an id that it names";
        let creates = creates(route, method);
        return Err(if creates { Problem::forbidden("forbidden", detail) } else { Problem::not_found() });
    }
    Ok(identity)
}

fn creates(route: Route, method: &Method) -> bool {
    route == Route::Stream && *method == Method::POST
}

/// Holds a user's request to the generation that the stream has now, where it is theirs. To be called when the request
/// was counted: a user who asks too often costs the store nothing. Errors: 404 for a stream of somebody else.
pub(super) async fn fence(
    app: &App,
    route: Route,
    stream: &StreamId,
    identity: &Identity,
    request: &mut Request,
) -> Result<(), Problem> {
    let method = request.method();
    // The component compares owners in the step that creates; who reads looks at the row anyway.
    let looks_itself = creates(route, method) || (route == Route::Events && *method == Method::GET);
    if identity.user().is_some() && !looks_itself {
        let job = app.job(stream).await?.filter(|job| identity.sees(&job.user_id)).ok_or_else(Problem::not_found)?;
        request.extensions_mut().insert(Fence::at(job.generation));
    }
    Ok(())
}

/// Which scopes let one in: any of them. None are needed for what everybody may see.
fn needs(route: Route, method: &Method) -> &'static [Scope] {
    let reads = *method == Method::GET || *method == Method::HEAD;
    match route {
        Route::Inspector | Route::File(_) | Route::ApiPage | Route::ApiDocument | Route::Health | Route::Ready => &[],
        Route::Sample => &[Scope::Produce],
        Route::Metrics => &[Scope::Admin],
        Route::Stats | Route::List => &[Scope::List],
        Route::Stream if reads => &[Scope::Subscribe, Scope::Produce],
        Route::Events if reads => &[Scope::Subscribe],
        Route::Stream | Route::Events | Route::Complete | Route::Signals => &[Scope::Produce],
        Route::Abort => &[Scope::Abort, Scope::Produce],
        // A person answers what a producer asked; who may ask is looked at where the body is read.
        Route::Action => &[Scope::Produce, Scope::Subscribe],
        Route::Resume | Route::Tickets | Route::Subscribers => &[Scope::Subscribe],
        Route::Group(Part::Itself) => &[Scope::Produce],
        Route::Group(Part::Events | Part::Pending | Part::Ack) => &[Scope::Subscribe],
    }
}

async fn authenticate(
    app: &App,
    route: Route,
    method: &Method,
    stream: Option<&StreamId>,
    request: &Request,
) -> Result<Identity, Problem> {
    let Some(keyring) = &app.auth else { return Ok(Identity::anybody()) };
    if let Some(token) = bearer(request.headers())? {
        return keyring.identify(token).map_err(|refused| Problem::unauthorized(Some(refused)));
    }
    // A token never comes in an address, where logs and histories keep it: a ticket does, and only to read.
    if let (Route::Events, &Method::GET, Some(stream)) = (route, method, stream)
        && let Some(ticket) = Query::of(request.uri())?.get("ticket")
    {
        return tickets::redeem(app, stream, ticket).await;
    }
    Err(Problem::unauthorized(None))
}

/// The token of `Authorization: Bearer`. Errors: 401 for any other kind, and for two of them.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (first, second) = (values.next(), values.next());
    let Some(value) = first else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| second.is_none());
    let token = text.and_then(|text| text.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
    let (_, token) = token.ok_or_else(|| Problem::unauthorized(Some(Refused::Malformed)))?;
    Ok(Some(token.trim_matches(' ')))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_token_comes_in_one_header_of_one_kind() {
        let read = |values: &[&'static str]| {
            let headers: HeaderMap = values.iter().map(|v| (AUTHORIZATION, HeaderValue::from_static(v))).collect();
            bearer(&headers).map(|token| token.map(str::to_owned)).map_err(|problem| problem.status.as_u16())
        };
        assert_eq!(read(&[]), Ok(None));
        for value in ["Bearer abc", "bearer abc", "BEARER  abc "] {
            assert_eq!(read(&[value]), Ok(Some("abc".into())), "{value}");
        }
        for bad in [&["Basic abc"][..], &["Bearer"], &["abc"], &[""], &["Bearer a", "Bearer b"]] {
            assert_eq!(read(bad), Err(401), "{bad:?}");
        }
    }
}
