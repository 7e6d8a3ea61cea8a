//! Owns the bindings of WIT version 0.1.0; nothing outside this crate sees their types.
//!
//! Refuses to hold logic. Bound: generated code.
#![allow(missing_docs, reason = "the documentation is in wit/since_v0.1.0")]

wasmtime::component::bindgen!({
    path: "../../wit/since_v0.1.0",
    world: "batcher",
    imports: { default: trappable },
});
