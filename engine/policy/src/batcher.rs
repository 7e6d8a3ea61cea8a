//! Owns the batcher plugin: what it is, what it was asked, and one instance of it per worker.
//!
//! Refuses to answer for a plugin that fails: the caller's native default does. An instance that
//! trapped is dead; it is replaced by the repair thread, off the caller's path. Bound: one call of
//! the plugin's deadline; no lock.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use truststram_base::{Clock, Counter, Gauge, Histogram};
use wasmtime::{Engine, Store, Trap};

use crate::error::PolicyError;
use crate::repair::{Job, RepairQueue};
use crate::rest::Rest;
use crate::spec::PluginSpec;
use crate::state::InstanceState;
use crate::ticker::{Pulse, TICK_US};
use crate::v0_1_0::{Batcher, BatcherPre};

/// Bytes that one call may move between guest and host.
const HOSTCALL_FUEL: usize = 1 << 20;
/// Time that `describe` and `configure` may take, in ticks; they run once, off the request path.
const SETUP_TICKS: u64 = 2_000;
const CALL_NS: &[u64] =
    &[100, 150, 200, 300, 500, 750, 1_000, 2_000, 5_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// The requests that wait for one model at one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchView {
    /// How many wait, at least 1.
    pub queued: u32,
    /// How long the oldest has waited, microseconds.
    pub oldest_us: u32,
    /// Most requests of one batch.
    pub batch_max: u32,
    /// The latency target, microseconds.
    pub target_us: u32,
}

/// What the plugin wants; within the bounds that `batching.wit` states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchDecision {
    /// How many run now, oldest first; 0 means wait.
    pub take: u32,
    /// For `take` 0: ask again after this many microseconds.
    pub wait_us: u32,
}

/// Why there is no decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The plugin trapped.
    Trap,
    /// The call took longer than its deadline.
    Deadline,
    /// The plugin wanted more memory than its limit, and trapped.
    Memory,
    /// The decision is outside its bounds.
    Nonsense,
    /// The host could not make the call.
    Failed,
    /// The plugin rests after a failure, or its instance is being replaced.
    Unavailable,
}

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

/// What a plugin was asked and how it answered.
#[derive(Debug)]
pub struct PluginStats {
    /// Calls made.
    pub calls: Counter,
    /// Calls that trapped.
    pub traps: Counter,
    /// Calls stopped at their deadline.
    pub deadlines: Counter,
    /// Calls that ended at the memory limit.
    pub memory: Counter,
    /// Decisions outside their bounds.
    pub nonsense: Counter,
    /// Calls that the host could not make.
    pub failed: Counter,
    /// Questions not asked, because the plugin rested or was being replaced.
    pub unavailable: Counter,
    /// Log lines over the limit.
    pub log_lines_dropped: Arc<Counter>,
    /// Time of a call, nanoseconds.
    pub call_ns: Histogram,
    resting: Gauge,
}

impl PluginStats {
    fn new() -> Self {
        Self {
            calls: Counter::new(),
            traps: Counter::new(),
            deadlines: Counter::new(),
            memory: Counter::new(),
            nonsense: Counter::new(),
            failed: Counter::new(),
            unavailable: Counter::new(),
            log_lines_dropped: Arc::new(Counter::new()),
            call_ns: Histogram::new(CALL_NS),
            resting: Gauge::new(),
        }
    }
}

/// What all instances of one plugin share.
pub struct BatcherPlugin {
    name: Arc<str>,
    spec: PluginSpec,
    engine: Engine,
    pre: BatcherPre<InstanceState>,
    info: PluginInfo,
    stats: PluginStats,
    clock: Arc<dyn Clock>,
    pulse: Arc<Pulse>,
    repairs: RepairQueue,
}

/// A started and configured instance.
pub(crate) struct Live {
    store: Store<InstanceState>,
    bindings: Batcher,
}

impl std::fmt::Debug for BatcherPlugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatcherPlugin").field("name", &self.name).finish_non_exhaustive()
    }
}

impl BatcherPlugin {
    /// Starts one instance, asks it what it is and hands it its settings.
    pub(crate) fn new(
        spec: &PluginSpec,
        engine: &Engine,
        pre: BatcherPre<InstanceState>,
        clock: Arc<dyn Clock>,
        pulse: Arc<Pulse>,
        repairs: RepairQueue,
    ) -> Result<Self, PolicyError> {
        let empty = || String::new();
        let mut plugin = Self {
            name: spec.name.as_str().into(),
            spec: spec.clone(),
            engine: engine.clone(),
            pre,
            info: PluginInfo { name: empty(), version: empty(), summary: empty() },
            stats: PluginStats::new(),
            clock,
            pulse,
            repairs,
        };
        let mut live = plugin.start()?;
        plugin.pulse.call_begins();
        live.store.set_epoch_deadline(SETUP_TICKS);
        let described = live.bindings.truststram_policy_lifecycle().call_describe(&mut live.store);
        let info = described.map_err(|source| plugin.unusable(source))?;
        let cut = |text: String, bytes: usize| text[..text.floor_char_boundary(bytes)].to_owned();
        plugin.info = PluginInfo {
            name: cut(info.name, 64),
            version: cut(info.version, 64),
            summary: cut(info.summary, 256),
        };
        Ok(plugin)
    }

    /// The name that the operator gave it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says of itself.
    pub fn info(&self) -> &PluginInfo {
        &self.info
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
    pub fn instance(self: &Arc<Self>) -> BatcherInstance {
        let (replace, replacement) = sync_channel(1);
        let live = self.start().ok();
        let mut instance = BatcherInstance {
            plugin: self.clone(),
            live,
            replace,
            replacement,
            rest: Rest::default(),
        };
        if instance.live.is_none() {
            instance.ask_for_replacement();
        }
        instance
    }

    fn unusable(&self, source: wasmtime::Error) -> PolicyError {
        PolicyError::Instantiate { plugin: self.name.to_string(), source }
    }

    /// A new instance, configured.
    pub(crate) fn start(&self) -> Result<Live, PolicyError> {
        let state = InstanceState::new(
            self.name.clone(),
            self.clock.clone(),
            self.spec.limits.memory_bytes,
            self.stats.log_lines_dropped.clone(),
        );
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| state);
        store.set_hostcall_fuel(HOSTCALL_FUEL);
        self.pulse.call_begins();
        store.set_epoch_deadline(SETUP_TICKS);
        let unusable = |source| self.unusable(source);
        let bindings = self.pre.instantiate(&mut store).map_err(unusable)?;
        let lifecycle = bindings.truststram_policy_lifecycle();
        let configured = lifecycle.call_configure(&mut store, &self.spec.settings_json);
        configured.map_err(unusable)?.map_err(|error| {
            use crate::v0_1_0::exports::truststram::policy::lifecycle::Error;
            let (Error::InvalidConfig(message)
            | Error::Unsupported(message)
            | Error::Internal(message)) = error;
            PolicyError::Settings { plugin: self.name.to_string(), message }
        })?;
        Ok(Live { store, bindings })
    }
}

/// One worker's instance of a plugin.
pub struct BatcherInstance {
    plugin: Arc<BatcherPlugin>,
    live: Option<Live>,
    replace: SyncSender<Live>,
    replacement: Receiver<Live>,
    rest: Rest,
}

impl BatcherInstance {
    /// Asks the plugin which requests run now.
    ///
    /// # Errors
    /// Why there is no decision; the caller decides by itself then.
    pub fn decide(&mut self, view: &BatchView) -> Result<BatchDecision, Refusal> {
        if !self.is_ready() {
            self.plugin.stats.unavailable.add(1);
            return Err(Refusal::Unavailable);
        }
        let result = self.call(view);
        let stats = &self.plugin.stats;
        let counter = match result {
            Ok(_) => {
                self.rest.succeeded();
                return result;
            }
            Err(Refusal::Trap) => &stats.traps,
            Err(Refusal::Deadline) => &stats.deadlines,
            Err(Refusal::Memory) => &stats.memory,
            Err(Refusal::Nonsense) => &stats.nonsense,
            Err(Refusal::Failed | Refusal::Unavailable) => &stats.failed,
        };
        counter.add(1);
        self.rest.failed(self.plugin.clock.monotonic_us());
        stats.resting.raise(1);
        let plugin = self.plugin.name();
        tracing::warn!(plugin, failure = ?result, "the native default decides");
        result
    }

    /// Waits until a replacement, if one is needed, is there; returns whether there is an instance.
    pub fn wait_ready(&mut self, timeout: Duration) -> bool {
        if self.live.is_none() {
            self.live = self.replacement.recv_timeout(timeout).ok();
        }
        self.live.is_some()
    }

    fn is_ready(&mut self) -> bool {
        if self.rest.is_resting() {
            if !self.rest.is_over(|| self.plugin.clock.monotonic_us()) {
                return false;
            }
            self.plugin.stats.resting.lower(1);
        }
        if self.live.is_none() {
            match self.replacement.try_recv() {
                Ok(live) => self.live = Some(live),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    fn call(&mut self, view: &BatchView) -> Result<BatchDecision, Refusal> {
        let Some(live) = &mut self.live else { return Err(Refusal::Unavailable) };
        let plugin = &self.plugin;
        plugin.stats.calls.add(1);
        plugin.pulse.call_begins();
        // One tick more, because the first one may come at once.
        let ticks = plugin.spec.limits.deadline_us.div_ceil(TICK_US) + 1;
        live.store.set_epoch_deadline(ticks);
        live.store.data_mut().growth_refused = false;
        let begun = Instant::now();
        let BatchView { queued, oldest_us, batch_max, target_us } = *view;
        let batching = live.bindings.truststram_policy_batching();
        let called = batching.call_decide(&mut live.store, queued, oldest_us, batch_max, target_us);
        let elapsed = begun.elapsed().as_nanos();
        plugin.stats.call_ns.observe(u64::try_from(elapsed).unwrap_or(u64::MAX));
        match called {
            Ok(answer) => {
                let decision = BatchDecision { take: answer.take, wait_us: answer.wait_us };
                check(view, decision).ok_or(Refusal::Nonsense)
            }
            Err(error) => {
                let refusal = match error.downcast_ref::<Trap>() {
                    Some(Trap::Interrupt) => Refusal::Deadline,
                    _ if live.store.data().growth_refused => Refusal::Memory,
                    Some(_) => Refusal::Trap,
                    None => Refusal::Failed,
                };
                // After a trap an instance cannot be entered again.
                self.live = None;
                self.ask_for_replacement();
                Err(refusal)
            }
        }
    }

    fn ask_for_replacement(&mut self) {
        let job = Job { plugin: self.plugin.clone(), place: self.replace.clone() };
        self.plugin.repairs.ask(job);
    }
}

impl Drop for BatcherInstance {
    fn drop(&mut self) {
        if self.rest.is_resting() {
            self.plugin.stats.resting.lower(1);
        }
    }
}

/// The decision, if it keeps the bounds that `batching.wit` states.
fn check(view: &BatchView, decision: BatchDecision) -> Option<BatchDecision> {
    let BatchDecision { take, wait_us } = decision;
    let runs = (1..=view.queued.min(view.batch_max)).contains(&take);
    let waits = take == 0 && (1..=view.target_us).contains(&wait_us);
    (runs || waits).then_some(decision)
}
