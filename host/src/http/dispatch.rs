//! From a request to its handler, and from whatever becomes of it to a response.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use tracing::Instrument as _;

use super::line::Line;
use super::query::stream_id;
use super::route::Route;
use super::{
    Problem, Query, Request, Response, admitted, answer, body, cors, groups, guard, held, inspector, jobs, list,
    metrics, negotiate, openapi, page, produce, rate, signals, subscribe, subscribers, tickets,
};
use crate::app::App;
use crate::types::StreamId;

/// Answers one request, whatever it is.
pub(super) async fn respond(app: &Arc<App>, mut request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let route = Route::of(&path);
    let (asked, origins) = (cors::Asked::of(&request), app.config.access.cors_origins.as_slice());
    let stream = route.filter(|(route, _)| route.has_stream()).map(|(_, id)| stream_id(id));
    let known = stream.as_ref().and_then(|stream| stream.as_ref().ok()).cloned();
    let mut line = Line::new(app, route.map_or("", |(route, _)| route.template()), known, &mut request);
    let answered = match route {
        _ if let Err(problem) = fitting(&request, app.config.door.head_bytes_max) => Err(problem),
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
        Route::Sample => inspector::sample(app, &admitted::identity(request)).await,
        Route::ApiPage => Ok(inspector::File::API.answer(request.headers())),
        Route::ApiDocument => Ok(openapi::document(request.headers())),
        Route::Health => Ok(list::health()),
        Route::Ready => list::ready(app).await,
        Route::Stats => list::stats(app, &admitted::identity(request)).await,
        Route::Metrics => Ok(metrics::answer(app).await),
        _ => list::list(app, &admitted::identity(request), &Query::of(request.uri())?).await,
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

/// Errors: 431. (hyper refuses what does not fit its buffer by itself.)
fn fitting(request: &Request, head_bytes_max: usize) -> Result<(), Problem> {
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target + fields.sum::<usize>() <= head_bytes_max {
        return Ok(());
    }
    let detail = format!("address and headers have at most {head_bytes_max} bytes (--head-bytes-max): send less");
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    Err(Problem::new(status, "head_too_large", detail).with("bytesMax", head_bytes_max))
}
