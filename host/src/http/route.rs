//! What paths there are, and which methods each knows.

use http::Method;

use super::inspector;

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
    Group(Part),
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
            _ => Route::Group(Part::of(tail)?),
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

    pub(super) fn knows(self, method: &Method) -> bool {
        self.methods().split(", ").any(|known| known == method.as_str())
    }

    pub(super) fn has_stream(self) -> bool {
        self.template().contains("{id}")
    }
}

/// What of a group a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Itself,
    Events,
    Pending,
    Ack,
}

impl Part {
    /// Reads what follows the stream id in a path.
    pub(super) fn of(tail: &str) -> Option<Self> {
        let rest = tail.strip_prefix("groups/")?;
        let Some((_, part)) = rest.split_once('/') else { return Some(Part::Itself) };
        match part {
            "events" => Some(Part::Events),
            "pending" => Some(Part::Pending),
            "ack" => Some(Part::Ack),
            _ => None,
        }
    }

    pub(super) fn template(self) -> &'static str {
        match self {
            Part::Itself => "/v1/streams/{id}/groups/{group}",
            Part::Events => "/v1/streams/{id}/groups/{group}/events",
            Part::Pending => "/v1/streams/{id}/groups/{group}/pending",
            Part::Ack => "/v1/streams/{id}/groups/{group}/ack",
        }
    }

    pub(super) fn methods(self) -> &'static str {
        match self {
            Part::Itself => "PUT, DELETE",
            Part::Events | Part::Pending => "GET, HEAD",
            Part::Ack => "POST",
        }
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
            ("/v1/streams/a/groups/g", Some((Route::Group(Part::Itself), "a"))),
            ("/v1/streams/a/groups/events/events", Some((Route::Group(Part::Events), "a"))),
            ("/v1/streams/a/groups/g%2Fh/pending", Some((Route::Group(Part::Pending), "a"))),
            ("/v1/streams/a/groups/g/ack", Some((Route::Group(Part::Ack), "a"))),
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
}
