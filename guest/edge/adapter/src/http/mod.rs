//! Requests and answers. What a client sees stands in files of the server wherever it can: the two cannot come apart.

mod answer;
mod body;
#[path = "../../../../../host/src/http/error.rs"]
#[expect(unreachable_pub, dead_code, reason = "the server's own file, which says more than is needed here")]
mod error;
#[path = "../../../../../host/src/sse/frame.rs"]
#[expect(unreachable_pub, reason = "the server's own file")]
// Its tests use all of it.
#[cfg_attr(not(test), expect(dead_code, reason = "it says more than is needed here"))]
mod frame;
mod guard;
mod jobs;
#[path = "../../../../../host/src/http/json.rs"]
#[expect(unreachable_pub, reason = "the server's own file")]
mod json;
#[path = "../../../../../host/src/http/lines.rs"]
#[expect(unreachable_pub, reason = "the server's own file")]
mod lines;
mod live;
#[path = "../../../../../host/src/http/negotiate.rs"]
mod negotiate;
mod page;
mod produce;
#[path = "../../../../../host/src/http/query.rs"]
#[expect(unreachable_pub, reason = "the server's own file")]
mod query;
mod request;
mod route;

use self::answer::Reply;
use self::error::Problem;
use self::query::Query;
use self::request::Request;
use crate::bindings::wasi::http::types::{IncomingRequest, ResponseOutparam};
use crate::config::Config;
use crate::engine::Sessions;

/// An answer that is there as a whole.
type Response = http::Response<String>;

/// What a request needs of this house.
struct App {
    config: Config,
    sessions: Sessions,
}

/// Answers one request, whatever it is.
pub(crate) fn handle(incoming: &IncomingRequest, outparam: ResponseOutparam) {
    let app = Config::read().map(|config| App { sessions: Sessions::new(&config), config });
    let reply = Request::of(incoming).and_then(|request| {
        let app = app.as_ref().map_err(|error| route::misconfigured(error))?;
        route::respond(app, &request).map(|reply| match (reply, request.method == http::Method::HEAD) {
            (Reply::Whole(response), true) => Reply::Whole(response.map(|_| String::new())),
            (reply, _) => reply,
        })
    });
    match reply.unwrap_or_else(|problem| Reply::Whole(problem.response())) {
        Reply::Whole(response) => answer::send(response, outparam),
        Reply::Live(live) => {
            if let Ok(app) = &app {
                live.run(app, outparam);
            }
        }
    }
}
