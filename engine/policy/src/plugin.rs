//! Owns what all instances of one plugin share: its component, its settings, its figures, and the
//! exchange of the component while instances are at work.
//!
//! Refuses to be called for decisions; instances are. Bound: one component, the one before it for a
//! roll-back, and older ones only while an instance still uses them.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use truststram_base::{Clock, Gauge};
use truststram_manifest::Manifest;
use wasmtime::{Engine, Store};

use crate::error::PolicyError;
use crate::host::FUEL_MAX;
use crate::instance::Instance;
use crate::kind::{Called, Kind};
use crate::load::Loaded;
use crate::recorder::{DecisionLog, Recording};
use crate::repair::RepairQueue;
use crate::spec::PluginSpec;
use crate::state::InstanceState;
use crate::stats::PluginStats;
use crate::text;
use crate::ticker::Pulse;
use crate::trial::{Stage, Trial};
use crate::v0_1_0::types;

/// Bytes that one call may move from the guest to the host.
const HOSTCALL_FUEL: usize = 4 << 20;
/// Bytes of a `snapshot`.
const STATE_BYTES_MAX: usize = 1 << 20;
/// Time that `describe`, `configure` and `restore` may take, in microseconds; they run seldom and
/// off the path of a request.
const SETUP_US: u64 = 2_000_000;

/// What a plugin says of itself, cut to the lengths that `types.wit` states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginInfo {
    /// Its own name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// One line for the operator.
    pub summary: String,
}

/// What the host lends to every plugin.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) engine: Engine,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) repairs: RepairQueue,
    /// Whether instructions are counted.
    pub(crate) counts_fuel: bool,
}

impl Surroundings {
    /// Begins a call of `lifecycle`.
    fn begin_setup(&self, store: &mut Store<InstanceState>) {
        let ticks = self.pulse.ticks(SETUP_US);
        self.pulse.call_begins(ticks);
        store.set_epoch_deadline(ticks);
    }
}

/// A component with its settings, ready to be instantiated.
pub(crate) struct Version<K: Kind> {
    pub(crate) spec: PluginSpec,
    pub(crate) sha256: String,
    manifest: Option<Arc<Manifest>>,
    pre: K::Pre,
    info: PluginInfo,
    /// Counts the versions that are in memory.
    alive: Arc<Gauge>,
}

impl<K: Kind> Drop for Version<K> {
    fn drop(&mut self) {
        self.alive.lower(1);
    }
}

/// The version in use, and the one before it.
struct Versions<K: Kind> {
    current: Arc<Version<K>>,
    previous: Option<Arc<Version<K>>>,
}

/// A started and configured instance.
pub(crate) struct Live<K: Kind> {
    /// The number of the exchange that this is an instance of.
    pub(crate) number: u64,
    pub(crate) version: Arc<Version<K>>,
    pub(crate) store: Store<InstanceState>,
    pub(crate) bindings: K::Bindings,
}

/// A plugin of kind `K`.
pub struct Plugin<K: Kind> {
    name: Arc<str>,
    versions: Mutex<Versions<K>>,
    /// How often the component was exchanged, and one; instances compare it without the lock.
    number: AtomicU64,
    is_enabled: AtomicBool,
    trial: Mutex<Option<Arc<Trial<K>>>>,
    /// How often a trial began or ended; instances compare it without the lock.
    trial_number: AtomicU64,
    recording: OnceLock<Recording>,
    records: AtomicBool,
    pub(crate) stats: PluginStats,
    pub(crate) surroundings: Surroundings,
}

impl<K: Kind> fmt::Debug for Plugin<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("kind", &K::NAME).field("name", &self.name).finish()
    }
}

impl<K: Kind> Plugin<K> {
    /// Starts one instance, asks it what it is and hands it its settings. `alive` counts the
    /// components in memory.
    pub(crate) fn new(
        loaded: Loaded<K>,
        surroundings: Surroundings,
        alive: Arc<Gauge>,
    ) -> Result<Self, PolicyError> {
        let name: Arc<str> = loaded.spec.name.as_str().into();
        let stats = PluginStats::new(alive);
        let version = Version::try_out(&name, loaded, &surroundings, &stats)?;
        let versions = Mutex::new(Versions { current: Arc::new(version), previous: None });
        Ok(Self {
            name,
            versions,
            number: AtomicU64::new(1),
            is_enabled: AtomicBool::new(true),
            trial: Mutex::new(None),
            trial_number: AtomicU64::new(0),
            recording: OnceLock::new(),
            records: AtomicBool::new(true),
            stats,
            surroundings,
        })
    }

    /// The name that the operator gave it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says of itself.
    pub fn info(&self) -> PluginInfo {
        self.version().info.clone()
    }

    /// SHA-256 of its component, in hexadecimal.
    pub fn sha256(&self) -> String {
        self.version().sha256.clone()
    }

    /// What it says of itself before it is run, if it has a manifest.
    pub fn manifest(&self) -> Option<Arc<Manifest>> {
        self.version().manifest.clone()
    }

    /// What the operator said of it.
    pub fn spec(&self) -> PluginSpec {
        self.version().spec.clone()
    }

    /// Whether it is asked at all.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled.load(Ordering::Relaxed)
    }

    /// Has it asked, or leaves every decision to the native default.
    pub fn set_enabled(&self, is_enabled: bool) {
        self.is_enabled.store(is_enabled, Ordering::Relaxed);
    }

    /// What it was asked.
    pub fn stats(&self) -> &PluginStats {
        &self.stats
    }

    /// Whether any of its instances rests after a failure.
    pub fn is_breaker_open(&self) -> bool {
        self.stats.resting.get() > 0
    }

    /// An instance for one worker.
    pub fn instance(self: &Arc<Self>) -> Instance<K> {
        Instance::new(self.clone())
    }

    /// An instance that goes on from what another had learnt and where its seeds stood.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub fn instance_from(
        self: &Arc<Self>,
        state: &[u8],
        seed: u64,
    ) -> Result<Instance<K>, PolicyError> {
        let mut live = self.start((!state.is_empty()).then_some(state))?;
        live.store.data_mut().seed = seed;
        Ok(Instance::with(self.clone(), Some(live)))
    }

    /// Has decisions recorded from now on; for kinds that are asked often, one run of them for
    /// each `every`. A second call does nothing.
    pub fn record(&self, log: Arc<dyn DecisionLog>, every: Duration) {
        let _ = self.recording.set(Recording::new::<K>(log, every));
    }

    pub(crate) fn recording(&self) -> Option<&Recording> {
        self.recording.get().filter(|_| self.records.load(Ordering::Relaxed))
    }

    /// For a component that cannot be recorded; the next one is, again.
    pub(crate) fn stop_recording(&self) {
        self.records.store(false, Ordering::Relaxed);
    }

    /// Puts a component on trial beside the one in use, in the place of one that was.
    pub(crate) fn begin_trial(&self, candidate: Arc<Self>, stage: Stage) {
        self.change_trial(Some(Arc::new(Trial::new(candidate, stage))));
    }

    /// Ends the trial; returns whether there was one.
    pub fn end_trial(&self) -> bool {
        self.change_trial(None).is_some()
    }

    /// The component on trial.
    pub fn trial(&self) -> Option<Arc<Trial<K>>> {
        self.numbered_trial().1
    }

    /// Puts the component on trial in the place of the one in use; returns whether there was one.
    pub fn promote(&self) -> bool {
        let Some(trial) = self.change_trial(None) else { return false };
        self.put(trial.plugin.version());
        true
    }

    fn change_trial(&self, trial: Option<Arc<Trial<K>>>) -> Option<Arc<Trial<K>>> {
        let mut present = self.trial.lock().unwrap_or_else(PoisonError::into_inner);
        // With the lock held, so that the number and the trial belong together.
        self.trial_number.fetch_add(1, Ordering::Release);
        std::mem::replace(&mut *present, trial)
    }

    pub(crate) fn trial_number(&self) -> u64 {
        self.trial_number.load(Ordering::Acquire)
    }

    pub(crate) fn numbered_trial(&self) -> (u64, Option<Arc<Trial<K>>>) {
        let trial = self.trial.lock().unwrap_or_else(PoisonError::into_inner);
        (self.trial_number(), trial.clone())
    }

    /// Puts another component in the place of this one. Instances finish the call they are in, hand
    /// what they have learnt to the new one, and use it from its first call on.
    ///
    /// # Errors
    /// What is wrong with the new one; the present one stays.
    pub(crate) fn replace(&self, loaded: Loaded<K>) -> Result<(), PolicyError> {
        let version = Version::try_out(&self.name, loaded, &self.surroundings, &self.stats)?;
        self.put(Arc::new(version));
        Ok(())
    }

    fn put(&self, version: Arc<Version<K>>) {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut versions.current, version);
        versions.previous = Some(old);
        self.exchanged();
    }

    /// Puts the component before this one back in its place; a second call undoes the first.
    /// Returns whether there was one.
    pub fn roll_back(&self) -> bool {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(previous) = versions.previous.take() else { return false };
        let old = std::mem::replace(&mut versions.current, previous);
        versions.previous = Some(old);
        self.exchanged();
        true
    }

    /// Tells instances, with the lock held, so that the number and the version belong together.
    fn exchanged(&self) {
        self.number.fetch_add(1, Ordering::Release);
        self.records.store(true, Ordering::Relaxed);
        self.stats.swaps.add(1);
    }

    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    fn version(&self) -> Arc<Version<K>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).current.clone()
    }

    fn numbered_version(&self) -> (u64, Arc<Version<K>>) {
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        (self.number(), versions.current.clone())
    }

    /// A new instance of the present component, with what an earlier one has learnt.
    pub(crate) fn start(&self, state: Option<&[u8]>) -> Result<Live<K>, PolicyError> {
        let (number, version) = self.numbered_version();
        let (mut store, bindings) = version.start(&self.name, &self.surroundings, &self.stats)?;
        if let Some(state) = state {
            self.surroundings.begin_setup(&mut store);
            match K::restore(&bindings, &mut store, state) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let reason = message(error);
                    tracing::warn!(plugin = &*self.name, reason, "begins without its old state");
                }
                Err(source) => return Err(unusable(&self.name, source)),
            }
        }
        Ok(Live { number, version, store, bindings })
    }
}

impl<K: Kind> Version<K> {
    fn try_out(
        name: &Arc<str>,
        loaded: Loaded<K>,
        surroundings: &Surroundings,
        stats: &PluginStats,
    ) -> Result<Self, PolicyError> {
        let info =
            PluginInfo { name: String::new(), version: String::new(), summary: String::new() };
        let Loaded { pre, spec, sha256, manifest } = loaded;
        stats.versions.raise(1);
        let alive = stats.versions.clone();
        let mut version = Self { spec, sha256, manifest, pre, info, alive };
        let (mut store, bindings) = version.start(name, surroundings, stats)?;
        surroundings.begin_setup(&mut store);
        let info = K::describe(&bindings, &mut store).map_err(|source| unusable(name, source))?;
        version.info = PluginInfo {
            name: text::line(&info.name, 64),
            version: text::line(&info.version, 64),
            summary: text::line(&info.summary, 256),
        };
        Ok(version)
    }

    /// A new instance, configured.
    fn start(
        &self,
        name: &Arc<str>,
        surroundings: &Surroundings,
        stats: &PluginStats,
    ) -> Result<(Store<InstanceState>, K::Bindings), PolicyError> {
        let state = InstanceState::new(
            name.clone(),
            surroundings.clock.clone(),
            self.spec.limits.memory_bytes,
            stats,
        );
        let mut store = Store::new(&surroundings.engine, state);
        store.limiter(|state| state);
        store.set_hostcall_fuel(HOSTCALL_FUEL);
        surroundings.begin_setup(&mut store);
        if surroundings.counts_fuel {
            store.set_fuel(FUEL_MAX).map_err(|source| unusable(name, source))?;
        }
        let bindings =
            K::instantiate(&self.pre, &mut store).map_err(|source| unusable(name, source))?;
        let configured = K::configure(&bindings, &mut store, &self.spec.settings_json);
        configured.map_err(|source| unusable(name, source))?.map_err(|error| {
            PolicyError::Settings { plugin: name.to_string(), message: message(error) }
        })?;
        Ok((store, bindings))
    }
}

impl<K: Kind> Live<K> {
    /// The deadline of one call, with one tick more because the first one may come at once.
    pub(crate) fn deadline_ticks(&self, pulse: &Pulse) -> u64 {
        pulse.ticks(self.version.spec.limits.deadline_us) + 1
    }

    /// What the instance has learnt; nothing if that is too much to carry. After an error it is
    /// dead.
    pub(crate) fn snapshot(&mut self, pulse: &Pulse) -> Called<Vec<u8>> {
        // On the path of a request: it has the time of a call.
        let ticks = self.deadline_ticks(pulse);
        pulse.call_begins(ticks);
        self.store.set_epoch_deadline(ticks);
        let state = K::snapshot(&self.bindings, &mut self.store)?;
        Ok(if state.len() <= STATE_BYTES_MAX { state } else { Vec::new() })
    }
}

/// The words of a plugin's error.
pub(crate) fn message(error: types::Error) -> String {
    let (types::Error::InvalidConfig(message)
    | types::Error::Unsupported(message)
    | types::Error::Internal(message)) = error;
    text::line(&message, 256)
}

fn unusable(name: &str, source: wasmtime::Error) -> PolicyError {
    PolicyError::Instantiate { plugin: name.to_owned(), source }
}
