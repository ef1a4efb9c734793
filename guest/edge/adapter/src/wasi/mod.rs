//! The only room that knows which `wasi:http` the host has: 0.2, whose calls wait until they have an answer, or 0.3,
//! whose calls are futures. One of two files stands behind the same names; everything else is written once, as futures.

#[cfg(not(feature = "p3"))]
mod p2;
#[cfg(feature = "p3")]
mod p3;

use std::time::Duration;

#[cfg(not(feature = "p3"))]
pub(crate) use self::p2::*;
#[cfg(feature = "p3")]
pub(crate) use self::p3::*;

/// A request before its body, as the host gives it.
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authority: Option<String>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

/// What came of a body.
pub(crate) enum Read {
    /// At least one.
    Bytes(Vec<u8>),
    /// No more come.
    End,
    /// It failed.
    BrokeOff,
    /// Nothing came in time.
    Late,
}

/// Whoever was written to takes no more, or not in time.
#[derive(Debug)]
pub(crate) struct Gone;

/// A method as HTTP writes it: the two generated types have the same cases.
macro_rules! method_text {
    ($method:expr, $type:ident) => {
        match $method {
            $type::Get => "GET".to_owned(),
            $type::Head => "HEAD".to_owned(),
            $type::Post => "POST".to_owned(),
            $type::Put => "PUT".to_owned(),
            $type::Delete => "DELETE".to_owned(),
            $type::Connect => "CONNECT".to_owned(),
            $type::Options => "OPTIONS".to_owned(),
            $type::Trace => "TRACE".to_owned(),
            $type::Patch => "PATCH".to_owned(),
            $type::Other(name) => name,
        }
    };
}
use method_text;

/// A duration as `wasi:clocks` counts it.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
