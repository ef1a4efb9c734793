//! rejoin, the host: owns every side effect. The meaning of it all is the component that it runs.
//!
//! | room | what it knows |
//! |---|---|
//! | [`config`], [`app`], [`shutdown`] | flags and environment; who is joined to whom; how it ends |
//! | [`http`] | hyper: routes, bodies, statuses |
//! | [`engine`] | wasmtime: the component, one instance per live session |
//! | [`store`] | the log and the job rows |
//! | [`sse`] | frames, and who is woken |
//! | [`types`] | the words that all of them use |
//!
//! Arrows: main -> app -> http -> engine -> { store, sse }; http reads store and sse directly. Nothing points back.

pub mod app;
pub mod config;
pub mod engine;
pub mod http;
pub mod shutdown;
pub mod sse;
pub mod store;
pub mod types;
