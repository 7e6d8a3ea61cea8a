//! Owns the reload of the configuration: it is read and judged as at the start, and what the
//! gateway can exchange is exchanged, all of it or nothing; addresses that change are bound before
//! anything is.
//!
//! Refuses a configuration in which anything else changed: that takes a restart, and it says which
//! keys. Bound: one reload at a time.

use std::sync::Arc;

use serde_json::Value;
use truststram_proxy::{Bound, Cache, Door, Live, bind};

use crate::app::Addresses;
use crate::config::read::Located;
use crate::config::{Plan, Problems, Raw};

/// Reads the configuration as it was read at the start.
pub type Read = Arc<dyn Fn() -> Result<(Plan, Located), Problems> + Send + Sync>;

/// Keys that a reload exchanges; so are all routes and upstream groups.
const EXCHANGED: [&str; 26] = [
    "gateway.trusted_proxies",
    "gateway.real_ip_header",
    "gateway.certificates",
    "gateway.tls_min",
    "gateway.tls_tickets",
    "gateway.tls_client_ca",
    "gateway.tls_client_auth",
    "gateway.tls_listen",
    "server.listen",
    "server.admin_listen",
    "gateway.hsts_s",
    "gateway.security_headers",
    "gateway.https_redirect",
    "gateway.access_log_format",
    "gateway.access_log_escape",
    "gateway.access_log_skip",
    "gateway.limit_requests",
    "gateway.limit_in_flight",
    "gateway.limit_days",
    "gateway.limit_status",
    "gateway.limit_dry_run",
    "auth.mode",
    "gateway.cors",
    "auth.open",
    "auth.issuers",
    "auth.certificates",
];
const EXCHANGED_WHOLE: [&str; 5] = ["routes", "upstreams", "limits", "compression", "overload"];
/// The keys of the section `cache` that it does not: how memory and files are laid out.
const CACHE_FIXED: [&str; 3] = ["cache.memory_mib", "cache.disk_mib", "cache.disk_dir"];

/// See the module.
pub struct Reconfigure {
    /// What it is read by.
    pub read: Read,
    /// As it was at the start.
    pub started: Raw,
    /// The gateway's table.
    pub live: Arc<Live>,
    /// The cache, if there is one.
    pub cache: Option<Arc<Cache>>,
    /// Where the listeners are.
    pub doors: Addresses,
}

impl Reconfigure {
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
        let moves = self.moves(&plan, &located, &mut problems);
        problems.or(())?;
        self.live.replace(&plan.table).map_err(|faults| {
            let mut problems = Problems::default();
            for fault in faults {
                problems.add(&fault.key, located.place(&fault.key), fault.message);
            }
            problems
        })?;
        if let (Some(cache), Some(options)) = (&self.cache, plan.cache.clone()) {
            cache.set(options);
        }
        for (door, bound) in moves {
            door.exchange(bound);
        }
        plan.log_warnings();
        Ok(())
    }

    /// The listeners that go elsewhere, with the sockets there, which listen already: who comes
    /// before all of it is exchanged waits.
    fn moves(&self, plan: &Plan, located: &Located, problems: &mut Problems) -> Vec<Move<'_>> {
        let doors = [&self.doors.public, &self.doors.tls, &self.doors.admin];
        let asked = [Some(plan.listen), plan.tls_listen, Some(plan.admin_listen)];
        let keys = ["server.listen", "gateway.tls_listen", "server.admin_listen"];
        let mut moves = Vec::new();
        for ((key, door), asked) in keys.into_iter().zip(doors).zip(asked) {
            if door.bound().map(|bound| bound.asked()) == asked {
                continue;
            }
            let Some(address) = asked else {
                moves.push((door, None));
                continue;
            };
            // They may change places.
            let held = doors.iter().filter_map(|door| door.bound());
            let mut held = held.filter(|bound| bound.asked() == address && address.port() != 0);
            match held.next().map_or_else(|| bind(address).map(Arc::new), Ok) {
                Ok(bound) => moves.push((door, Some(bound))),
                Err(error) => {
                    let own = door.address().filter(|own| own.port() == address.port());
                    let message = match own {
                        Some(own) => format!(
                            "{address} cannot be had while {own} is listened at, which ends once \
                             it is; take another port, or restart"
                        ),
                        None => error.to_string(),
                    };
                    problems.add(key, located.place(key), message);
                }
            }
        }
        moves
    }
}

/// A listener, and where it goes.
type Move<'a> = (&'a Door, Option<Arc<Bound>>);

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
                let names = differ.map(|(key, _)| format!("{section}.{key}"));
                let is_exchanged = |name: &str| {
                    EXCHANGED.contains(&name)
                        || (section == "cache" && !CACHE_FIXED.contains(&name))
                };
                keys.extend(names.filter(|name| !is_exchanged(name)));
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
        after.auth.open.push("/v2".to_owned());
        after.gateway.limit_status = 503;
        after.cache.stale_if_error_s = 5;
        assert_eq!(restart_keys(&before, &after), Vec::<String>::new());
        after.gateway.keepalive_s = 5;
        after.cache.memory_mib = 5;
        after.server.listen = "127.0.0.1:1".to_owned();
        after.server.admin_listen = "127.0.0.1:2".to_owned();
        after.plugins.push(crate::config::raw::default_batcher());
        let mut keys = restart_keys(&before, &after);
        keys.sort();
        assert_eq!(keys, ["cache.memory_mib", "gateway.keepalive_s", "plugins"]);
    }
}
