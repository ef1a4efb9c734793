//! From method and path to a handler. Paths and methods are the server's; what is not offered here says so.

use http::{Method, StatusCode};

use super::answer::{self, Object, Reply};
use super::negotiate::{self, Shape};
use super::query::stream_id;
use super::request::Request;
use super::{App, Problem, Query, guard, jobs, live, page, produce};

/// What stands on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Health,
    Ready,
    Stream,
    Events,
    Complete,
    Abort,
    Action,
    Resume,
    /// The server has it.
    Absent,
}

impl Route {
    /// The route of a path, and its stream id as it stands there.
    fn of(path: &str) -> Option<(Route, &str)> {
        let fixed = match path {
            "/healthz" => Route::Health,
            "/readyz" => Route::Ready,
            "/" | "/metrics" | "/openapi.json" | "/v1/stats" | "/v1/streams" => Route::Absent,
            _ if path.starts_with("/inspector/") => Route::Absent,
            _ => return Self::of_stream(path.strip_prefix("/v1/streams/")?),
        };
        Some((fixed, ""))
    }

    fn of_stream(rest: &str) -> Option<(Route, &str)> {
        let Some((id, tail)) = rest.split_once('/') else { return Some((Route::Stream, rest)) };
        let route = match tail {
            "events" => Route::Events,
            "complete" => Route::Complete,
            "abort" => Route::Abort,
            "action" => Route::Action,
            "resume" => Route::Resume,
            "signals" | "tickets" | "subscribers" => Route::Absent,
            _ if tail.starts_with("groups/") => Route::Absent,
            _ => return None,
        };
        Some((route, id))
    }

    /// The methods that it knows, for `Allow`.
    fn methods(self) -> &'static str {
        match self {
            Route::Health | Route::Ready | Route::Resume => "GET, HEAD",
            Route::Stream => "GET, HEAD, POST, PATCH, DELETE",
            Route::Events => "GET, HEAD, POST",
            Route::Complete | Route::Abort | Route::Action => "POST",
            Route::Absent => "GET, HEAD, POST, PUT, DELETE",
        }
    }
}

/// 500: the environment is wrong.
pub(super) fn misconfigured(error: &str) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "misconfigured", error)
}

/// Answers one request. Errors: what is wrong with it.
pub(super) async fn respond(app: &App, request: &Request) -> Result<Reply, Problem> {
    let Some((route, id)) = Route::of(request.uri.path()) else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "unknown_path",
            "no such path: see README.md for what there is",
        ));
    };
    if !route.methods().split(", ").any(|known| known == request.method.as_str()) {
        return Err(Problem::method_not_allowed(route.methods()));
    }
    let scope = guard::admit(&app.config, route, request)?;
    match route {
        Route::Health => return Ok(answer::json(StatusCode::OK, Object::new().string("status", "ok").end()).into()),
        Route::Ready => {
            app.sessions.store.ready().await?;
            return Ok(answer::json(StatusCode::OK, Object::new().string("status", "ready").end()).into());
        }
        Route::Absent => {
            let detail = "an edge host does not offer this: ask a Rejoin server over the same store";
            return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "not_offered", detail));
        }
        _ => {}
    }
    let stream = &stream_id(id)?;
    if request.method == Method::HEAD {
        return jobs::exists(app, stream).await.map(Reply::from);
    }
    match route {
        Route::Events if request.method == Method::POST => produce::handle(app, stream, request).await.map(Reply::from),
        Route::Events => match negotiate::shape(&request.headers, &Query::of(&request.uri)?)? {
            Shape::Live => live::open(app, stream, request).await,
            Shape::Page => page::handle(app, stream, request).await.map(Reply::from),
        },
        _ => {
            let answered = match (route, request.method.as_str()) {
                (Route::Resume, _) => jobs::resume(app, stream).await,
                (Route::Complete, _) => jobs::complete(app, stream, request).await,
                (Route::Abort, _) => jobs::abort(app, stream, request).await,
                (Route::Action, _) => jobs::action(app, stream, request, scope).await,
                (_, "POST") => jobs::create(app, stream, request).await,
                (_, "PATCH") => jobs::update(app, stream, request).await,
                (_, "DELETE") => jobs::delete(app, stream).await,
                _ => jobs::read(app, stream, request).await,
            };
            answered.map(Reply::from)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_api_is_known_offered_or_not() {
        for (path, wanted) in [
            ("/healthz", Some((Route::Health, ""))),
            ("/v1/streams", Some((Route::Absent, ""))),
            ("/v1/streams/chat-1", Some((Route::Stream, "chat-1"))),
            ("/v1/streams/a%2Fb/events", Some((Route::Events, "a%2Fb"))),
            ("/v1/streams/a/signals", Some((Route::Absent, "a"))),
            ("/v1/streams/a/groups/g/ack", Some((Route::Absent, "a"))),
            ("/v1/streams/a/nothing", None),
            ("/v1", None),
        ] {
            assert_eq!(Route::of(path), wanted, "{path}");
        }
    }
}
