//! The component: WIT types to core types and back, `export!`, nothing else.

#[expect(unsafe_code, reason = "generated from wit/: the canonical ABI is pointers")]
mod bindings {
    wit_bindgen::generate!({
        world: "engine",
        path: "../wit",
        generate_all,
    });
    export!(Component);
    use super::Component;
}

mod content;
mod convert;
mod session;
mod translate;

/// What the exports hang on.
struct Component;
