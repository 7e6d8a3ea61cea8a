//! Owns the bindings of WIT version 0.1.0, one module for each world; nothing outside this crate
//! sees their types.
//!
//! Refuses to hold logic. What the worlds import is bound once and shared. Bound: generated code.
#![allow(missing_docs, reason = "the documentation is in wit/since_v0.1.0")]
#![allow(unused_qualifications, reason = "what `bindgen!` expands to names types in full")]

pub mod batcher {
    wasmtime::component::bindgen!({
        path: "../../wit/since_v0.1.0",
        world: "batcher",
        imports: { default: trappable },
    });
}

pub use batcher::truststram::policy::{host, types};

macro_rules! world {
    ($module:ident, $world:literal) => {
        pub mod $module {
            wasmtime::component::bindgen!({
                path: "../../wit/since_v0.1.0",
                world: $world,
                imports: { default: trappable },
                with: {
                    "truststram:policy/host": super::host,
                    "truststram:policy/types": super::types,
                },
            });
        }
    };
}

world!(aggregator, "aggregator");
world!(placer, "placer");
world!(router, "router");
world!(selector, "selector");
world!(tuner, "tuner");

pub mod kernel {
    wasmtime::component::bindgen!({
        path: "../../wit/since_v0.1.0",
        world: "kernel-plugin",
    });
}
