//! Owns one plugin of the running process, whatever its kind: which component it has, which is on
//! trial, and every change to that, in memory and on disk.
//!
//! A component that cannot be used never takes the place of one that can. Refuses to know threads:
//! whoever changes something calls from the loader's. Bound: one change at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use truststram_api::ports::{Install, InstallStage, PolicyAction, PolicyFailure};
use truststram_base::Kind;
use truststram_policy::{
    Host, Instance, Plugin, PluginSource, PluginSpec, PolicyError, PublicKey, Refusal, Rehearse,
    Run, Stage, rehearse,
};

use super::plugin_status::{self, Figures};
use crate::config::raw::OnFailure;
use crate::installed::{Entry, Record, Shelf, Tried};

/// Time that a question of a rehearsal may take: it is asked on a thread that gives way to all
/// others, so that its time says little; the median of all is held against the plugin's deadline.
const REHEARSAL_DEADLINE_US: u64 = 2_000_000;
/// How long a question of the operator waits for an instance.
const INSTANCE_WAIT: Duration = Duration::from_secs(5);

/// What every plugin of this process shares.
#[derive(Clone)]
pub struct Surroundings {
    /// The host of plugins.
    pub host: Arc<Host>,
    /// Who may sign.
    pub trusted_keys: Vec<PublicKey>,
    /// Whether a component that is installed needs a signature.
    pub require_signed: bool,
}

/// A plugin as the operator's side sees it.
pub trait Bound: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;
    /// Its component, whether it is asked, and how it answered.
    fn status(&self) -> Value;
    /// Its figures, and those of the component on trial.
    fn figures(&self) -> Figures<'_>;
    /// Puts a component to use.
    fn install(&self, install: Install) -> Result<(), PolicyFailure>;
    /// Changes it.
    fn act(&self, action: PolicyAction) -> Result<(), PolicyFailure>;
    /// Asks it a question of its kind.
    fn ask(&self, question: Value) -> Result<Value, PolicyFailure>;
    /// A recorded run for people.
    fn show_run(&self, run: &[u8]) -> Value;
}

/// A plugin of kind `K`.
pub struct Binding<K: Rehearse> {
    surroundings: Surroundings,
    plugin: Arc<Plugin<K>>,
    /// What the configuration names.
    configured: PluginSpec,
    on_failure: OnFailure,
    shelf: Shelf,
    record: Mutex<Record>,
    /// What the operator asks.
    asked: Mutex<Option<Instance<K>>>,
}

impl<K: Rehearse> Binding<K> {
    /// Loads what was installed, or else what the configuration names. An installed component that
    /// cannot be used any more is reported, and the configured one serves.
    ///
    /// # Errors
    /// What is wrong with the configured one.
    pub fn start(
        surroundings: Surroundings,
        configured: PluginSpec,
        on_failure: OnFailure,
        shelf: Shelf,
    ) -> Result<Self, PolicyError> {
        let fresh = Entry { sha256: None, settings_json: configured.settings_json.clone() };
        let record = shelf.read().unwrap_or_else(|error| {
            tracing::error!(%error, plugin = configured.name, "its record cannot be read");
            None
        });
        let record = record.unwrap_or_else(|| Record::new(fresh));
        let plugin = surroundings.host.load::<K>(&configured)?;
        let (asked, record) = (Mutex::new(None), Mutex::new(record));
        let binding = Self { surroundings, plugin, configured, on_failure, shelf, record, asked };
        let record = binding.record();
        if let Err(error) = binding.restore(&record) {
            tracing::error!(%error, "the installed plugin cannot be used; the configured serves");
        }
        if let Some(Tried { entry, stage }) = &record.trial {
            let spec = binding.spec_of(entry);
            if let Err(error) = binding.surroundings.host.try_out(&binding.plugin, &spec, *stage) {
                tracing::warn!(%error, "the plugin on trial cannot be tried");
            }
        }
        binding.plugin.set_enabled(record.enabled);
        Ok(binding)
    }

    /// The plugin.
    pub fn plugin(&self) -> &Arc<Plugin<K>> {
        &self.plugin
    }

    fn spec(&self, source: PluginSource, settings_json: &str) -> PluginSpec {
        let settings_json = settings_json.to_owned();
        PluginSpec { source, settings_json, ..self.configured.clone() }
    }

    fn spec_of(&self, entry: &Entry) -> PluginSpec {
        match &entry.sha256 {
            None => self.configured.clone(),
            Some(sha256) => {
                let file = PluginSource::File(self.shelf.component(sha256));
                self.spec(file, &entry.settings_json)
            }
        }
    }

    /// Brings the plugin from the configured component to what the record says.
    fn restore(&self, record: &Record) -> Result<(), PolicyError> {
        if record.current.sha256.is_none() && record.previous.is_none() {
            return Ok(());
        }
        let host = &self.surroundings.host;
        if let Some(previous) = &record.previous
            && let Err(error) = host.replace(&self.plugin, &self.spec_of(previous))
        {
            tracing::warn!(%error, "there is nothing to roll back to");
        }
        host.replace(&self.plugin, &self.spec_of(&record.current))
    }

    fn check_signature(&self, install: &Install) -> Result<(), PolicyFailure> {
        match &install.signature {
            Some(signature) => {
                let mut keys = self.surroundings.trusted_keys.iter();
                match keys.any(|key| key.has_signed(&install.component, signature)) {
                    true => Ok(()),
                    false => refused("no key of `policy.trusted_keys` made this signature"),
                }
            }
            None if self.surroundings.require_signed => refused(
                "`policy.require_signed` is on and the component has no signature; see \
                 `truststram plugin sign`",
            ),
            None => Ok(()),
        }
    }

    /// Has a component answer the questions of a rehearsal.
    fn rehearse(&self, spec: &PluginSpec) -> Result<(), PolicyFailure> {
        let mut patient = spec.clone();
        patient.limits.deadline_us = REHEARSAL_DEADLINE_US.max(spec.limits.deadline_us);
        // On a plugin of its own, so that its failures are not those of the one in use.
        let tried = self.surroundings.host.load::<K>(&patient).map_err(of_policy)?;
        let wrong = match rehearse(&mut [tried.instance(), tried.instance()]) {
            Err(reason) => reason,
            Ok(rehearsed) => match rehearsed.question_ns_p50.div_ceil(1_000) {
                us if us <= spec.limits.deadline_us => return Ok(()),
                us => format!(
                    "half of them took {us} us or more, and `limits.deadline_us` is {}",
                    spec.limits.deadline_us
                ),
            },
        };
        refused(&format!(
            "the component failed the questions that it is asked first: {wrong}; `truststram \
             plugin check` shows more, `force` installs it all the same"
        ))
    }

    fn record(&self) -> Record {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes the record that belongs to what was just put to use; where that fails, what was
    /// before is put back.
    fn put(&self, record: Record) -> Result<(), PolicyFailure> {
        let written = self.write(record);
        if written.is_err() {
            self.plugin.roll_back();
        }
        written
    }

    fn write(&self, record: Record) -> Result<(), PolicyFailure> {
        self.shelf.write(&record).map_err(of_disk)?;
        *self.record.lock().unwrap_or_else(PoisonError::into_inner) = record;
        Ok(())
    }

    fn promote(&self) -> Result<(), PolicyFailure> {
        let record = self.record();
        let (Some(trial), true) = (record.trial, self.plugin.promote()) else {
            return conflict("there is no component on trial; see `plugin install --stage`");
        };
        self.put(Record {
            enabled: record.enabled,
            current: trial.entry,
            previous: Some(record.current),
            trial: None,
        })
    }
}

impl<K: Rehearse> Bound for Binding<K> {
    fn name(&self) -> &str {
        self.plugin.name()
    }

    fn status(&self) -> Value {
        let is_pooling = self.surroundings.host.uses_pooling();
        plugin_status::of(&self.plugin, self.on_failure, is_pooling)
    }

    fn figures(&self) -> Figures<'_> {
        Figures::of(&self.plugin)
    }

    fn install(&self, install: Install) -> Result<(), PolicyFailure> {
        self.check_signature(&install)?;
        let component: Arc<[u8]> = install.component.into();
        let spec = self.spec(PluginSource::Bytes(component.clone()), &install.settings_json);
        if install.force {
            // Whether it can be used at all is known before anything is kept on disk.
            self.surroundings.host.load::<K>(&spec).map_err(of_policy)?;
        } else {
            self.rehearse(&spec)?;
        }
        let sha256 = truststram_policy::sha256(&component);
        self.shelf.keep(&sha256, &component).map_err(of_disk)?;
        let entry = Entry { sha256: Some(sha256), settings_json: install.settings_json };
        let host = &self.surroundings.host;
        let record = self.record();
        let stage = match install.stage {
            InstallStage::Use => {
                host.replace(&self.plugin, &spec).map_err(of_policy)?;
                let previous = Some(record.current);
                return self.put(Record { current: entry, previous, ..record });
            }
            InstallStage::Shadow => Stage::Shadow,
            InstallStage::Canary(share) => Stage::Canary(share),
        };
        host.try_out(&self.plugin, &spec, stage).map_err(of_policy)?;
        let written = self.write(Record { trial: Some(Tried { entry, stage }), ..record });
        if written.is_err() {
            self.plugin.end_trial();
        }
        written
    }

    fn act(&self, action: PolicyAction) -> Result<(), PolicyFailure> {
        let (plugin, record) = (&self.plugin, self.record());
        match action {
            PolicyAction::Enable | PolicyAction::Disable => {
                let enabled = action == PolicyAction::Enable;
                plugin.set_enabled(enabled);
                self.write(Record { enabled, ..record })
            }
            PolicyAction::RollBack => {
                if !plugin.roll_back() {
                    return conflict("there is no earlier component to go back to");
                }
                let current = record.previous.unwrap_or_else(|| record.current.clone());
                let previous = Some(record.current);
                self.put(Record { current, previous, ..record })
            }
            PolicyAction::Promote => self.promote(),
            PolicyAction::Discard => {
                if !plugin.end_trial() {
                    return conflict("there is no component on trial");
                }
                self.write(Record { trial: None, ..record })
            }
            PolicyAction::Remove => {
                let host = &self.surroundings.host;
                host.replace(plugin, &self.configured).map_err(of_policy)?;
                plugin.end_trial();
                let settings_json = self.configured.settings_json.clone();
                let fresh = Entry { sha256: None, settings_json };
                self.put(Record { enabled: record.enabled, ..Record::new(fresh) })
            }
        }
    }

    fn ask(&self, question: Value) -> Result<Value, PolicyFailure> {
        let question: K::Question = serde_json::from_value(question).map_err(|error| {
            let detail = format!("this is no question for the kind `{}`: {error}", K::NAME);
            PolicyFailure { kind: Kind::Invalid, detail }
        })?;
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let instance = asked.get_or_insert_with(|| self.plugin.instance());
        instance.wait_ready(INSTANCE_WAIT);
        match K::ask(instance, &question) {
            Ok(answer) => Ok(json!({ "answer": answer })),
            Err(refusal) => Err(self.unanswered(refusal)),
        }
    }

    fn show_run(&self, run: &[u8]) -> Value {
        let Some(run) = Run::<K>::decode(run) else { return json!("another kind, or damaged") };
        let decisions: Vec<Value> = run
            .decisions
            .iter()
            .map(|decided| {
                let mut shown = json!({
                    "question": decided.question,
                    "elapsed_ns": decided.elapsed_ns,
                });
                let (key, value) = match &decided.answer {
                    Ok(answer) => ("answer", json!(answer)),
                    Err(refusal) => ("refusal", json!(refusal)),
                };
                shown[key] = value;
                shown
            })
            .collect();
        json!({
            "sha256": run.sha256,
            "settings": serde_json::from_str::<Value>(&run.settings_json).ok(),
            "begun_us": run.begun_us,
            "decisions": decisions,
        })
    }
}

impl<K: Rehearse> Binding<K> {
    fn unanswered(&self, refusal: Refusal) -> PolicyFailure {
        let last = self.plugin.stats().last_error().unwrap_or_default();
        let (kind, detail) = match refusal {
            Refusal::Disabled => (Kind::Conflict, "the plugin is switched off".to_owned()),
            Refusal::Declined => (Kind::Invalid, format!("the plugin declines: {last}")),
            Refusal::Unavailable => {
                (Kind::Unavailable, format!("the plugin rests after a failure: {last}"))
            }
            refusal => (Kind::Internal, format!("the plugin failed ({refusal:?}): {last}")),
        };
        PolicyFailure { kind, detail }
    }
}

fn refused<T>(detail: &str) -> Result<T, PolicyFailure> {
    Err(PolicyFailure { kind: Kind::Invalid, detail: detail.to_owned() })
}

fn conflict<T>(detail: &str) -> Result<T, PolicyFailure> {
    Err(PolicyFailure { kind: Kind::Conflict, detail: detail.to_owned() })
}

fn of_policy(error: PolicyError) -> PolicyFailure {
    PolicyFailure { kind: error.kind(), detail: error.to_string() }
}

fn of_disk(error: std::io::Error) -> PolicyFailure {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull => Kind::NoSpace,
        _ => Kind::Internal,
    };
    PolicyFailure { kind, detail: format!("the plugin cannot be kept on disk: {error}") }
}
