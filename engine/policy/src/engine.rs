//! Owns the settings of wasmtime.
//!
//! Refuses to know plugins. Concurrency support is switched off outright: it costs a factor of
//! four per call, and a dependency could switch it on by a feature. Bound: a pool of
//! [`INSTANCES_MAX`] instances; where the address space does not hold it, instances are allocated
//! on demand.

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::error::PolicyError;

/// Instances that the pool holds: one per worker and those that replace failed ones.
const INSTANCES_MAX: u32 = 128;
/// Memory that one instance of the pool may ever have; a plugin's own limit is lower.
const MEMORY_BYTES_MAX: usize = 1 << 30;

/// The engine and whether it uses the pool. `counts_fuel` makes it count instructions, which slows
/// tight loops.
pub(crate) fn make(counts_fuel: bool) -> Result<(Engine, bool), PolicyError> {
    let config = |allocation| config(allocation, counts_fuel);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(INSTANCES_MAX)
        .total_core_instances(INSTANCES_MAX * 2)
        .total_memories(INSTANCES_MAX)
        .total_tables(INSTANCES_MAX)
        .max_memory_size(MEMORY_BYTES_MAX);
    let pooled = Engine::new(&config(InstanceAllocationStrategy::Pooling(pool)));
    if let Ok(engine) = pooled {
        return Ok((engine, true));
    }
    let engine = Engine::new(&config(InstanceAllocationStrategy::OnDemand));
    engine.map(|engine| (engine, false)).map_err(PolicyError::Host)
}

fn config(allocation: InstanceAllocationStrategy, counts_fuel: bool) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .consume_fuel(counts_fuel)
        .allocation_strategy(allocation);
    config
}
