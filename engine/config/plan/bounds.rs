//! Owns the bounds of the numbers in the configuration.
//!
//! Refuses to know what the numbers are for. Bound: one line per key.

use truststram_base::limits;

use super::Check;
use crate::config::raw;

impl Check<'_> {
    pub(super) fn bounds(&mut self, raw: &raw::Raw) {
        let mut within = |key: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                self.fail(key, format!("must be {least} to {most}, found {value}"));
            }
        };
        within("server.drain_s", raw.server.drain_s, 0, 3_600);
        let gateway = &raw.gateway;
        let body_bytes_max = limits::BODY_BYTES_MAX as u64;
        within("gateway.body_bytes_max", gateway.body_bytes_max as u64, 1, body_bytes_max);
        within("gateway.read_timeout_s", gateway.read_timeout_s, 1, 3_600);
        within("gateway.write_timeout_s", gateway.write_timeout_s, 1, 3_600);
        let lines_max = gateway.access_log_lines_max as u64;
        within("gateway.access_log_lines_max", lines_max, 1, 1 << 24);
        within("gateway.access_log_rotate_mib", gateway.access_log_rotate_mib, 0, 1 << 20);
        within("gateway.access_log_rotate_hours", gateway.access_log_rotate_hours, 0, 8_784);
        within("gateway.access_log_keep", gateway.access_log_keep.into(), 1, 1_000);
        let cache = &raw.cache;
        within("cache.memory_mib", cache.memory_mib as u64, 0, 1 << 20);
        within("cache.disk_mib", cache.disk_mib, 0, 1 << 30);
        within("cache.object_kib_max", cache.object_kib_max as u64, 1, 1 << 20);
        within("cache.stale_while_revalidate_s", cache.stale_while_revalidate_s, 0, 1 << 31);
        within("cache.stale_if_error_s", cache.stale_if_error_s, 0, 1 << 31);
        within("cache.lock_timeout_s", cache.lock_timeout_s, 1, 3_600);
        within("auth.token_ttl_s", raw.auth.token_ttl_s.into(), 1, 86_400);
        within("gateway.head_timeout_s", gateway.head_timeout_s, 1, 3_600);
        within("gateway.keepalive_s", gateway.keepalive_s, 1, 86_400);
        within("gateway.h2_idle_timeout_s", gateway.h2_idle_timeout_s, 1, 86_400);
        within("gateway.upstream_idle_max", gateway.upstream_idle_max as u64, 1, 1 << 16);
        within("gateway.hsts_s", gateway.hsts_s, 0, u64::from(u32::MAX));
        within("api.deadline_ms", raw.api.deadline_ms, 1, 3_600_000);
        let inference = &raw.inference;
        let requests_max = inference.queue_requests_max as u64;
        within("inference.queue_requests_max", requests_max, 1, 1 << 20);
        within("inference.batch_max", u64::from(inference.batch_max), 1, 4_096);
        within("inference.batch_target_us", inference.batch_target_us.into(), 1, 10_000_000);
        within("inference.inline_us", inference.inline_us.into(), 0, 1_000);
        within("inference.loaded_max", inference.loaded_max as u64, 1, 4_096);
        let federated = &raw.federated;
        within("federated.clients_max", federated.clients_max.into(), 1, 100_000);
        within("federated.waiters_max", federated.waiters_max.into(), 1, 100_000);
        within("federated.uploads_max", federated.uploads_max.into(), 1, 10_000);
        within("federated.watchers_max", federated.watchers_max.into(), 1, 10_000);
        within("federated.refusals_max", federated.refusals_max.into(), 1, 1 << 20);
        let training = &raw.training;
        within("training.trainers", training.trainers as u64, 1, 64);
        within("training.queue_max", training.queue_max as u64, 1, 10_000);
        within("training.kept_max", training.kept_max as u64, 1, 10_000);
        within("training.watchers_max", training.watchers_max.into(), 1, 10_000);
        let store = &raw.store;
        within("store.queue_rows_max", store.queue_rows_max as u64, 1, 1 << 24);
        within("store.group_rows_max", store.group_rows_max as u64, 1, 1 << 20);
        within("store.group_wait_us", store.group_wait_us, 0, 10_000_000);
        within("store.cache_mib", store.cache_mib as u64, 1, 1 << 20);
        within("store.segment_cache_mib", store.segment_cache_mib as u64, 1, 1 << 20);
        within("store.log_mib", store.log_mib, 8, 1 << 12);
        within("store.log_rows_max", store.log_rows_max as u64, 1_000, 1 << 22);
        within("store.keep_days", store.keep_days.into(), 0, 365_000);
        within("store.scrub_every_h", store.scrub_every_h.into(), 0, 100_000);
        within("store.scrub_mib_per_s", store.scrub_mib_per_s.into(), 1, 1 << 20);
        within("store.slow_query_ms", store.slow_query_ms, 0, 3_600_000);
        within("store.read_queue_max", store.read_queue_max as u64, 1, 1 << 16);
    }
}
