//! Owns the host of plugins: the engine and its two threads.
//!
//! Refuses to know kinds of plugins beyond loading them. Bound: two threads, which
//! [`Host::close`] or the drop joins.

use std::fmt;
use std::sync::Arc;

use truststram_base::Clock;
use wasmtime::Engine;

use crate::batcher::BatcherPlugin;
use crate::engine;
use crate::error::PolicyError;
use crate::load;
use crate::repair::Repair;
use crate::spec::PluginSpec;
use crate::ticker::Ticker;

/// The host of plugins.
pub struct Host {
    engine: Engine,
    uses_pooling: bool,
    clock: Arc<dyn Clock>,
    ticker: Ticker,
    repair: Repair,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("uses_pooling", &self.uses_pooling).finish_non_exhaustive()
    }
}

impl Host {
    /// Sets up the engine and starts its threads.
    pub fn new(clock: Arc<dyn Clock>) -> Result<Self, PolicyError> {
        let (engine, uses_pooling) = engine::make()?;
        let ticker = Ticker::start(engine.clone())?;
        let repair = Repair::start()?;
        Ok(Self { engine, uses_pooling, clock, ticker, repair })
    }

    /// Loads a batcher: checked, compiled, started once and configured.
    ///
    /// # Errors
    /// What is wrong with the component, by name.
    pub fn load_batcher(&self, spec: &PluginSpec) -> Result<Arc<BatcherPlugin>, PolicyError> {
        let pre = load::batcher(&self.engine, spec)?;
        let (clock, pulse) = (self.clock.clone(), self.ticker.pulse());
        let repairs = self.repair.queue();
        BatcherPlugin::new(spec, &self.engine, pre, clock, pulse, repairs).map(Arc::new)
    }

    /// Whether instances come from a pool, or are allocated on demand for want of address space.
    pub fn uses_pooling(&self) -> bool {
        self.uses_pooling
    }

    /// Ends both threads. A second call does nothing.
    pub fn close(&self) -> Result<(), PolicyError> {
        let repair = self.repair.close();
        self.ticker.close()?;
        Ok(repair?)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the plugin host ended badly");
        }
    }
}
