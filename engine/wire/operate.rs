//! Owns what the operator sees of the process: readiness, status and metrics.
//!
//! Refuses to change anything. Bound: each answer is made on demand from counters.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use futures_util::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};
use truststram_api::ports::{CachePurge, Operate, ReloadFailure};
use truststram_base::{Clock, Counter};
use truststram_machine::{
    HostFacts, LogFile, Precedence, RingStatus, SimdLevel, Standing, Topology,
};
use truststram_model::{Engine, ModelInfo, ModelState};
use truststram_policy::Host;
use truststram_proxy::{Authority, Cache, GatewayStats, Purge};
use truststram_store::Store;

use crate::federation::Notices;
use crate::training::Jobs;

use super::background::Background;
use super::binding::Bound;
use super::metrics;
use super::reconfigure::Reconfigure;
use super::sink::Ticket;

/// The parts of the running process that are described.
pub struct Parts {
    /// Time since the start.
    pub clock: Arc<dyn Clock>,
    /// What the machine is.
    pub host: HostFacts,
    /// Its nodes and cores.
    pub topology: Topology,
    /// Whether io_uring is used.
    pub ring: RingStatus,
    /// Cores that serve the network.
    pub network_cores: Vec<u32>,
    /// Which of its threads go before others, where that is wanted.
    pub precedence: Option<Arc<Precedence>>,
    /// The store.
    pub store: Arc<Store>,
    /// The inference engine.
    pub engine: Arc<Engine<Ticket>>,
    /// The plugin host.
    pub host_of_plugins: Arc<Host>,
    /// The plugins.
    pub plugins: Vec<Arc<dyn Bound>>,
    /// Records dropped although their answer was given.
    pub dropped: Arc<Counter>,
    /// The access log, if there is one.
    pub access_log: Option<Arc<LogFile>>,
    /// The cache of answers, if there is one.
    pub cache: Option<Arc<Cache>>,
    /// What judges credentials.
    pub authority: Arc<Authority>,
    /// Set when the drain begins.
    pub draining: AtomicBool,
    /// Reloads the configuration, on its own thread.
    pub reconfigure: Arc<Reconfigure>,
    /// That thread.
    pub reconfigurer: Arc<Background>,
    /// The federation's board, where there is one.
    pub federation: OnceLock<Arc<Notices>>,
    /// The training jobs, where there are trainers.
    pub training: OnceLock<Arc<Jobs>>,
    /// How often what keys use of a day was written.
    pub quota_turns: Arc<Counter>,
    /// Counts per listener, once it listens.
    pub listeners: OnceLock<Vec<(&'static str, Arc<GatewayStats>)>>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

impl Parts {
    /// The listeners by name; none before they listen.
    pub fn gateway(&self) -> &[(&'static str, Arc<GatewayStats>)] {
        self.listeners.get().map_or(&[], Vec::as_slice)
    }

    /// How the network threads stand on their cores; none where they are as all others.
    pub fn standings(&self) -> Vec<Standing> {
        self.precedence.as_ref().map_or_else(Vec::new, |precedence| precedence.members())
    }
}

/// The process as the API sees it.
pub struct Operator(pub Arc<Parts>);

impl Operate for Operator {
    fn readiness(&self) -> BTreeMap<&'static str, Result<(), String>> {
        let parts = &self.0;
        let check = |holds: bool, why: &str| if holds { Ok(()) } else { Err(why.to_owned()) };
        let serving = !parts.draining.load(Ordering::Relaxed);
        let is_active = |one: &ModelInfo| one.state == ModelState::Active;
        let loaded = parts.engine.models().iter().any(is_active);
        let stats = parts.store.stats();
        BTreeMap::from([
            ("models", check(loaded, "no model is loaded")),
            ("server", check(serving, "the server is draining")),
            ("store", check(stats.rows_lost == 0, "the disk refused records")),
        ])
    }

    fn status(&self) -> Value {
        let parts = &self.0;
        let stats = parts.store.stats();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "process_id": std::process::id(),
            "uptime_s": parts.clock.monotonic_us() / 1_000_000,
            "draining": parts.draining.load(Ordering::Relaxed),
            "machine": machine(parts),
            "network": {
                "cores": parts.network_cores,
                "threads": parts.standings().iter().map(standing).collect::<Vec<_>>(),
                "reloads": parts.reconfigure.live().reloads(),
            },
            "inference": inference(parts),
            "models": models(parts),
            "plugins": parts.plugins.iter().map(|plugin| plugin.status()).collect::<Vec<_>>(),
            "store": {
                "path": stats.path,
                "rows_queued": stats.rows_queued,
                "rows_in_log": stats.rows_in_log,
                "rows_committed": stats.rows_committed,
                "rows_lost": stats.rows_lost,
                "rows_dropped": parts.dropped.get(),
                "commits": stats.commits,
                "commit_failures": stats.commit_failures,
                "months": stats.months,
                "file_bytes": stats.file_bytes,
            },
        })
    }

    fn metrics(&self) -> String {
        metrics::render(&self.0)
    }

    fn cache(&self) -> Value {
        let Some(cache) = &self.0.cache else { return json!({ "enabled": false }) };
        let (stats, (keys, bytes)) = (cache.stats(), cache.size());
        let disk = cache.disk().map(|disk| {
            json!({
                "files": disk.files,
                "bytes": disk.bytes,
                "read": disk.read,
                "written": disk.written,
                "dropped": disk.dropped,
                "failed": disk.failed,
            })
        });
        json!({
            "enabled": true,
            "disk": disk,
            "keys": keys,
            "bytes": bytes,
            "hits": stats.hits.get(),
            "stale": stats.stale.get(),
            "forwarded": stats.forwarded.get(),
            "collapsed": stats.collapsed.get(),
            "validated": stats.validated.get(),
            "stored": stats.stored.get(),
            "invalidated": stats.invalidated.get(),
            "failed": stats.failed.get(),
        })
    }

    fn purge(&self, purge: &CachePurge) -> Option<usize> {
        let place =
            |text: &'_ str| text.split_once("://").map_or(text, |(_, place)| place).to_owned();
        let removed = self.0.cache.as_ref().map(|cache| match purge {
            CachePurge::Key(key) => cache.purge(Purge::Key(&place(key))),
            CachePurge::Prefix(prefix) => cache.purge(Purge::Prefix(&place(prefix))),
            CachePurge::Tag(tag) => cache.purge(Purge::Tag(tag)),
            CachePurge::All(_) => cache.purge(Purge::All),
        });
        if let Some(removed) = removed {
            tracing::info!(?purge, removed, "answers are removed from the cache");
        }
        removed
    }

    fn reload(&self) -> BoxFuture<'static, Result<(), ReloadFailure>> {
        let reconfigure = self.0.reconfigure.clone();
        let done = self.0.reconfigurer.run(move || reconfigure.run());
        done.map(|ended| match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(problems)) => {
                let faults = problems.0.into_iter().map(|one| (one.key, one.message));
                Err(ReloadFailure::Faults(faults.collect()))
            }
            Err(failure) => Err(ReloadFailure::Busy(failure)),
        })
        .boxed()
    }
}

fn machine(parts: &Parts) -> Value {
    let host = &parts.host;
    let (vnni, bf16) = match host.simd {
        SimdLevel::Avx512 { vnni, bf16 } => (vnni, bf16),
        _ => (false, false),
    };
    let nodes: Vec<Value> = parts
        .topology
        .nodes
        .iter()
        .map(
            |node| json!({ "id": node.id, "cores": node.cores, "memory_bytes": node.memory_bytes }),
        )
        .collect();
    json!({
        "processor": host.processor,
        "kernel": host.kernel,
        "memory_bytes": host.memory_bytes,
        "numa_nodes": nodes,
        "simd": { "level": host.simd.name(), "vnni": vnni, "bf16": bf16 },
        "io": { "chosen": parts.ring.chosen, "reason": parts.ring.reason },
        "huge_pages": {
            "transparent": host.transparent_huge_pages,
            "reserved": host.huge_pages_total,
        },
    })
}

fn standing(thread: &Standing) -> Value {
    json!({
        "name": thread.name,
        "first": thread.is_first,
        "lost": thread.lost,
        "refused": thread.refused.map(|refused| refused.to_string()),
    })
}

fn inference(parts: &Parts) -> Value {
    let workers: Vec<Value> = parts
        .engine
        .stats()
        .iter()
        .map(|worker| {
            let placement = &worker.placement;
            let degraded: Vec<String> =
                placement.degraded.iter().map(ToString::to_string).collect();
            json!({
                "cores": placement.cores,
                "memory_bound": placement.memory_bound,
                "degraded": degraded,
                "queued": worker.unanswered,
                "batches": worker.batches,
                "inline_batches": worker.inline,
                "answered": worker.answered,
            })
        })
        .collect();
    json!({ "workers": workers })
}

fn models(parts: &Parts) -> Vec<Value> {
    let versions = parts.engine.models();
    versions
        .iter()
        .map(|one| {
            json!({
                "id": one.id,
                "version": one.version,
                "active": one.state == ModelState::Active,
                "state": one.state.name(),
                "failure": one.failure.as_deref(),
                "memory_bytes": one.memory.bytes(),
                "session_bytes": one.session_bytes,
                "unanswered": one.unanswered,
            })
        })
        .collect()
}
