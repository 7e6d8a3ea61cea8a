wasmtime::component::bindgen!({
    path: "../../wit/since_v0.1.0",
    world: "batcher",
    imports: { default: trappable },
});
