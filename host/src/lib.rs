//! rejoin, the host: owns every side effect. The meaning of it all is the component that it runs.
//!
//! | room | what it knows |
//! |---|---|
//! | [`serve`], [`shutdown`] | the server at work; how it ends |
//! | [`config`], [`app`], [`descriptors`] | flags and environment; who is joined to whom; open files |
//! | [`auth`], [`rates`], [`tls`] | who asks, what they may do, and how often; encrypted connections |
//! | [`http`] | hyper: routes, bodies, statuses |
//! | [`engine`] | wasmtime: the component, one instance per live session |
//! | [`store`] | the log and the job rows |
//! | [`sse`] | frames, and who is woken |
//! | [`doctor`] | `rejoin doctor`: what stands between clients and a server |
//! | [`metrics`] | what operators count |
//! | [`trace`] | logs and traces on their way out |
//! | [`types`] | the words that all of them use |
//!
//! Arrows: main -> serve -> http -> app -> engine -> { store, sse }; http reads store and sse directly. Nothing points back.
//! All of them may count: metrics is a leaf.

pub mod app;
pub mod auth;
pub mod config;
pub mod descriptors;
pub mod doctor;
pub mod engine;
pub mod http;
pub mod metrics;
pub mod rates;
pub mod serve;
pub mod shutdown;
pub mod sse;
pub mod store;
pub mod tls;
pub mod trace;
pub mod types;
