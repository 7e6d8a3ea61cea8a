//! Owns what the operator is shown of one plugin: its component, its figures, its trial.
//!
//! Refuses to change anything. Bound: each answer is made on demand from counters.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use truststram_base::HistogramSnapshot;
use truststram_policy::{Kind, Plugin, PluginSource, PluginStats, Stage, Trial};

use crate::config::raw::OnFailure;

/// The figures of a plugin for the metrics.
pub struct Figures<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it was asked.
    pub stats: &'a PluginStats,
    /// Whether any of its instances rests after a failure.
    pub is_breaker_open: bool,
    /// Those of the component on trial.
    pub trial: Option<TrialFigures>,
}

/// The figures of a component on trial.
pub struct TrialFigures {
    /// Shadow: answers that were the same.
    pub agreed: u64,
    /// Shadow: answers that were not.
    pub differed: u64,
    /// Canary: decisions that it made.
    pub decided: u64,
    /// Calls that it failed.
    pub failures: u64,
    /// Time of its calls, nanoseconds.
    pub call_ns: HistogramSnapshot,
}

impl<'a> Figures<'a> {
    /// The figures now.
    pub fn of<K: Kind>(plugin: &'a Plugin<K>) -> Self {
        Self {
            name: plugin.name(),
            stats: plugin.stats(),
            is_breaker_open: plugin.is_breaker_open(),
            trial: plugin.trial().map(|trial| TrialFigures {
                agreed: trial.agreed.get(),
                differed: trial.differed.get(),
                decided: trial.decided.get(),
                failures: failures(trial.plugin().stats()),
                call_ns: trial.plugin().stats().call_ns.snapshot(),
            }),
        }
    }
}

fn failures(stats: &PluginStats) -> u64 {
    stats.failures().iter().map(|(_, count)| count).sum()
}

/// A plugin: its component, whether it is asked, and how it answered.
pub fn of<K: Kind>(plugin: &Arc<Plugin<K>>, on_failure: OnFailure, is_pooling: bool) -> Value {
    let (spec, stats) = (plugin.spec(), plugin.stats());
    let mut status = component(plugin);
    let more = json!({
        "name": plugin.name(),
        "kind": K::NAME,
        "on_failure": on_failure,
        "limits": {
            "memory_bytes": spec.limits.memory_bytes,
            "deadline_us": spec.limits.deadline_us,
        },
        "enabled": plugin.is_enabled(),
        "allocator": if is_pooling { "pooling" } else { "on demand" },
        "fallbacks": stats.fallbacks().into_iter().collect::<BTreeMap<_, _>>(),
        "runs_dropped": stats.runs_dropped.get(),
        "swaps": stats.swaps.get(),
        "versions_in_memory": stats.versions.get(),
        "trial": plugin.trial().map(|trial| on_trial(&trial)),
    });
    merge(&mut status, more);
    status
}

/// A component, and how it answered.
fn component<K: Kind>(plugin: &Plugin<K>) -> Value {
    let (info, spec, stats) = (plugin.info(), plugin.spec(), plugin.stats());
    json!({
        "component": info.name,
        "version": info.version,
        "summary": info.summary,
        "sha256": plugin.sha256(),
        "source": source(&spec.source),
        "settings": serde_json::from_str::<Value>(&spec.settings_json).ok(),
        "settings_schema": plugin.manifest().map(|manifest| manifest.schema()),
        "calls": stats.calls.get(),
        "breaker_open": plugin.is_breaker_open(),
        "failures": stats.failures().into_iter().collect::<BTreeMap<_, _>>(),
        "last_error": stats.last_error(),
        "memory_bytes_peak": stats.memory_bytes_peak.get(),
    })
}

fn on_trial<K: Kind>(trial: &Trial<K>) -> Value {
    let mut status = component(trial.plugin());
    let of_stage = match trial.stage() {
        Stage::Shadow => json!({
            "stage": "shadow",
            "agreed": trial.agreed.get(),
            "differed": trial.differed.get(),
            "last_difference": trial.last_difference(),
        }),
        Stage::Canary(share) => {
            json!({ "stage": "canary", "share": share, "decided": trial.decided.get() })
        }
    };
    merge(&mut status, of_stage);
    status
}

fn merge(status: &mut Value, more: Value) {
    if let (Value::Object(status), Value::Object(more)) = (status, more) {
        status.extend(more);
    }
}

fn source(source: &PluginSource) -> Value {
    match source {
        PluginSource::Builtin(name) => json!({ "builtin": name }),
        PluginSource::File(path) => json!({ "path": path }),
        PluginSource::Bytes(_) => json!("installed"),
    }
}
