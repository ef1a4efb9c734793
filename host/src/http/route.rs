//! From method and path to a handler, and one log line for each request.

use std::sync::Arc;
use std::time::Instant;

use http::{Method, StatusCode};
use http_body::Body as _;

use super::query::percent_decode;
use super::{
    Problem, Query, Request, Response, answer, body, groups, inspector, jobs, list, negotiate, page, produce, signals,
    subscribe,
};
use crate::app::App;
use crate::types::StreamId;

/// What stands on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Inspector,
    Sample,
    Health,
    Ready,
    Stats,
    List,
    Stream,
    Events,
    Complete,
    Abort,
    Action,
    Resume,
    Signals,
    Group(groups::Part),
}

impl Route {
    /// The route of a path, and its stream id as it stands there.
    fn of(path: &str) -> Option<(Route, &str)> {
        let fixed = match path {
            "/" => Route::Inspector,
            "/inspector/sample" => Route::Sample,
            "/healthz" => Route::Health,
            "/readyz" => Route::Ready,
            "/v1/stats" => Route::Stats,
            "/v1/streams" => Route::List,
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
            "signals" => Route::Signals,
            _ => Route::Group(groups::Part::of(tail)?),
        };
        Some((route, id))
    }

    /// The path as it is written in the log.
    fn template(self) -> &'static str {
        match self {
            Route::Inspector => "/",
            Route::Sample => "/inspector/sample",
            Route::Health => "/healthz",
            Route::Ready => "/readyz",
            Route::Stats => "/v1/stats",
            Route::List => "/v1/streams",
            Route::Stream => "/v1/streams/{id}",
            Route::Events => "/v1/streams/{id}/events",
            Route::Complete => "/v1/streams/{id}/complete",
            Route::Abort => "/v1/streams/{id}/abort",
            Route::Action => "/v1/streams/{id}/action",
            Route::Resume => "/v1/streams/{id}/resume",
            Route::Signals => "/v1/streams/{id}/signals",
            Route::Group(part) => part.template(),
        }
    }

    /// The methods that it knows, for `Allow`.
    fn methods(self) -> &'static str {
        match self {
            Route::Inspector | Route::Health | Route::Ready | Route::Stats | Route::List => "GET, HEAD",
            Route::Resume | Route::Signals => "GET, HEAD",
            Route::Stream => "GET, HEAD, POST, PATCH, DELETE",
            Route::Events => "GET, HEAD, POST",
            Route::Sample | Route::Complete | Route::Abort | Route::Action => "POST",
            Route::Group(part) => part.methods(),
        }
    }

    fn knows(self, method: &Method) -> bool {
        self.methods().split(", ").any(|known| known == method.as_str())
    }

    fn has_stream(self) -> bool {
        self.template().contains("{id}")
    }
}

/// Answers one request, whatever it is.
pub async fn respond(app: &Arc<App>, mut request: Request) -> Response {
    let began = Instant::now();
    let path = request.uri().path().to_owned();
    let route = Route::of(&path);
    let answered = match route {
        None => {
            let detail = "no such path: GET / shows what there is";
            Err(Problem::new(StatusCode::NOT_FOUND, "unknown_path", detail))
        }
        Some((route, _)) if !route.knows(request.method()) => Err(Problem::method_not_allowed(route.methods())),
        Some((route, id)) => handle(app, route, id, &mut request).await,
    };
    let method = request.method().clone();
    let response = answered.unwrap_or_else(|problem| {
        // A client that is still sending must be able to read why it was refused.
        if !request.body().is_end_stream() {
            app.shutdown.spawn(body::drain(request.into_body()));
        }
        problem.response()
    });
    log(&method, route, response.status(), began);
    if method == Method::HEAD { answer::head_of(response) } else { response }
}

async fn handle(app: &Arc<App>, route: Route, id: &str, request: &mut Request) -> Result<Response, Problem> {
    if route.has_stream() {
        return handle_stream(app, route, &stream_id(id)?, request).await;
    }
    match route {
        Route::Inspector => Ok(inspector::page()),
        Route::Sample => inspector::sample(app).await,
        Route::Health => Ok(list::health()),
        Route::Ready => list::ready(app).await,
        Route::Stats => list::stats(app).await,
        _ => list::list(app, &Query::of(request.uri())?).await,
    }
}

async fn handle_stream(
    app: &Arc<App>,
    route: Route,
    stream: &StreamId,
    request: &mut Request,
) -> Result<Response, Problem> {
    let method = request.method().clone();
    if method == Method::HEAD {
        // Nothing is opened for a client that wants no body.
        return jobs::exists(app, stream).await;
    }
    match route {
        Route::Events if method == Method::POST => produce::handle(app, stream, request).await,
        Route::Events => match negotiate::shape(request.headers(), &Query::of(request.uri())?)? {
            negotiate::Shape::Live => subscribe::handle(app, stream, request).await,
            negotiate::Shape::Page => page::handle(app, stream, &Query::of(request.uri())?).await,
        },
        Route::Signals => signals::handle(app, stream, request).await,
        Route::Group(part) => groups::handle(app, stream, part, request).await,
        Route::Resume => jobs::resume(app, stream).await,
        Route::Complete => jobs::complete(app, stream, request).await,
        Route::Abort => jobs::abort(app, stream, request).await,
        Route::Action => jobs::action(app, stream, request).await,
        _ => match method {
            Method::POST => jobs::create(app, stream, request).await,
            Method::PATCH => jobs::update(app, stream, request).await,
            Method::DELETE => jobs::delete(app, stream).await,
            _ => jobs::read(app, stream, &Query::of(request.uri())?).await,
        },
    }
}

/// The id in a path, percent-decoded exactly once. Errors: 400 `invalid_stream_id`.
fn stream_id(raw: &str) -> Result<StreamId, Problem> {
    let name = percent_decode(raw).ok_or("a stream id in a path is percent-encoded");
    name.and_then(|name| StreamId::parse(&name)).map_err(|rule| Problem::bad_request("invalid_stream_id", rule))
}

/// One line a request. What the client sent or got is never in it, but for the name of the stream.
fn log(method: &Method, route: Option<(Route, &str)>, status: StatusCode, began: Instant) {
    let (template, stream) = route.map_or(("", ""), |(route, id)| (route.template(), id));
    let (status, ms) = (status.as_u16(), began.elapsed().as_secs_f64() * 1000.0);
    match status {
        500.. => tracing::error!(%method, route = template, stream, status, ms, "request"),
        400.. => tracing::info!(%method, route = template, stream, status, ms, "request"),
        // Thousands a second under load: `RUST_LOG=rejoin::http=debug` shows them.
        _ => tracing::debug!(%method, route = template, stream, status, ms, "request"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_api_has_its_route() {
        for (path, wanted) in [
            ("/", Some((Route::Inspector, ""))),
            ("/healthz", Some((Route::Health, ""))),
            ("/v1/streams", Some((Route::List, ""))),
            ("/v1/streams/chat-1", Some((Route::Stream, "chat-1"))),
            ("/v1/streams/a%2Fb/events", Some((Route::Events, "a%2Fb"))),
            ("/v1/streams/a/complete", Some((Route::Complete, "a"))),
            ("/v1/streams/a/signals", Some((Route::Signals, "a"))),
            ("/v1/streams/events/events", Some((Route::Events, "events"))),
            ("/v1/streams/a/groups/g", Some((Route::Group(groups::Part::Itself), "a"))),
            ("/v1/streams/a/groups/events/events", Some((Route::Group(groups::Part::Events), "a"))),
            ("/v1/streams/a/groups/g%2Fh/pending", Some((Route::Group(groups::Part::Pending), "a"))),
            ("/v1/streams/a/groups/g/ack", Some((Route::Group(groups::Part::Ack), "a"))),
            ("/v1/streams/a/groups", None),
            ("/v1/streams/a/groups/g/nothing", None),
            ("/v1/streams/a/groups/g/ack/", None),
            ("/v1/streams/", Some((Route::Stream, ""))),
            ("/v1/streams/a/", None),
            ("/v1/streams/a/b/events", None),
            ("/v1/streams/a/nothing", None),
            ("/v1", None),
            ("/healthz/", None),
        ] {
            assert_eq!(Route::of(path), wanted, "{path}");
        }
    }

    #[test]
    fn a_route_knows_its_methods_and_no_others() {
        assert!(Route::Stream.knows(&Method::PATCH) && Route::Events.knows(&Method::HEAD));
        assert!(!Route::Complete.knows(&Method::GET) && !Route::List.knows(&Method::POST));
        assert!(!Route::Stream.knows(&Method::OPTIONS));
    }

    #[test]
    fn a_stream_id_is_decoded_exactly_once() {
        assert_eq!(stream_id("a%2Fb").expect("valid").as_str(), "a/b");
        assert_eq!(stream_id("a%252Fb").expect("valid").as_str(), "a%2Fb");
        assert_eq!(stream_id("a+b").expect("valid").as_str(), "a+b");
        for bad in ["", "%", "a%20b", "%00", "%ff", &"x".repeat(257)] {
            assert_eq!(stream_id(bad).expect_err(bad).code, "invalid_stream_id", "{bad}");
        }
    }
}
