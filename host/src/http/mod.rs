//! The only room that knows hyper: routes, bodies, statuses.
//!
//! | file | what it knows |
//! |---|---|
//! | [`connection`] | one port for HTTP/1.1 and HTTP/2, plain or encrypted |
//! | `opening`, `stall`, `window` | who is cut: for a head without end, for taking nothing |
//! | `dispatch`, [`route`], `query`, `negotiate` | from method, path and headers to a handler |
//! | `guard`, `cors`, `tickets` | who may come in; pages of other origins; what an address may carry |
//! | `admitted`, `theirs` | what a handler knows of whoever was let in; the house as they see it |
//! | `rate`, `held` | how often, and how many at a time |
//! | `line` | what the log says of a request |
//! | [`error`] | the one place where errors become statuses |
//! | [`answer`], `json`, `body` | JSON out, JSON in |
//! | [`produce`], `gather`, [`lines`], `done` | the append body, open for as long as the answer takes |
//! | [`subscribe`], [`signals`] | the live stream, and what producers must hear |
//! | `openapi`, `etag` | the API document; who has it already |
//! | [`jobs`], [`page`], `records`, [`list`], [`groups`], `subscribers`, [`inspector`], [`metrics`] | the other routes |

mod admitted;
pub mod answer;
mod body;
pub mod connection;
mod cors;
mod dispatch;
mod done;
pub mod error;
mod etag;
mod gather;
pub mod groups;
mod guard;
mod held;
pub mod inspector;
pub mod jobs;
mod json;
mod line;
pub mod lines;
pub mod list;
pub mod metrics;
mod negotiate;
mod openapi;
mod opening;
pub mod page;
#[doc(hidden)]
pub mod probe;
pub mod produce;
mod query;
mod rate;
mod records;
pub mod route;
pub mod signals;
mod stall;
pub mod subscribe;
mod subscribers;
mod theirs;
mod tickets;
mod window;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::net::{TcpListener, TcpSocket};

pub use connection::accept;
pub use error::Problem;
pub use query::Query;

/// What is sent.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;
/// What comes in.
pub type Request = http::Request<hyper::body::Incoming>;
/// What goes out.
pub type Response = http::Response<Body>;

/// Connections that wait to be accepted: thousands of subscribers may come back in the same second.
const BACKLOG: u32 = 4096;
/// What the kernel may hold for one reader; it doubles the figure for its own needs.
const SEND_BUFFER_BYTES: u32 = 128 * 1024;

/// Binds a port. Errors: it is taken, or not ours to take.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Inherited by what is accepted: a producer whose machine vanished would otherwise stay for ever.
    socket.set_keepalive(true)?;
    // Left alone the kernel takes megabytes for a reader that is slow, and reports room for more only when a third of them
    // is free: a slow reader would look like one that reads nothing.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
