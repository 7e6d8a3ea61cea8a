//! Owns the plugins of the running process: which component each binding has, and every change to
//! that, in memory and on disk.
//!
//! Refuses to run a change on a network thread: the loader's does. A component that cannot be used
//! never takes the place of one that can. Bound: one change at a time; the loader's queue.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{BoxFuture, FutureExt, ready};
use serde_json::Value;
use truststram_api::ports::{Install, Policies, PolicyAction, PolicyFailure};
use truststram_base::Kind;
use truststram_policy::{
    Batcher, Host, Plugin, PluginSource, PluginSpec, PolicyError, PublicKey, rehearse,
};

use super::background::Background;
use super::operate::{self, Parts};
use crate::config::Plan;
use crate::installed::{Entry, Record, Shelf};

/// The plugins before anything is served.
pub struct OpenPolicies {
    host: Arc<Host>,
    batcher: Arc<Plugin<Batcher>>,
    binding: Binding,
}

/// What the changes of one plugin need to know.
struct Binding {
    /// What the configuration names.
    configured: PluginSpec,
    shelf: Shelf,
    record: Mutex<Record>,
    trusted_keys: Vec<PublicKey>,
    require_signed: bool,
}

impl OpenPolicies {
    /// Loads what was installed, or else what the configuration names. An installed component that
    /// cannot be used any more is reported, and the configured one serves.
    ///
    /// # Errors
    /// What is wrong with the configured one.
    pub fn start(host: Arc<Host>, plan: &Plan) -> Result<Self, PolicyError> {
        let configured = plan.batcher.clone();
        let shelf = Shelf::new(&plan.data_dir, &configured.name);
        let fresh = Entry { sha256: None, settings_json: configured.settings_json.clone() };
        let record = shelf.read().unwrap_or_else(|error| {
            tracing::error!(%error, plugin = configured.name, "its record cannot be read");
            None
        });
        let record = record.unwrap_or(Record { enabled: true, current: fresh, previous: None });
        let binding = Binding {
            configured,
            shelf,
            record: Mutex::new(record.clone()),
            trusted_keys: plan.trusted_keys.clone(),
            require_signed: plan.require_signed,
        };
        let batcher = host.load::<Batcher>(&binding.configured)?;
        if let Err(error) = binding.restore(&host, &batcher, &record) {
            tracing::error!(%error, "the installed plugin cannot be used; the configured serves");
        }
        batcher.set_enabled(record.enabled);
        Ok(Self { host, batcher, binding })
    }

    /// The host of plugins.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The batcher.
    pub fn batcher(&self) -> &Arc<Plugin<Batcher>> {
        &self.batcher
    }

    /// The plugins as the API reaches them.
    pub fn serve(self, loader: Arc<Background>, parts: Arc<Parts>) -> ServedPolicies {
        ServedPolicies { loader, parts, binding: Arc::new(self.binding) }
    }
}

impl Binding {
    fn spec(&self, source: PluginSource, settings_json: &str) -> PluginSpec {
        let settings_json = settings_json.to_owned();
        PluginSpec { source, settings_json, ..self.configured.clone() }
    }

    /// Brings the plugin from the configured component to what the record says.
    fn restore(
        &self,
        host: &Host,
        plugin: &Plugin<Batcher>,
        record: &Record,
    ) -> Result<(), PolicyError> {
        let spec = |entry: &Entry| match &entry.sha256 {
            None => self.configured.clone(),
            Some(sha256) => {
                let file = PluginSource::File(self.shelf.component(sha256));
                self.spec(file, &entry.settings_json)
            }
        };
        if record.current.sha256.is_none() && record.previous.is_none() {
            return Ok(());
        }
        if let Some(previous) = &record.previous
            && let Err(error) = host.replace(plugin, &spec(previous))
        {
            tracing::warn!(%error, "there is nothing to roll back to");
        }
        host.replace(plugin, &spec(&record.current))
    }

    fn check_signature(&self, install: &Install) -> Result<(), PolicyFailure> {
        let refused =
            |detail: &str| Err(PolicyFailure { kind: Kind::Invalid, detail: detail.to_owned() });
        match &install.signature {
            Some(signature) => {
                let mut keys = self.trusted_keys.iter();
                match keys.any(|key| key.has_signed(&install.component, signature)) {
                    true => Ok(()),
                    false => refused("no key of `policy.trusted_keys` made this signature"),
                }
            }
            None if self.require_signed => refused(
                "`policy.require_signed` is on and the component has no signature; see \
                 `truststram plugin sign`",
            ),
            None => Ok(()),
        }
    }

    fn install(&self, parts: &Parts, install: Install) -> Result<(), PolicyFailure> {
        self.check_signature(&install)?;
        let component: Arc<[u8]> = install.component.into();
        let spec = self.spec(PluginSource::Bytes(component.clone()), &install.settings_json);
        // On a plugin of its own, so that its failures are not those of the one in use.
        let tried = parts.plugins.load::<Batcher>(&spec).map_err(of_policy)?;
        if !install.force {
            rehearse(&mut [tried.instance(), tried.instance()]).map_err(|reason| {
                PolicyFailure {
                    kind: Kind::Invalid,
                    detail: format!(
                        "the component failed the questions that it is asked first: {reason}; \
                     `truststram plugin check` shows more, `force` installs it all the same"
                    ),
                }
            })?;
        }
        let current = Entry { sha256: Some(tried.sha256()), settings_json: install.settings_json };
        self.shelf.keep(&tried.sha256(), &component).map_err(of_disk)?;
        parts.plugins.replace(&parts.batcher, &spec).map_err(of_policy)?;
        let previous = Some(self.record().current);
        self.put(parts, |record| Record { current, previous, ..record })
    }

    fn act(&self, parts: &Parts, action: PolicyAction) -> Result<(), PolicyFailure> {
        let plugin = &parts.batcher;
        match action {
            PolicyAction::Enable | PolicyAction::Disable => {
                let enabled = action == PolicyAction::Enable;
                plugin.set_enabled(enabled);
                self.write(Record { enabled, ..self.record() })
            }
            PolicyAction::RollBack => {
                if !plugin.roll_back() {
                    let detail = "there is no earlier component to go back to".to_owned();
                    return Err(PolicyFailure { kind: Kind::Conflict, detail });
                }
                self.put(parts, |record| {
                    let (current, previous) = (record.current, record.previous);
                    let swapped = previous.unwrap_or_else(|| current.clone());
                    Record { enabled: record.enabled, current: swapped, previous: Some(current) }
                })
            }
            PolicyAction::Remove => {
                parts.plugins.replace(plugin, &self.configured).map_err(of_policy)?;
                let settings_json = self.configured.settings_json.clone();
                let current = Entry { sha256: None, settings_json };
                self.put(parts, |record| Record { current, previous: None, ..record })
            }
        }
    }

    fn record(&self) -> Record {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes the record that belongs to what was just put to use; where that fails, what was
    /// before is put back.
    fn put(
        &self,
        parts: &Parts,
        change: impl FnOnce(Record) -> Record,
    ) -> Result<(), PolicyFailure> {
        let written = self.write(change(self.record()));
        if written.is_err() {
            parts.batcher.roll_back();
        }
        written
    }

    fn write(&self, record: Record) -> Result<(), PolicyFailure> {
        self.shelf.write(&record).map_err(of_disk)?;
        *self.record.lock().unwrap_or_else(PoisonError::into_inner) = record;
        Ok(())
    }
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

/// The plugins while the process serves.
pub struct ServedPolicies {
    loader: Arc<Background>,
    parts: Arc<Parts>,
    binding: Arc<Binding>,
}

impl ServedPolicies {
    fn change(
        &self,
        name: &str,
        change: impl FnOnce(&Binding, &Parts) -> Result<(), PolicyFailure> + Send + 'static,
    ) -> BoxFuture<'static, Result<Value, PolicyFailure>> {
        if name != self.parts.batcher.name() {
            return ready(Err(PolicyFailure::unknown(name, &self.list()))).boxed();
        }
        let (binding, parts) = (self.binding.clone(), self.parts.clone());
        let done = self.loader.run(move || {
            change(&binding, &parts)?;
            Ok(operate::plugin(&parts))
        });
        done.map(|done| done.unwrap_or_else(|failure| Err(failure.into()))).boxed()
    }
}

impl Policies for ServedPolicies {
    fn list(&self) -> Vec<Value> {
        vec![operate::plugin(&self.parts)]
    }

    fn install(
        &self,
        name: String,
        install: Install,
    ) -> BoxFuture<'static, Result<Value, PolicyFailure>> {
        self.change(&name, |binding, parts| binding.install(parts, install))
    }

    fn act(
        &self,
        name: String,
        action: PolicyAction,
    ) -> BoxFuture<'static, Result<Value, PolicyFailure>> {
        self.change(&name, move |binding, parts| binding.act(parts, action))
    }
}
