//! Owns the host of plugins: the engine and its two threads.
//!
//! Refuses to know kinds of plugins beyond loading them. Bound: two threads, which
//! [`Host::close`] or the drop joins.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use truststram_base::{Clock, Gauge};
use wasmtime::Engine;

use crate::compiled::CompiledCache;
use crate::engine;
use crate::error::PolicyError;
use crate::kind::Kind;
use crate::load;
use crate::plugin::{Plugin, Surroundings};
use crate::repair::Repair;
use crate::spec::PluginSpec;
#[cfg(doc)]
use crate::stats::PluginStats;
use crate::ticker::Ticker;
use crate::trial::Stage;

/// Most instructions of one call on a host that counts them.
pub const FUEL_MAX: u64 = 1_000_000_000;

/// How a host is set up.
#[derive(Clone, Debug, Default)]
pub struct HostOptions {
    /// A directory, which nobody else may write to, for compiled components; none keeps nothing.
    pub compiled: Option<PathBuf>,
    /// Whether instructions are counted, which slows tight loops.
    pub counts_fuel: bool,
    /// The shortest deadline of its plugins, microseconds: the clock that stops them ticks four
    /// times as often, at least every 10 ms and at most every millisecond, as it does with 0.
    pub deadline_us_min: u64,
}

/// The host of plugins.
pub struct Host {
    engine: Engine,
    uses_pooling: bool,
    counts_fuel: bool,
    compiled: CompiledCache,
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
    /// Sets up the engine and starts its threads, with the usual options.
    ///
    /// # Errors
    /// If the engine or a thread cannot be started.
    pub fn new(clock: Arc<dyn Clock>) -> Result<Self, PolicyError> {
        Self::with(clock, HostOptions::default())
    }

    /// The same with a directory, which nobody else may write to, for compiled components.
    ///
    /// # Errors
    /// As [`Host::new`].
    pub fn with_cache(
        clock: Arc<dyn Clock>,
        compiled: Option<PathBuf>,
    ) -> Result<Self, PolicyError> {
        Self::with(clock, HostOptions { compiled, ..HostOptions::default() })
    }

    /// A host that counts the instructions of each call, in [`PluginStats::fuel`], and stops a call
    /// after [`FUEL_MAX`] of them, so that a check ends the same on every machine.
    ///
    /// # Errors
    /// As [`Host::new`].
    pub fn counting(clock: Arc<dyn Clock>, compiled: Option<PathBuf>) -> Result<Self, PolicyError> {
        Self::with(clock, HostOptions { compiled, counts_fuel: true, ..HostOptions::default() })
    }

    /// The same with all options.
    ///
    /// # Errors
    /// As [`Host::new`].
    pub fn with(clock: Arc<dyn Clock>, options: HostOptions) -> Result<Self, PolicyError> {
        let HostOptions { compiled, counts_fuel, deadline_us_min } = options;
        let (engine, uses_pooling) = engine::make(counts_fuel)?;
        let compiled = CompiledCache::new(&engine, compiled);
        let ticker = Ticker::start(engine.clone(), deadline_us_min)?;
        let repair = Repair::start()?;
        Ok(Self { engine, uses_pooling, counts_fuel, compiled, clock, ticker, repair })
    }

    /// Loads a plugin of kind `K`: checked, compiled, started once and configured.
    ///
    /// # Errors
    /// What is wrong with the component, by name.
    pub fn load<K: Kind>(&self, spec: &PluginSpec) -> Result<Arc<Plugin<K>>, PolicyError> {
        let loaded = load::load::<K>(&self.engine, &self.compiled, spec)?;
        Plugin::new(loaded, self.surroundings(), Arc::new(Gauge::new())).map(Arc::new)
    }

    /// Puts the component that `spec` names on trial beside the one that `plugin` has. An earlier
    /// trial ends.
    ///
    /// # Errors
    /// What is wrong with the new component; nothing changes then.
    pub fn try_out<K: Kind>(
        &self,
        plugin: &Plugin<K>,
        spec: &PluginSpec,
        stage: Stage,
    ) -> Result<(), PolicyError> {
        let loaded = load::load::<K>(&self.engine, &self.compiled, spec)?;
        let alive = plugin.stats().versions.clone();
        let candidate = Plugin::new(loaded, self.surroundings(), alive)?;
        plugin.begin_trial(Arc::new(candidate), stage);
        Ok(())
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            engine: self.engine.clone(),
            clock: self.clock.clone(),
            pulse: self.ticker.pulse(),
            repairs: self.repair.queue(),
            counts_fuel: self.counts_fuel,
        }
    }

    /// Puts the component that `spec` names in the place of the one that `plugin` has, while its
    /// instances are at work: each finishes the call it is in, hands on what it has learnt, and
    /// goes over before its next call. The name stays the old one.
    ///
    /// # Errors
    /// What is wrong with the new component; the old one stays.
    pub fn replace<K: Kind>(
        &self,
        plugin: &Plugin<K>,
        spec: &PluginSpec,
    ) -> Result<(), PolicyError> {
        plugin.replace(load::load::<K>(&self.engine, &self.compiled, spec)?)
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
