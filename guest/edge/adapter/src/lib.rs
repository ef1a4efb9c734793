//! The component that a `wasi:http` host calls: HTTP on one side, the unchanged core and a Redis behind HTTP on the other.
//!
//! | room | what it knows |
//! |---|---|
//! | `http` | requests and answers; parts of it are the server's own files, so that clients cannot tell the two apart |
//! | `engine` | a session of the core for one request: open, command, write, settle, once more when others wrote |
//! | `store` | the keys, scripts and records of the server's Redis store, sent as HTTP |
//! | `config` | the environment |
//! | `wasi` | `wasi:http` in one of its two versions: bodies in and out, requests to the store, time |
//! | `wake` | who of this instance waits for a stream |
//!
//! With `wasi:http` 0.2 one instance serves one request and is gone; with 0.3 it serves several side by side and then is
//! gone. What must last is in the store.

#[expect(unsafe_code, reason = "generated from wit/: the canonical ABI is pointers")]
mod bindings {
    #[cfg(not(feature = "p3"))]
    wit_bindgen::generate!({
        world: "rejoin:edge-adapter/adapter",
        path: ["../../../wit", "../wit", "wit"],
        generate_all,
    });
    #[cfg(feature = "p3")]
    wit_bindgen::generate!({
        world: "rejoin:edge-adapter/adapter-p3",
        path: ["../../../wit", "../wit", "wit"],
        generate_all,
    });
    export!(Adapter);
    use super::wasi::Adapter;
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
mod wake;
mod wasi;
