//! The component that a `wasi:http` host calls: HTTP on one side, the unchanged core and a Redis behind HTTP on the other.
//!
//! | room | what it knows |
//! |---|---|
//! | `http` | requests and answers; parts of it are the server's own files, so that clients cannot tell the two apart |
//! | `engine` | a session of the core for one request: open, command, write, settle, once more when others wrote |
//! | `store` | the keys, scripts and records of the server's Redis store, sent as HTTP |
//! | `config` | the environment |
//! | `clock` | time, and waiting for something until then |
//!
//! One instance serves one request and is gone. What must last is in the store.

#[expect(unsafe_code, reason = "generated from wit/: the canonical ABI is pointers")]
mod bindings {
    wit_bindgen::generate!({
        world: "rejoin:edge-adapter/adapter",
        path: ["../../../wit", "../wit", "wit"],
        generate_all,
    });
    export!(Adapter);
    use super::Adapter;
}

mod auth;
mod clock;
mod config;
mod engine;
mod http;
mod store;
#[path = "../../../../host/src/types.rs"]
#[expect(dead_code, unreachable_pub, reason = "the server's own file, which says more than is needed here")]
mod types;

use bindings::exports::wasi::http::incoming_handler::Guest;
use bindings::wasi::http::types::{IncomingRequest, ResponseOutparam};

/// What the export hangs on.
struct Adapter;

impl Guest for Adapter {
    fn handle(request: IncomingRequest, response: ResponseOutparam) {
        http::handle(&request, response);
    }
}
