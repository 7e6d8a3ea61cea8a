//! Owns the plugins of the running process by name, and the way of the operator's changes and
//! questions to them.
//!
//! Refuses to run a change on a network thread: the loader's does, and the reader's reads what was
//! recorded. Bound: one change at a time; the queues of both.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, ready};
use serde_json::Value;
use truststram_api::ports::{Install, Policies, PolicyAction, PolicyFailure, RecordedRuns};
use truststram_policy::{
    Aggregator, Batcher, DecisionLog, Host, Kernel, Placer, Plugin, PolicyError, Rehearse, Router,
    Selector, Tuner,
};
use truststram_store::Store;

use super::background::Background;
use super::binding::{Binding, Bound, Surroundings};
use super::decisions::{self, Decisions};
use super::sink::failure_of;
use crate::config::Plan;
use crate::config::plan::PluginPlan;
use crate::config::raw::PluginKind;
use crate::federation::Plugins;
use crate::installed::Shelf;

/// The plugins before anything is served.
pub struct OpenPolicies {
    batcher: Arc<Plugin<Batcher>>,
    rounds: Plugins,
    bound: Vec<Arc<dyn Bound>>,
    decisions: Option<Arc<Decisions>>,
}

impl OpenPolicies {
    /// Loads every plugin of the plan; what they decide is recorded in `store`, if the plan says
    /// so.
    ///
    /// # Errors
    /// What is wrong with a plugin that the configuration names.
    pub fn start(host: Arc<Host>, plan: &Plan, store: &Arc<Store>) -> Result<Self, PolicyError> {
        let surroundings = Surroundings {
            host,
            trusted_keys: plan.trusted_keys.clone(),
            require_signed: plan.require_signed,
        };
        let runs_max = u64::from(plan.policy.recorded_runs_max);
        let decisions = match runs_max {
            0 => None,
            runs_max => Some(Arc::new(Decisions::start(store.clone(), runs_max)?)),
        };
        let opening = Opening { surroundings, plan, decisions: decisions.clone() };
        let batcher = opening.bind::<Batcher>(&plan.batcher)?;
        let plugin = batcher.plugin().clone();
        let mut bound: Vec<Arc<dyn Bound>> = vec![batcher];
        let mut rounds = Plugins::default();
        for other in &plan.other_plugins {
            bound.push(match other.kind {
                PluginKind::Aggregator => {
                    let binding = opening.bind::<Aggregator>(other)?;
                    rounds.aggregator.get_or_insert_with(|| binding.plugin().clone());
                    binding
                }
                PluginKind::Batcher => opening.bind::<Batcher>(other)?,
                PluginKind::Kernel => opening.bind::<Kernel>(other)?,
                PluginKind::Placer => opening.bind::<Placer>(other)?,
                PluginKind::Router => opening.bind::<Router>(other)?,
                PluginKind::Selector => {
                    let binding = opening.bind::<Selector>(other)?;
                    rounds.selector.get_or_insert_with(|| binding.plugin().clone());
                    binding
                }
                PluginKind::Tuner => opening.bind::<Tuner>(other)?,
            });
        }
        Ok(Self { batcher: plugin, rounds, bound, decisions })
    }

    /// The batcher of all models.
    pub fn batcher(&self) -> &Arc<Plugin<Batcher>> {
        &self.batcher
    }

    /// Those that decide about rounds of a federation: the first of each kind.
    pub fn rounds(&self) -> &Plugins {
        &self.rounds
    }

    /// All of them.
    pub fn bound(&self) -> &[Arc<dyn Bound>] {
        &self.bound
    }

    /// What records their decisions.
    pub fn decisions(&self) -> Option<&Arc<Decisions>> {
        self.decisions.as_ref()
    }

    /// The plugins as the API reaches them.
    pub fn serve(
        self,
        loader: Arc<Background>,
        reader: Arc<Background>,
        store: Arc<Store>,
    ) -> ServedPolicies {
        ServedPolicies { loader, reader, store, bound: self.bound, decisions: self.decisions }
    }
}

/// What it takes to bind a plugin.
struct Opening<'a> {
    surroundings: Surroundings,
    plan: &'a Plan,
    decisions: Option<Arc<Decisions>>,
}

impl Opening<'_> {
    fn bind<K: Rehearse>(&self, plugin: &PluginPlan) -> Result<Arc<Binding<K>>, PolicyError> {
        let spec = plugin.spec.clone();
        let shelf = Shelf::new(&self.plan.data_dir, &spec.name);
        let binding =
            Binding::<K>::start(self.surroundings.clone(), spec, plugin.on_failure, shelf)?;
        if let Some(decisions) = &self.decisions {
            let log: Arc<dyn DecisionLog> = decisions.clone();
            let every = Duration::from_millis(self.plan.policy.record_every_ms.into());
            binding.plugin().record(log, every);
        }
        Ok(Arc::new(binding))
    }
}

/// The plugins while the process serves.
pub struct ServedPolicies {
    loader: Arc<Background>,
    reader: Arc<Background>,
    store: Arc<Store>,
    bound: Vec<Arc<dyn Bound>>,
    decisions: Option<Arc<Decisions>>,
}

type Answered<T> = BoxFuture<'static, Result<T, PolicyFailure>>;

impl ServedPolicies {
    /// Runs something with the plugin `name` on a background thread.
    fn with<T: Send + 'static>(
        &self,
        thread: &Background,
        name: &str,
        work: impl FnOnce(&dyn Bound) -> Result<T, PolicyFailure> + Send + 'static,
    ) -> Answered<T> {
        let Some(bound) = self.bound.iter().find(|bound| bound.name() == name) else {
            return ready(Err(PolicyFailure::unknown(name, &self.list()))).boxed();
        };
        let bound = bound.clone();
        let done = thread.run(move || work(&*bound));
        done.map(|done| done.unwrap_or_else(|failure| Err(failure.into()))).boxed()
    }
}

impl Policies for ServedPolicies {
    fn list(&self) -> Vec<Value> {
        self.bound.iter().map(|bound| bound.status()).collect()
    }

    fn install(&self, name: String, install: Install) -> Answered<Value> {
        self.with(&self.loader, &name, move |bound| {
            bound.install(install)?;
            Ok(bound.status())
        })
    }

    fn act(&self, name: String, action: PolicyAction) -> Answered<Value> {
        self.with(&self.loader, &name, move |bound| {
            bound.act(action)?;
            Ok(bound.status())
        })
    }

    fn ask(&self, name: String, question: Value) -> Answered<Value> {
        self.with(&self.loader, &name, move |bound| bound.ask(question))
    }

    fn decisions(&self, name: String, limit: usize) -> Answered<RecordedRuns> {
        let (store, recorder) = (self.store.clone(), self.decisions.clone());
        self.with(&self.reader, &name, move |bound| {
            if let Some(recorder) = &recorder {
                recorder.flush();
            }
            let runs = store
                .decisions(bound.name(), limit)
                .map_err(|error| PolicyFailure::from(failure_of(&error)))?;
            let shown = runs.iter().map(|run| bound.show_run(run)).collect();
            Ok(RecordedRuns { frames: decisions::join(&runs), shown })
        })
    }
}
