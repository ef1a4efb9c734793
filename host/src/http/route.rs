//! From method and path to a handler.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;

use tracing::Instrument as _;

use super::line::Line;
use super::query::percent_decode;
use super::{
    Problem, Query, Request, Response, answer, body, connection, cors, groups, guard, held, inspector, jobs, list,
    metrics, negotiate, openapi, page, produce, rate, signals, subscribe, subscribers, tickets,
};
use crate::app::App;
use crate::types::StreamId;

/// What stands on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Inspector,
    /// A file of the inspector: its style, a module.
    File(inspector::File),
    Sample,
    ApiPage,
    ApiDocument,
    Health,
    Ready,
    Stats,
    Metrics,
    List,
    Stream,
    Events,
    Complete,
    Abort,
    Action,
    Resume,
    Signals,
    Tickets,
    Subscribers,
    Group(groups::Part),
}

impl Route {
    /// The route of a path, and its stream id as it stands there.
    pub(super) fn of(path: &str) -> Option<(Route, &str)> {
        let fixed = match path {
            "/" => Route::Inspector,
            "/inspector/sample" => Route::Sample,
            "/inspector/api" => Route::ApiPage,
            "/openapi.json" => Route::ApiDocument,
            "/healthz" => Route::Health,
            "/readyz" => Route::Ready,
            "/metrics" => Route::Metrics,
            "/v1/stats" => Route::Stats,
            "/v1/streams" => Route::List,
            _ if path.starts_with("/inspector/") => Route::File(inspector::File::of(&path["/inspector/".len()..])?),
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
            "tickets" => Route::Tickets,
            "subscribers" => Route::Subscribers,
            _ => Route::Group(groups::Part::of(tail)?),
        };
        Some((route, id))
    }

    /// The path as it is written in the log.
    pub(super) fn template(self) -> &'static str {
        match self {
            Route::Inspector => "/",
            Route::File(_) => "/inspector/{file}",
            Route::Sample => "/inspector/sample",
            Route::ApiPage => "/inspector/api",
            Route::ApiDocument => "/openapi.json",
            Route::Health => "/healthz",
            Route::Ready => "/readyz",
            Route::Stats => "/v1/stats",
            Route::Metrics => "/metrics",
            Route::List => "/v1/streams",
            Route::Stream => "/v1/streams/{id}",
            Route::Events => "/v1/streams/{id}/events",
            Route::Complete => "/v1/streams/{id}/complete",
            Route::Abort => "/v1/streams/{id}/abort",
            Route::Action => "/v1/streams/{id}/action",
            Route::Resume => "/v1/streams/{id}/resume",
            Route::Signals => "/v1/streams/{id}/signals",
            Route::Tickets => "/v1/streams/{id}/tickets",
            Route::Subscribers => "/v1/streams/{id}/subscribers",
            Route::Group(part) => part.template(),
        }
    }

    /// The methods that it knows, for `Allow`.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Route::Inspector | Route::Health | Route::Ready | Route::Stats | Route::List => "GET, HEAD",
            Route::ApiPage | Route::ApiDocument | Route::Resume | Route::Signals => "GET, HEAD",
            Route::Subscribers | Route::File(_) | Route::Metrics => "GET, HEAD",
            Route::Stream => "GET, HEAD, POST, PATCH, DELETE",
            Route::Events => "GET, HEAD, POST",
            Route::Sample | Route::Complete | Route::Abort | Route::Action | Route::Tickets => "POST",
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
    let path = request.uri().path().to_owned();
    let route = Route::of(&path);
    let (asked, origins) = (cors::Asked::of(&request), app.config.access.cors_origins.as_slice());
    let stream = route.filter(|(route, _)| route.has_stream()).map(|(_, id)| stream_id(id));
    let known = stream.as_ref().and_then(|stream| stream.as_ref().ok()).cloned();
    let mut line = Line::new(app, route.map_or("", |(route, _)| route.template()), known, &mut request);
    let answered = match route {
        _ if let Err(problem) = connection::fitting(&request, app.config.door.head_bytes_max) => Err(problem),
        _ if let Some(preflight) = asked.preflight(origins) => preflight,
        None => {
            let detail = "no such path: GET / shows what there is";
            Err(Problem::new(StatusCode::NOT_FOUND, "unknown_path", detail))
        }
        Some((route, _)) if !route.knows(request.method()) => Err(Problem::method_not_allowed(route.methods())),
        Some((route, _)) => match stream.transpose() {
            Ok(stream) => handle(app, route, stream, &mut request).instrument(line.span()).await,
            Err(problem) => Err(problem),
        },
    };
    let method = request.method().clone();
    let mut response = answered.unwrap_or_else(|problem| {
        line.problem(problem.code);
        // A client that is still sending must be able to read why it was refused.
        if !request.body().is_end_stream() {
            app.shutdown.spawn(body::drain(request.into_body()));
        }
        problem.response()
    });
    asked.mark(origins, &mut response);
    if let Ok(context) = HeaderValue::try_from(line.context().to_string()) {
        response.headers_mut().insert("traceresponse", context);
    }
    line.answered(if method == Method::HEAD { answer::head_of(response) } else { response })
}

async fn handle(
    app: &Arc<App>,
    route: Route,
    stream: Option<StreamId>,
    request: &mut Request,
) -> Result<Response, Problem> {
    let method = request.method().clone();
    let identity = guard::identify(app, route, &method, stream.as_ref(), request).await?;
    let permit = rate::admit(app, &identity, route, &method)?;
    request.extensions_mut().insert(identity.clone());
    if let Some(stream) = stream {
        guard::fence(app, route, &stream, &identity, request).await?;
        let response = handle_stream(app, route, &stream, request).await?;
        return Ok(match permit {
            Some(permit) => held::hold(response, permit).map(BodyExt::boxed_unsync),
            None => response,
        });
    }
    match route {
        Route::Inspector => Ok(inspector::File::PAGE.answer(request.headers())),
        Route::File(file) => Ok(file.answer(request.headers())),
        Route::Sample => inspector::sample(app, &guard::identity(request)).await,
        Route::ApiPage => Ok(inspector::File::API.answer(request.headers())),
        Route::ApiDocument => Ok(openapi::document(request.headers())),
        Route::Health => Ok(list::health()),
        Route::Ready => list::ready(app).await,
        Route::Stats => list::stats(app, &guard::identity(request)).await,
        Route::Metrics => Ok(metrics::answer(app).await),
        _ => list::list(app, &guard::identity(request), &Query::of(request.uri())?).await,
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
        return jobs::exists(app, stream, request).await;
    }
    match route {
        Route::Events if method == Method::POST => produce::handle(app, stream, request).await,
        Route::Events => match negotiate::shape(request.headers(), &Query::of(request.uri())?)? {
            negotiate::Shape::Live => subscribe::handle(app, stream, request).await,
            negotiate::Shape::Page => page::handle(app, stream, request).await,
        },
        Route::Signals => signals::handle(app, stream, request).await,
        Route::Group(part) => groups::handle(app, stream, part, request).await,
        Route::Tickets => tickets::create(app, stream, request).await,
        Route::Subscribers => subscribers::handle(app, stream, request).await,
        Route::Resume => jobs::resume(app, stream, request).await,
        Route::Complete => jobs::complete(app, stream, request).await,
        Route::Abort => jobs::abort(app, stream, request).await,
        Route::Action => jobs::action(app, stream, request).await,
        _ => match method {
            Method::POST => jobs::create(app, stream, request).await,
            Method::PATCH => jobs::update(app, stream, request).await,
            Method::DELETE => jobs::delete(app, stream, request).await,
            _ => jobs::read(app, stream, request).await,
        },
    }
}

/// The id in a path, percent-decoded exactly once. Errors: 400 `invalid_stream_id`.
fn stream_id(raw: &str) -> Result<StreamId, Problem> {
    let name = percent_decode(raw).ok_or("a stream id in a path is percent-encoded");
    name.and_then(|name| StreamId::parse(&name)).map_err(|rule| Problem::bad_request("invalid_stream_id", rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_api_has_its_route() {
        for (path, wanted) in [
            ("/", Some((Route::Inspector, ""))),
            ("/healthz", Some((Route::Health, ""))),
            ("/metrics", Some((Route::Metrics, ""))),
            ("/v1/streams", Some((Route::List, ""))),
            ("/v1/streams/chat-1", Some((Route::Stream, "chat-1"))),
            ("/v1/streams/a%2Fb/events", Some((Route::Events, "a%2Fb"))),
            ("/v1/streams/a/complete", Some((Route::Complete, "a"))),
            ("/v1/streams/a/signals", Some((Route::Signals, "a"))),
            ("/v1/streams/a/tickets", Some((Route::Tickets, "a"))),
            ("/v1/streams/a/subscribers", Some((Route::Subscribers, "a"))),
            ("/inspector/sample", Some((Route::Sample, ""))),
            ("/inspector/page.html", None),
            ("/inspector/../main.js", None),
            ("/inspector/", None),
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
        for bad in ["", ".", "%2e%2E", "%", "a%20b", "%00", "%ff", &"x".repeat(257)] {
            assert_eq!(stream_id(bad).expect_err(bad).code, "invalid_stream_id", "{bad}");
        }
    }
}
