//! Owns one worker's instance of a plugin: the call with its deadline, the breaker, and the change
//! to a new instance when this one failed or its component was replaced.
//!
//! Refuses to answer for a plugin that fails: the caller's native default does. An instance that
//! trapped is dead; a new one is made by the repair thread, off the caller's path. Bound: one call
//! of the plugin's deadline; no lock while the plugin is well.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use wasmtime::{Store, Trap};

use crate::host::FUEL_MAX;
use crate::kind::{Called, Kind};
use crate::plugin::{Live, Plugin, message};
use crate::rest::Rest;
use crate::state::InstanceState;
use crate::stats::{Fault, Refusal};
use crate::v0_1_0::types;

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
}

impl<K: Kind> Instance<K> {
    pub(crate) fn new(plugin: Arc<Plugin<K>>) -> Self {
        let (replace, replacement) = sync_channel(1);
        let live = plugin.start(None).ok();
        let rest = Rest::default();
        let mut instance =
            Self { plugin, live, replace, replacement, awaits: false, rest, called: 0 };
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

    /// Makes one call and judges its answer.
    ///
    /// # Errors
    /// Why there is no decision; the caller decides by itself then.
    pub(crate) fn ask<T, D>(
        &mut self,
        call: impl FnOnce(&K::Bindings, &mut Store<InstanceState>) -> Called<T>,
        judge: impl FnOnce(T) -> Result<D, Fault>,
    ) -> Result<D, Refusal> {
        if !self.plugin.is_enabled() {
            return Err(Refusal::Disabled);
        }
        if !self.is_ready() {
            self.plugin.stats.unavailable.add(1);
            return Err(Refusal::Unavailable);
        }
        match self.call(call).and_then(judge) {
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
                let (plugin, reason) = (self.plugin.name(), &*fault.reason);
                tracing::warn!(plugin, failure = ?fault.refusal, reason, "its default decides");
                Err(fault.refusal)
            }
        }
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
                // On the path of a request: a snapshot has the time of a call.
                self.plugin.surroundings.pulse.call_begins(live.deadline_ticks());
                let state = live.snapshot();
                self.ask_for_replacement(state);
            }
            None => self.ask_for_replacement(None),
        }
    }

    fn take(&mut self, live: Option<Live<K>>) {
        self.awaits = false;
        match live {
            Some(live) => self.live = Some(live),
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
        call: impl FnOnce(&K::Bindings, &mut Store<InstanceState>) -> Called<T>,
    ) -> Result<T, Fault> {
        let plugin = &self.plugin;
        let Some(live) = &mut self.live else {
            let reason = "there is no instance".to_owned();
            return Err(Fault { refusal: Refusal::Unavailable, reason });
        };
        plugin.stats.calls.add(1);
        self.called = live.number;
        let ticks = live.deadline_ticks();
        plugin.surroundings.pulse.call_begins(ticks);
        live.store.set_epoch_deadline(ticks);
        live.store.data_mut().growth_refused = false;
        if plugin.surroundings.counts_fuel {
            // It cannot fail where instructions are counted.
            let _ = live.store.set_fuel(FUEL_MAX);
        }
        let begun = Instant::now();
        let called = call(&live.bindings, &mut live.store);
        let elapsed = begun.elapsed().as_nanos();
        plugin.stats.call_ns.observe(u64::try_from(elapsed).unwrap_or(u64::MAX));
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
        if self.rest.is_resting() {
            self.plugin.stats.resting.lower(1);
        }
    }
}

/// The decision, or the plugin's own error as a fault.
pub(crate) fn accepted<T>(answer: Result<T, types::Error>) -> Result<T, Fault> {
    answer.map_err(|error| Fault { refusal: Refusal::Declined, reason: message(error) })
}
