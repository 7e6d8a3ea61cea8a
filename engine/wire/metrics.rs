//! Owns the names of all metrics: what each crate counts, as OpenMetrics text made on demand.
//!
//! Refuses to count; the crates do, in relaxed atomics. Times are exposed in seconds, sizes in
//! bytes. Bound: one scrape reads each counter once.

use std::fmt::Error;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;
use truststram_base::HistogramSnapshot;
use truststram_policy::PluginStats;
use truststram_proxy::{STATUS_CLASSES, ZoneStats};

use super::operate::Parts;
use super::plugin_status::{Figures, TrialFigures};

mod federation;
mod gateway;
mod training;

type Labels = [(&'static str, String)];
type NoLabels = [(&'static str, &'static str); 0];

/// All metrics now.
pub fn render(parts: &Arc<Parts>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Engine(parts.clone())));
    let mut written = String::new();
    // Writing to a `String` cannot fail.
    let _ = text::encode(&mut written, &registry);
    written
}

#[derive(Debug)]
struct Engine(Arc<Parts>);

impl Collector for Engine {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut page = Page(encoder);
        self.gateway(&mut page)?;
        gateway::network(&self.0.standings(), &mut page)?;
        gateway::auth(&self.0.authority, &mut page)?;
        self.limits(&mut page)?;
        gateway::issuers(self.0.reconfigure.live(), &mut page)?;
        gateway::overload(self.0.reconfigure.live(), &mut page)?;
        self.cache(&mut page)?;
        gateway::routes(self.0.reconfigure.live(), &mut page)?;
        gateway::upstreams(self.0.reconfigure.live(), self.0.clock.monotonic_us(), &mut page)?;
        self.inference(&mut page)?;
        self.plugin(&mut page)?;
        self.store(&mut page)?;
        if let Some(notices) = self.0.federation.get() {
            federation::rows(&notices.status(), &mut page)?;
        }
        if let Some(jobs) = self.0.training.get() {
            training::rows(jobs, &mut page)?;
        }
        self.process(&mut page)
    }
}

impl Engine {
    fn gateway(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let listeners = self.0.gateway();
        let each = |value: &dyn Fn(&truststram_proxy::GatewayStats) -> u64| -> Vec<_> {
            let named =
                listeners.iter().map(|(name, stats)| (labels("listener", name), value(stats)));
            named.collect()
        };
        let accepted = each(&|stats| stats.connections_accepted.get());
        page.counters("truststram_connections", "Connections accepted", accepted)?;
        let open = each(&|stats| stats.connections_open.get());
        page.gauges("truststram_connections_open", "Connections open now", open)?;
        let failed = each(&|stats| stats.accept_failures.get());
        page.counters("truststram_accept_failures", "Failed accepts", failed)?;
        let failed = each(&|stats| stats.handshake_failures.get());
        page.counters("truststram_handshake_failures", "Failed TLS handshakes", failed)?;
        let late = each(&|stats| stats.heads_late.get());
        let help = "Connections ended because a head did not come in time";
        page.counters("truststram_heads_late", help, late)?;
        let bad = each(&|stats| stats.proxy_headers_bad.get());
        let help = "Connections without the header of the PROXY protocol that they must have";
        page.counters("truststram_proxy_headers_bad", help, bad)?;
        let broken = each(&|stats| stats.broken.get());
        page.counters("truststram_requests_broken", "Answers that could not be sent", broken)?;
        let direct = each(&|stats| stats.direct.get());
        let help = "Plain requests that the connection's own task answered";
        page.counters("truststram_requests_direct", help, direct)?;
        let passed = each(&|stats| stats.passed.get());
        let help = "Plain requests that the connection's own task passed on to a server";
        page.counters("truststram_requests_passed", help, passed)?;
        let by_class = listeners.iter().flat_map(|(name, stats)| {
            STATUS_CLASSES.iter().zip(&stats.requests).map(|(class, count)| {
                let labels =
                    vec![("listener", (*name).to_owned()), ("status", (*class).to_owned())];
                (labels, count.get())
            })
        });
        let by_class = by_class.collect();
        page.counters("truststram_requests", "Requests answered, by class of status", by_class)?;
        let times = listeners
            .iter()
            .map(|(name, stats)| (labels("listener", name), stats.duration_us.snapshot()));
        let help = "Time from a request's head to the end of its answer";
        page.histograms("truststram_request_seconds", help, 1e-6, times.collect())
    }

    fn limits(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let zones = self.0.reconfigure.live().zones();
        let rates = zones.rates.iter();
        let rates = rates.map(|zone| (zone.name(), zone.stats(), zone.key_count()));
        let in_flight = zones.in_flight.iter();
        let in_flight = in_flight.map(|zone| (zone.name(), zone.stats(), zone.key_count()));
        let days = zones.days.iter().map(|zone| (zone.name(), zone.stats(), zone.key_count()));
        let zones: Vec<_> = rates.chain(in_flight).chain(days).collect();
        let each = |value: &dyn Fn(&ZoneStats, usize) -> u64| -> Vec<_> {
            let row =
                |&(name, stats, keys): &(&str, _, _)| (labels("zone", name), value(stats, keys));
            zones.iter().map(row).collect()
        };
        let outcomes = zones.iter().flat_map(|&(name, stats, _)| {
            let outcomes = [
                ("passed", &stats.passed),
                ("delayed", &stats.delayed),
                ("rejected", &stats.rejected),
                ("delayed_dry_run", &stats.delayed_dry_run),
                ("rejected_dry_run", &stats.rejected_dry_run),
            ];
            outcomes.map(|(outcome, count)| {
                (vec![("zone", name.to_owned()), ("outcome", outcome.to_owned())], count.get())
            })
        });
        let outcomes = outcomes.collect();
        page.counters("truststram_limit_requests", "Requests asked of a limit", outcomes)?;
        let keys = each(&|_, keys| keys as u64);
        page.gauges("truststram_limit_keys", "Keys that a limit knows", keys)?;
        let full = each(&|stats, _| stats.full.get());
        page.counters("truststram_limit_full", "Keys without room in a limit's zone", full)?;
        let turns = vec![(Vec::new(), self.0.quota_turns.get())];
        page.counters("truststram_quota_turns", "Times that counts of days were kept", turns)
    }

    fn cache(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let Some(cache) = &self.0.cache else { return Ok(()) };
        let stats = cache.stats();
        let outcomes = [
            ("hit", &stats.hits),
            ("stale", &stats.stale),
            ("forwarded", &stats.forwarded),
            ("failed", &stats.failed),
        ];
        let row = |(outcome, count): (&str, &truststram_base::Counter)| {
            (labels("outcome", outcome), count.get())
        };
        let outcomes = outcomes.into_iter().map(row).collect();
        page.counters("truststram_cache_requests", "Requests by what the cache did", outcomes)?;
        let events = [
            ("collapsed", &stats.collapsed),
            ("validated", &stats.validated),
            ("stored", &stats.stored),
            ("invalidated", &stats.invalidated),
        ];
        let row = |(event, count): (&str, &truststram_base::Counter)| {
            (labels("event", event), count.get())
        };
        let events = events.into_iter().map(row).collect();
        page.counters("truststram_cache_events", "What happened in the cache", events)?;
        let (keys, bytes) = cache.size();
        let keys = vec![(Vec::new(), keys as u64)];
        page.gauges("truststram_cache_keys", "Keys that have answers", keys)?;
        page.gauges("truststram_cache_bytes", "Memory of answers", vec![(Vec::new(), bytes)])?;
        let Some(disk) = cache.disk() else { return Ok(()) };
        let events = [
            ("read", disk.read),
            ("written", disk.written),
            ("dropped", disk.dropped),
            ("failed", disk.failed),
        ];
        let events = events.map(|(event, count)| (labels("event", event), count)).into();
        page.counters("truststram_cache_disk_events", "What happened to files of answers", events)?;
        let files = vec![(Vec::new(), disk.files as u64)];
        page.gauges("truststram_cache_disk_files", "Files of answers", files)?;
        let bytes = vec![(Vec::new(), disk.bytes)];
        page.gauges("truststram_cache_disk_bytes", "Bytes in files of answers", bytes)
    }

    fn inference(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let workers = self.0.engine.stats();
        let named = |index: usize| labels("worker", &index.to_string());
        let each = |value: &dyn Fn(&truststram_model::WorkerSnapshot) -> u64| -> Vec<_> {
            workers
                .iter()
                .enumerate()
                .map(|(index, worker)| (named(index), value(worker)))
                .collect()
        };
        let unanswered = each(&|worker| worker.unanswered);
        page.gauges("truststram_inference_queue", "Requests not answered yet", unanswered)?;
        let batches = each(&|worker| worker.batches);
        page.counters("truststram_inference_batches", "Batches computed", batches)?;
        let inline = each(&|worker| worker.inline);
        let help = "Batches of these that a network thread computed itself";
        page.counters("truststram_inference_inline_batches", help, inline)?;
        let answered = each(&|worker| worker.answered);
        page.counters("truststram_inference_answered", "Requests answered", answered)?;
        let expired = each(&|worker| worker.expired);
        page.counters("truststram_inference_expired", "Deadlines passed in the queue", expired)?;
        let failed = each(&|worker| worker.failed);
        page.counters("truststram_inference_failed", "Requests whose computation failed", failed)?;
        let histogram = |value: &dyn Fn(&truststram_model::WorkerSnapshot) -> HistogramSnapshot| {
            let each = workers.iter().enumerate();
            each.map(|(index, worker)| (named(index), value(worker))).collect::<Vec<_>>()
        };
        let sizes = histogram(&|worker| worker.batch_sizes.clone());
        page.histograms("truststram_inference_batch_size", "Requests per batch", 1.0, sizes)?;
        let queued = histogram(&|worker| worker.queue_us.clone());
        let help = "Time in the queue per request";
        page.histograms("truststram_inference_queue_seconds", help, 1e-6, queued)?;
        let computed = histogram(&|worker| worker.compute_us.clone());
        let help = "Time of computation per batch";
        page.histograms("truststram_inference_compute_seconds", help, 1e-6, computed)
    }

    fn plugin(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let plugins: Vec<Figures<'_>> =
            self.0.plugins.iter().map(|plugin| plugin.figures()).collect();
        let each = |value: &dyn Fn(&Figures<'_>) -> u64| -> Rows<u64> {
            let row = |plugin: &Figures<'_>| (labels("plugin", plugin.name), value(plugin));
            plugins.iter().map(row).collect()
        };
        let by = |label: &'static str, values: &dyn Fn(&PluginStats) -> Vec<(&str, u64)>| {
            let row = |name: &str, (value, count): (&str, u64)| {
                (vec![("plugin", name.to_owned()), (label, value.to_owned())], count)
            };
            let rows = |plugin: &Figures<'_>| -> Rows<u64> {
                values(plugin.stats).into_iter().map(|value| row(plugin.name, value)).collect()
            };
            plugins.iter().flat_map(rows).collect::<Rows<u64>>()
        };
        let calls = each(&|plugin| plugin.stats.calls.get());
        page.counters("truststram_plugin_calls", "Calls of a plugin", calls)?;
        let failures = by("kind", &|stats| stats.failures().to_vec());
        page.counters("truststram_plugin_failures", "Calls that a plugin failed", failures)?;
        let skipped = each(&|plugin| plugin.stats.unavailable.get());
        let help = "Questions not asked while a plugin rests or is replaced";
        page.counters("truststram_plugin_skipped", help, skipped)?;
        let fallbacks = by("by", &|stats| stats.fallbacks().to_vec());
        let help = "Decisions that something else made in the plugin's place";
        page.counters("truststram_plugin_fallbacks", help, fallbacks)?;
        let open = each(&|plugin| plugin.is_breaker_open.into());
        page.gauges("truststram_plugin_breaker_open", "1 while a plugin rests", open)?;
        let peak = each(&|plugin| plugin.stats.memory_bytes_peak.get());
        let help = "Most memory that an instance had";
        page.gauges("truststram_plugin_memory_peak_bytes", help, peak)?;
        let swaps = each(&|plugin| plugin.stats.swaps.get());
        page.counters("truststram_plugin_swaps", "Exchanges of the component", swaps)?;
        let dropped = each(&|plugin| plugin.stats.log_lines_dropped.get());
        page.counters("truststram_plugin_log_lines_dropped", "Log lines over the limit", dropped)?;
        let dropped = each(&|plugin| plugin.stats.runs_dropped.get());
        let help = "Runs of decisions that could not be recorded";
        page.counters("truststram_plugin_runs_dropped", help, dropped)?;
        let times = plugins
            .iter()
            .map(|plugin| (labels("plugin", plugin.name), plugin.stats.call_ns.snapshot()));
        let times = times.collect();
        page.histograms("truststram_plugin_call_seconds", "Time of a call", 1e-9, times)?;
        Self::trials(&plugins, page)
    }

    fn trials(plugins: &[Figures<'_>], page: &mut Page<'_>) -> Result<(), Error> {
        let on_trial: Vec<(&str, &TrialFigures)> = plugins
            .iter()
            .filter_map(|plugin| Some((plugin.name, plugin.trial.as_ref()?)))
            .collect();
        let each = |value: &dyn Fn(&TrialFigures) -> u64| -> Rows<u64> {
            on_trial.iter().map(|(name, trial)| (labels("plugin", name), value(trial))).collect()
        };
        let agreed = each(&|trial| trial.agreed);
        let help = "Answers of a shadow that were the same";
        page.counters("truststram_plugin_trial_agreed", help, agreed)?;
        let differed = each(&|trial| trial.differed);
        let help = "Answers of a shadow that were not the same";
        page.counters("truststram_plugin_trial_differed", help, differed)?;
        let decided = each(&|trial| trial.decided);
        page.counters("truststram_plugin_trial_decided", "Decisions of a canary", decided)?;
        let failures = each(&|trial| trial.failures);
        let help = "Calls that a component on trial failed";
        page.counters("truststram_plugin_trial_failures", help, failures)?;
        let times =
            on_trial.iter().map(|(name, trial)| (labels("plugin", name), trial.call_ns.clone()));
        let help = "Time of a call of a component on trial";
        page.histograms("truststram_plugin_trial_call_seconds", help, 1e-9, times.collect())
    }

    fn store(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let stats = self.0.store.stats();
        let one = |value| vec![(Vec::new(), value)];
        let queued = one(stats.rows_queued);
        page.gauges("truststram_store_rows_queued", "Records not committed yet", queued)?;
        let committed = one(stats.rows_committed);
        page.counters("truststram_store_rows_committed", "Records on disk", committed)?;
        let refused = one(stats.rows_refused);
        page.counters("truststram_store_rows_refused", "Records that found no room", refused)?;
        let dropped = one(self.0.dropped.get());
        let help = "Records dropped although their answer was given (store.when_full)";
        page.counters("truststram_store_rows_dropped", help, dropped)?;
        let lost = one(stats.rows_lost);
        page.counters("truststram_store_rows_lost", "Records that the disk refused", lost)?;
        page.counters("truststram_store_commits", "Transactions", one(stats.commits))?;
        let failures = one(stats.commit_failures);
        page.counters("truststram_store_commit_failures", "Failed transactions", failures)?;
        let in_log = one(stats.rows_in_log);
        let help = "Records on disk that are in the log and not in a month's file yet";
        page.gauges("truststram_store_rows_in_log", help, in_log)?;
        let applied = one(stats.rows_applied);
        let help = "Records moved from the log into files of months";
        page.counters("truststram_store_rows_applied", help, applied)?;
        let failures = one(stats.apply_failures);
        let help = "Moves out of the log that failed and are tried again";
        page.counters("truststram_store_apply_failures", help, failures)?;
        let times = vec![(Vec::new(), stats.apply_us)];
        let help = "Time of moving one turn of the log into files of months";
        page.histograms("truststram_store_apply_seconds", help, 1e-6, times)?;
        let help = "Damaged values that readings in the background found";
        page.counters("truststram_store_scrub_findings", help, one(stats.scrub_findings))?;
        page.gauges("truststram_store_months", "Months that have a file", one(stats.months))?;
        page.gauges("truststram_store_file_bytes", "Size of all files", one(stats.file_bytes))?;
        let times = vec![(Vec::new(), stats.commit_us)];
        page.histograms("truststram_store_commit_seconds", "Time of a commit", 1e-6, times)?;
        let rows = vec![(Vec::new(), stats.rows_per_commit)];
        page.histograms("truststram_store_rows_per_commit", "Records per commit", 1.0, rows)
    }

    fn process(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let uptime = self.0.clock.monotonic_us() / 1_000_000;
        page.gauges("truststram_uptime_seconds", "Since the start", vec![(Vec::new(), uptime)])?;
        let Some(log) = &self.0.access_log else { return Ok(()) };
        let one = |value| vec![(Vec::new(), value)];
        let written = one(log.written());
        page.counters("truststram_access_log_lines_written", "Lines written", written)?;
        let dropped = one(log.dropped());
        page.counters("truststram_access_log_lines_dropped", "Lines dropped", dropped)?;
        let help = "Times that the file could not be renamed, or a new one not be opened";
        page.counters("truststram_access_log_stuck", help, one(log.stuck()))
    }
}

fn labels(name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    vec![(name, value.to_owned())]
}

struct Page<'a>(DescriptorEncoder<'a>);

type Rows<T> = Vec<(Vec<(&'static str, String)>, T)>;

impl Page<'_> {
    fn counters(&mut self, name: &str, help: &str, rows: Rows<u64>) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            let none: Option<&Exemplar<NoLabels, u64>> = None;
            // A family without labels is written with empty braces.
            if labels.is_empty() {
                family.encode_counter(&value, none)?;
                continue;
            }
            let labels: &Labels = &labels;
            family.encode_family(&labels)?.encode_counter(&value, none)?;
        }
        Ok(())
    }

    fn gauges<N: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        rows: Rows<N>,
    ) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            if labels.is_empty() {
                family.encode_gauge(&value)?;
                continue;
            }
            let labels: &Labels = &labels;
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// `unit` is what one of the snapshot's numbers is worth in the metric's unit.
    fn histograms(
        &mut self,
        name: &str,
        help: &str,
        unit: f64,
        rows: Rows<HistogramSnapshot>,
    ) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, snapshot) in rows {
            let buckets: Vec<(f64, u64)> = snapshot
                .buckets
                .iter()
                .map(|&(bound, count)| match bound {
                    u64::MAX => (f64::MAX, count),
                    bound => (bound as f64 * unit, count),
                })
                .collect();
            let sum = snapshot.sum as f64 * unit;
            if labels.is_empty() {
                family.encode_histogram::<NoLabels>(sum, snapshot.count, &buckets, None)?;
                continue;
            }
            let labels: &Labels = &labels;
            let mut row = family.encode_family(&labels)?;
            row.encode_histogram::<NoLabels>(sum, snapshot.count, &buckets, None)?;
        }
        Ok(())
    }
}
