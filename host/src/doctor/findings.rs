//! What may be wrong in between, and which setting mends it.

use std::fmt;
use std::time::Duration;

/// Something to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ill {
    /// Nobody answers, or not this server.
    Unreachable(String),
    /// 401 or 403: no token, a wrong one, or one that did not arrive.
    Unauthorized { given: bool },
    /// 403: the token is a good one, and not for this. What the server says.
    Refused(String),
    /// 403: the server has no keys, and the proxy tells it another name than localhost.
    ForeignHost,
    /// Frames come later than they were written: all together, or not before the end.
    Held(Duration),
    /// `Content-Encoding` of a live stream.
    Compressed(String),
    /// Not even keep-alives came in this time.
    NoKeepAlive(Duration),
    /// A live stream ended after so long without a record.
    Cut(Duration, String),
    /// A line of an open body came only with the end of the body.
    BodyHeld,
    /// An open body was ended.
    BodyCut(String),
    /// A body of two megabytes was refused by somebody else.
    BodyLimited(u16),
    /// A reader that came back began at the first record.
    NoLastEventId,
    /// A web page of this origin may not use it.
    Cors(String, String),
    /// Something else that it should not be.
    Strange(String),
}

impl Ill {
    /// Who mends it, and how.
    pub(super) fn remedies(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Ill::Unreachable(_) => &[
                ("address", "does the name lead here, is the port open, does the certificate name this host?"),
                ("502, 503, 504", "the proxy answers and the server behind it does not: look at its /readyz there"),
            ],
            Ill::Unauthorized { .. } => &[
                ("token", "give one with --token or REJOIN_TOKEN; it needs the scopes produce and subscribe"),
                ("nginx", "no auth_basic on this path; no proxy_set_header Authorization with another value"),
                ("Caddy", "no basic_auth on this path; no header_up -Authorization"),
            ],
            Ill::Refused(_) => {
                &[("token", "it needs the scopes produce and subscribe, and streams that begin with doctor-")]
            }
            Ill::ForeignHost => &[
                ("server", "give it keys with --auth-key-file: without them it answers to localhost only"),
                ("nginx", "or proxy_set_header Host localhost; where everybody who gets here may do everything"),
                ("Caddy", "or header_up Host localhost"),
            ],
            Ill::Held(_) => &[
                ("nginx", "proxy_buffering off; proxy_http_version 1.1; and no proxy_ignore_headers X-Accel-Buffering"),
                ("Caddy", "reverse_proxy { flush_interval -1 }"),
                ("Cloudflare", "Response Buffering off; no Worker that reads the whole answer"),
                ("AWS", "ALB does not hold answers back; API Gateway (REST) does: leave it out"),
            ],
            Ill::Compressed(_) => &[
                ("nginx", "gzip off; (and brotli off;) on this path"),
                ("Caddy", "encode only what is no text/event-stream"),
                ("Cloudflare", "keep Cache-Control: no-transform as the server sends it"),
            ],
            Ill::NoKeepAlive(_) => &[
                ("server", "is --keep-alive (15s) longer than --wait of this test?"),
                ("all", "the same settings that stop holding frames back"),
            ],
            Ill::Cut(..) => &[
                ("nginx", "proxy_read_timeout 60s; it must be longer than --keep-alive of the server (15s)"),
                ("Caddy", "no read_timeout in transport http, no write in servers { timeouts }"),
                ("Cloudflare", "it cuts after 100 s without a byte: keep --keep-alive below that"),
                ("AWS", "ALB: idle_timeout.timeout_seconds above --keep-alive (its default of 60 is)"),
            ],
            Ill::BodyHeld => &[
                ("nginx", "proxy_request_buffering off; with proxy_http_version 1.1;"),
                ("Caddy", "no request_buffers in reverse_proxy"),
                ("Cloudflare", "it may hold bodies back: send short appends instead, or go past it"),
                ("AWS", "API Gateway holds bodies back: leave it out; ALB does not"),
            ],
            Ill::BodyCut(_) => &[
                ("nginx", "client_body_timeout 1h; proxy_send_timeout 1h;"),
                ("Caddy", "no read_body in servers { timeouts }"),
                ("AWS", "ALB: idle_timeout.timeout_seconds above the longest silence of a producer"),
                ("producer", "send an empty line now and then, or short appends"),
            ],
            Ill::BodyLimited(_) => &[
                ("nginx", "client_max_body_size 0;"),
                ("Caddy", "no max_size in request_body"),
                ("Cloudflare", "100 MB by plan: begin another append before that"),
            ],
            Ill::NoLastEventId => &[
                ("nginx", "proxy_pass_request_headers on; and no proxy_set_header Last-Event-ID"),
                ("Caddy", "no header_up -Last-Event-ID"),
                ("Cloudflare", "no Transform Rule that removes it; no cache on this path"),
            ],
            Ill::Cors(..) => &[
                ("server", "--cors-origins with this origin, exactly as the browser sends it"),
                ("all", "the proxy passes OPTIONS on, and neither adds nor removes Access-Control-*"),
            ],
            Ill::Strange(_) => &[("all", "is it Rejoin that answers, on this path and nothing else?")],
        }
    }
}

impl fmt::Display for Ill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ill::Unreachable(why) => write!(f, "cannot be reached: {why}"),
            Ill::Unauthorized { given: true } => {
                f.write_str("the token was refused, or the Authorization header does not arrive")
            }
            Ill::Unauthorized { given: false } => f.write_str("a token is needed"),
            Ill::Refused(detail) => write!(f, "the token does not allow it: {detail}"),
            Ill::ForeignHost => f.write_str("the server has no keys, and refuses a Host that is not localhost"),
            Ill::Held(lag) => write!(f, "frames are held back: for {:.1} s and more", lag.as_secs_f64()),
            Ill::Compressed(how) => write!(f, "the live stream is compressed ({how}): frames wait for a full block"),
            Ill::NoKeepAlive(wait) => write!(f, "no keep-alive came in {wait:?}"),
            Ill::Cut(after, why) => {
                write!(f, "an idle live stream is cut after {:.1} s: {why}", after.as_secs_f64())
            }
            Ill::BodyHeld => f.write_str("open bodies are held back: a line arrives only with the end of the body"),
            Ill::BodyCut(why) => write!(f, "an open body that is silent for a while is cut: {why}"),
            Ill::BodyLimited(status) => write!(f, "a body of 2 MiB is refused with {status}, and not by the server"),
            Ill::NoLastEventId => f.write_str("Last-Event-ID does not arrive: who comes back gets everything again"),
            Ill::Cors(origin, lacks) => write!(f, "web pages of {origin} cannot use it: {lacks}"),
            Ill::Strange(what) => f.write_str(what),
        }
    }
}
