//! Requests and answers. What a client sees stands in files of the server wherever it can: the two cannot come apart.

mod answer;
mod body;
#[path = "../../../../../host/src/http/done.rs"]
mod done;
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
#[path = "../../../../../host/src/http/records.rs"]
mod records;
mod request;
mod route;

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};

use self::answer::Reply;
use self::error::Problem;
use self::live::Live;
use self::query::Query;
use self::request::Request;
use crate::clock::Deadline;
use crate::config::Config;
use crate::engine::Sessions;
use crate::wasi;

/// A client that does not take a whole answer is given up after this.
const TAKE_MAX: Duration = Duration::from_secs(60);

/// An answer that is there as a whole.
type Response = http::Response<String>;

/// What a request needs of this house.
struct App {
    config: Config,
    sessions: Sessions,
}

/// The head of an answer, and what is to follow it.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Body,
    held: wasi::Held,
}

enum Body {
    Whole(String),
    Live(Box<Live>, Box<App>),
}

/// Answers one request, whatever it is.
pub(crate) async fn answer(head: wasi::Head, body: wasi::Body) -> Answer {
    let held = wasi::Held::take();
    let (status, headers, body) = answered(head, body).await.unwrap_or_else(|problem| whole(problem.response()));
    Answer { status, headers, body, held }
}

async fn answered(head: wasi::Head, body: wasi::Body) -> Result<(StatusCode, HeaderMap, Body), Problem> {
    let request = Request::of(head, body)?;
    let config = Config::read().map_err(|error| route::misconfigured(&error))?;
    let app = App { sessions: Sessions::new(&config), config };
    Ok(match route::respond(&app, &request).await? {
        Reply::Whole(response) if request.method == Method::HEAD => whole(response.map(|_| String::new())),
        Reply::Whole(response) => whole(response),
        Reply::Live(live) => (StatusCode::OK, live::headers(), Body::Live(live, Box::new(app))),
    })
}

fn whole(response: Response) -> (StatusCode, HeaderMap, Body) {
    let (head, body) = response.into_parts();
    (head.status, head.headers, Body::Whole(body))
}

impl Answer {
    /// Sends what follows the head. Nobody is told when the client has left.
    pub(crate) async fn send(self, mut out: wasi::Out) {
        let sent = match self.body {
            Body::Whole(text) => out.write(text.as_bytes(), Deadline::after(TAKE_MAX)).await,
            Body::Live(live, app) => live.send(&app, self.held, &mut out).await,
        };
        // Dropped unfinished it tells the client that something went wrong, which is for those who are still there.
        if sent.is_ok() {
            out.finish(Deadline::after(TAKE_MAX)).await;
        }
    }
}
