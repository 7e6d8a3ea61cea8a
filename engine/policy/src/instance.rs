//! Owns one worker's instance of a plugin: the call with its deadline, the breaker, and the change
//! to a new instance when this one failed or its component was replaced.
//!
//! Refuses to answer for a plugin that fails: the caller's native default does. An instance that
//! trapped is dead; a new one is made by the repair thread, off the caller's path. Bound: one call
//! of the plugin's deadline; no lock while the plugin is well.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use wasmtime::{Store, Trap};

use crate::host::FUEL_MAX;
use crate::kind::{Called, Kind};
use crate::plugin::{Live, Plugin, message};
use crate::recorder::{Decided, Run};
use crate::rest::Rest;
use crate::state::InstanceState;
use crate::stats::{Fault, Refusal};
use crate::trial::OnTrial;
use crate::v0_1_0::types;

/// How a question stands to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Complete in itself.
    Alone,
    /// Says something that later questions build on; every component has to hear it.
    Push,
    /// Builds on what was pushed.
    Follows,
}

/// One worker's instance of a plugin.
pub struct Instance<K: Kind> {
    plugin: Arc<Plugin<K>>,
    live: Option<Live<K>>,
    replace: SyncSender<Option<Live<K>>>,
    replacement: Receiver<Option<Live<K>>>,
    /// A replacement was asked for and has not come yet.
    awaits: bool,
    rest: Rest,
    /// The number of the exchange whose component was called last.
    called: u64,
    /// The component on trial beside this one, and the number of the trial.
    trial: Option<Box<OnTrial<K>>>,
    trial_number: u64,
    /// What is being recorded.
    run: Option<Box<Run<K>>>,
    /// Time of the latest call, until it is noted; none if the latest question was put to another.
    elapsed_ns: Option<u64>,
}

impl<K: Kind> Instance<K> {
    pub(crate) fn new(plugin: Arc<Plugin<K>>) -> Self {
        let live = plugin.start(None).ok();
        Self::with(plugin, live)
    }

    /// An instance that is made by the repair thread; until then it is unavailable.
    pub(crate) fn awaited(plugin: Arc<Plugin<K>>) -> Self {
        Self::with(plugin, None)
    }

    pub(crate) fn with(plugin: Arc<Plugin<K>>, live: Option<Live<K>>) -> Self {
        let (replace, replacement) = sync_channel(1);
        let mut instance = Self {
            plugin,
            live,
            replace,
            replacement,
            awaits: false,
            rest: Rest::default(),
            called: 0,
            trial: None,
            trial_number: 0,
            run: None,
            elapsed_ns: None,
        };
        if instance.live.is_none() {
            instance.ask_for_replacement(None);
        }
        instance
    }

    /// The plugin.
    pub fn plugin(&self) -> &Arc<Plugin<K>> {
        &self.plugin
    }

    /// Waits until a replacement, if one is needed, is there; returns whether there is an instance
    /// of the present component.
    pub fn wait_ready(&mut self, timeout: Duration) -> bool {
        self.follow_component();
        if self.awaits
            && let Ok(live) = self.replacement.recv_timeout(timeout)
        {
            self.take(live);
        }
        self.live.as_ref().is_some_and(|live| live.number == self.plugin.number())
    }

    /// Makes one call and judges its answer; where another component is on trial, perhaps of that
    /// one, or of both.
    ///
    /// # Errors
    /// Why there is no decision; the caller decides by itself then.
    pub(crate) fn ask<T, D: Debug + PartialEq>(
        &mut self,
        part: Part,
        call: impl Fn(&K::Bindings, &mut Store<InstanceState>) -> Called<T>,
        judge: impl Fn(T) -> Result<D, Fault>,
    ) -> Result<D, Refusal> {
        self.elapsed_ns = None;
        if !self.plugin.is_enabled() {
            return Err(Refusal::Disabled);
        }
        if self.trial_number != self.plugin.trial_number() {
            self.follow_trial();
        }
        let Some(mut trial) = self.trial.take() else { return self.ask_own(part, &call, &judge) };
        let answer = trial.ask(self, part, &call, &judge);
        self.trial = Some(trial);
        answer
    }

    /// The same of this component alone.
    pub(crate) fn ask_own<T, D>(
        &mut self,
        part: Part,
        call: &impl Fn(&K::Bindings, &mut Store<InstanceState>) -> Called<T>,
        judge: &impl Fn(T) -> Result<D, Fault>,
    ) -> Result<D, Refusal> {
        if !self.is_ready() {
            self.plugin.stats.unavailable.add(1);
            return Err(Refusal::Unavailable);
        }
        match self.call(part, call).and_then(judge) {
            Ok(decision) => {
                self.rest.succeeded();
                Ok(decision)
            }
            Err(fault) => {
                self.plugin.stats.count(&fault);
                // To say that it cannot decide this is an answer: the next question may suit it.
                if fault.refusal == Refusal::Declined {
                    return Err(fault.refusal);
                }
                self.rest();
                let (plugin, reason, failure) = (self.plugin.name(), &*fault.reason, fault.refusal);
                tracing::warn!(plugin, ?failure, reason, "a plugin fails to decide");
                Err(fault.refusal)
            }
        }
    }

    /// Records the latest question, if a run is open and it was put to this component.
    pub(crate) fn note<D>(
        &mut self,
        question: impl FnOnce() -> K::Question,
        answer: &Result<D, Refusal>,
        kept: impl FnOnce(&D) -> K::Answer,
    ) {
        let Some(run) = &mut self.run else { return };
        let Some(elapsed_ns) = self.elapsed_ns.take() else { return };
        let answer = answer.as_ref().map(kept).map_err(|refusal| *refusal);
        let is_over = !matches!(answer, Ok(_) | Err(Refusal::Declined));
        run.decisions.push(Decided { question: question(), answer, elapsed_ns });
        if is_over || run.decisions.len() >= K::RUN_QUESTIONS {
            self.end_run();
        }
    }

    fn end_run(&mut self) {
        let Some(run) = self.run.take().filter(|run| !run.decisions.is_empty()) else { return };
        if let Some(recording) = self.plugin.recording()
            && !recording.keep(self.plugin.name(), &run)
        {
            self.plugin.stats.runs_dropped.add(1);
        }
    }

    /// Opens a run if one is due, with what the instance has learnt; returns whether it did.
    fn begin_run(&mut self, part: Part, now: Instant) -> bool {
        if self.run.is_some() || part == Part::Follows || K::RUN_QUESTIONS == 0 {
            return false;
        }
        let plugin = &self.plugin;
        let is_due = plugin.recording().is_some_and(|recording| recording.is_due(now));
        let Some(live) = self.live.as_mut().filter(|_| is_due) else { return false };
        let Ok(state) = live.snapshot(&plugin.surroundings.pulse) else {
            // It is dead now, and would be each time.
            plugin.stop_recording();
            let reason = "its `snapshot` failed: its decisions are not recorded".to_owned();
            plugin.stats.count(&Fault { refusal: Refusal::Trap, reason });
            self.live = None;
            self.ask_for_replacement(None);
            return true;
        };
        self.run = Some(Box::new(Run {
            kind: K::NAME.to_owned(),
            sha256: live.version.sha256.clone(),
            settings_json: live.version.spec.settings_json.clone(),
            begun_us: plugin.surroundings.clock.utc_us(),
            seed: live.store.data().seed,
            state,
            decisions: Vec::with_capacity(K::RUN_QUESTIONS),
        }));
        true
    }

    /// Begins or ends to ask a component on trial.
    fn follow_trial(&mut self) {
        let (number, trial) = self.plugin.numbered_trial();
        self.trial_number = number;
        self.trial = trial.map(|trial| Box::new(OnTrial::new(trial)));
    }

    fn is_ready(&mut self) -> bool {
        if self.rest.is_resting() {
            if self.called != self.plugin.number() {
                // Another component took its place: that one has not failed.
                self.rest = Rest::default();
            } else if !self.rest.is_over(|| self.plugin.surroundings.clock.monotonic_us()) {
                return false;
            }
            self.plugin.stats.resting.lower(1);
        }
        self.follow_component();
        self.live.is_some()
    }

    fn rest(&mut self) {
        self.rest.failed(self.plugin.surroundings.clock.monotonic_us());
        self.plugin.stats.resting.raise(1);
    }

    /// Takes a replacement that has come; asks for one when the component was replaced.
    fn follow_component(&mut self) {
        if self.awaits {
            if let Ok(live) = self.replacement.try_recv() {
                self.take(live);
            }
            return;
        }
        let number = self.plugin.number();
        match &mut self.live {
            Some(live) if live.number == number => {}
            Some(live) => {
                let state = live.snapshot(&self.plugin.surroundings.pulse);
                let state = state.ok().filter(|state| !state.is_empty());
                self.ask_for_replacement(state);
            }
            None => self.ask_for_replacement(None),
        }
    }

    fn take(&mut self, live: Option<Live<K>>) {
        self.awaits = false;
        match live {
            Some(live) => {
                self.end_run();
                self.live = Some(live);
            }
            // It cannot even be started; it is tried again after a rest.
            None if !self.rest.is_resting() => {
                self.called = self.plugin.number();
                self.rest();
            }
            None => {}
        }
    }

    fn call<T>(
        &mut self,
        part: Part,
        call: &impl Fn(&K::Bindings, &mut Store<InstanceState>) -> Called<T>,
    ) -> Result<T, Fault> {
        let mut begun = Instant::now();
        if self.begin_run(part, begun) {
            begun = Instant::now();
        }
        let plugin = &self.plugin;
        let Some(live) = &mut self.live else {
            let reason = "there is no instance".to_owned();
            return Err(Fault { refusal: Refusal::Unavailable, reason });
        };
        plugin.stats.calls.add(1);
        self.called = live.number;
        let ticks = live.deadline_ticks(&plugin.surroundings.pulse);
        plugin.surroundings.pulse.call_begins(ticks);
        live.store.set_epoch_deadline(ticks);
        live.store.data_mut().growth_refused = false;
        if plugin.surroundings.counts_fuel {
            // It cannot fail where instructions are counted.
            let _ = live.store.set_fuel(FUEL_MAX);
        }
        let called = call(&live.bindings, &mut live.store);
        let elapsed_ns = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.elapsed_ns = Some(elapsed_ns);
        plugin.stats.call_ns.observe(elapsed_ns);
        if plugin.surroundings.counts_fuel {
            let left = live.store.get_fuel().unwrap_or(FUEL_MAX);
            plugin.stats.fuel.add(FUEL_MAX.saturating_sub(left));
        }
        let error = match called {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let refusal = match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt | Trap::OutOfFuel) => Refusal::Deadline,
            _ if live.store.data().growth_refused => Refusal::Memory,
            Some(_) => Refusal::Trap,
            None => Refusal::Failed,
        };
        // After a trap an instance cannot be entered again.
        self.live = None;
        if !self.awaits {
            self.ask_for_replacement(None);
        }
        Err(Fault { refusal, reason: format!("{:#}", error.root_cause()) })
    }

    fn ask_for_replacement(&mut self, state: Option<Vec<u8>>) {
        let (plugin, place) = (self.plugin.clone(), self.replace.clone());
        self.awaits = self.plugin.surroundings.repairs.ask(Box::new(move || {
            let started = plugin.start(state.as_deref());
            if let Err(error) = &started {
                tracing::error!(%error, "a plugin instance cannot be replaced");
            }
            // The worker may have ended meanwhile.
            let _ = place.try_send(started.ok());
        }));
    }
}

impl<K: Kind> Drop for Instance<K> {
    fn drop(&mut self) {
        self.end_run();
        if self.rest.is_resting() {
            self.plugin.stats.resting.lower(1);
        }
    }
}

/// The decision, or the plugin's own error as a fault.
pub(crate) fn accepted<T>(answer: Result<T, types::Error>) -> Result<T, Fault> {
    answer.map_err(|error| Fault { refusal: Refusal::Declined, reason: message(error) })
}
