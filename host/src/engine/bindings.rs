//! Generated from `wit/`: every item is documented there.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "engine",
    with: { "wasi:clocks": wasmtime_wasi::p2::bindings::sync::clocks },
});
