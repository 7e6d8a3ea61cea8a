//! Owns the reload of the configuration: it is read and judged as at the start, and what the
//! gateway can exchange is exchanged, all of it or nothing.
//!
//! Refuses a configuration in which anything else changed: that takes a restart, and it says which
//! keys. Bound: one reload at a time.

use std::sync::Arc;

use serde_json::Value;
use truststram_proxy::{Cache, Live};

use crate::config::read::Located;
use crate::config::{Plan, Problems, Raw};

/// Reads the configuration as it was read at the start.
pub type Read = Arc<dyn Fn() -> Result<(Plan, Located), Problems> + Send + Sync>;

/// Keys of the section `gateway` that a reload exchanges; so are all routes and upstream groups.
const EXCHANGED: [&str; 16] = [
    "trusted_proxies",
    "real_ip_header",
    "certificates",
    "tls_min",
    "tls_tickets",
    "tls_client_ca",
    "hsts_s",
    "security_headers",
    "https_redirect",
    "access_log_format",
    "access_log_escape",
    "access_log_skip",
    "limit_requests",
    "limit_in_flight",
    "limit_status",
    "limit_dry_run",
];
const EXCHANGED_WHOLE: [&str; 4] = ["routes", "upstreams", "limits", "compression"];
/// The one key of the section `cache` that it does not: how the memory is laid out.
const CACHE_FIXED: &str = "memory_mib";

/// See the module.
pub struct Reconfigure {
    read: Read,
    started: Raw,
    live: Arc<Live>,
    cache: Option<Arc<Cache>>,
}

impl Reconfigure {
    /// Reloads into `live` and `cache` what differs from `started`.
    pub fn new(read: Read, started: Raw, live: Arc<Live>, cache: Option<Arc<Cache>>) -> Self {
        Self { read, started, live, cache }
    }

    /// The gateway's table.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Reads and exchanges.
    ///
    /// # Errors
    /// Everything that is wrong; then nothing has changed.
    pub fn run(&self) -> Result<(), Problems> {
        let done = self.exchange();
        match &done {
            Ok(()) => tracing::info!("the configuration is reloaded"),
            Err(problems) => tracing::error!(%problems, "the configuration is not reloaded"),
        }
        done
    }

    fn exchange(&self) -> Result<(), Problems> {
        let (plan, located) = (self.read)()?;
        let mut problems = Problems::default();
        for key in restart_keys(&self.started, &located.raw) {
            let message = "was changed, which takes a restart";
            problems.add(&key, located.place(&key), message);
        }
        problems.or(())?;
        self.live.replace(&plan.table).map_err(|faults| {
            let mut problems = Problems::default();
            for fault in faults {
                problems.add(&fault.key, located.place(&fault.key), fault.message);
            }
            problems
        })?;
        if let (Some(cache), Some(options)) = (&self.cache, plan.cache) {
            cache.set(options);
        }
        Ok(())
    }
}

/// The keys that differ and are not exchanged.
fn restart_keys(before: &Raw, after: &Raw) -> Vec<String> {
    // Plain sections of texts and numbers always serialise.
    let value = |raw: &Raw| serde_json::to_value(raw).unwrap_or_default();
    let (before, after) = (value(before), value(after));
    let mut keys = Vec::new();
    for (section, new) in after.as_object().into_iter().flatten() {
        let old = &before[section];
        if old == new || EXCHANGED_WHOLE.contains(&section.as_str()) {
            continue;
        }
        match new {
            Value::Object(values) => {
                let differ = values.iter().filter(|(key, value)| old[*key] != **value);
                let is_fixed = |key: &str| match section.as_str() {
                    "gateway" => !EXCHANGED.contains(&key),
                    "cache" => key == CACHE_FIXED,
                    _ => true,
                };
                let fixed = differ.filter(|(key, _)| is_fixed(key));
                keys.extend(fixed.map(|(key, _)| format!("{section}.{key}")));
            }
            _ => keys.push(section.clone()),
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_take_a_restart_are_named() {
        let before = Raw::default();
        let mut after = before.clone();
        after.routes.push(crate::config::raw::Route::default());
        after.gateway.hsts_s = 5;
        after.gateway.limit_status = 503;
        after.cache.stale_if_error_s = 5;
        assert_eq!(restart_keys(&before, &after), Vec::<String>::new());
        after.gateway.keepalive_s = 5;
        after.cache.memory_mib = 5;
        after.server.listen = "127.0.0.1:1".to_owned();
        after.plugins.push(crate::config::raw::default_batcher());
        let mut keys = restart_keys(&before, &after);
        keys.sort();
        assert_eq!(keys, ["cache.memory_mib", "gateway.keepalive_s", "plugins", "server.listen"]);
    }
}
