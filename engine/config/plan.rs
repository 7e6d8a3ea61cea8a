//! Owns the resolved configuration, which alone the code below sees: addresses parsed, cores
//! chosen, limits checked, the data directory usable.
//!
//! Refuses to change anything besides creating the data directory. Every problem is reported, not
//! only the first. Bound: one value per key.

mod table;
mod zones;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use truststram_base::limits;
use truststram_machine::{CpuSet, Topology};
use truststram_manifest::ManifestError;
use truststram_policy::{
    PluginLimits, PluginSource, PluginSpec, PolicyError, PublicKey, check_manifest,
};
use truststram_proxy::{CacheOptions, TableSpec};
use truststram_store::{IoMode, MaintenanceOptions, StoreOptions, Tier};

use super::problem::Problems;
use super::raw::{self, IoUring, LogFormat, PluginKind, WhenFull};
use super::read::Located;
pub use zones::LimitPlan;

/// What the process does, without doubt.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Public address.
    pub listen: SocketAddr,
    /// Operators' address.
    pub admin_listen: SocketAddr,
    /// Public address with TLS, if there is one.
    pub tls_listen: Option<SocketAddr>,
    /// What a reload exchanges.
    pub table: TableSpec,
    /// Where everything that must survive lives.
    pub data_dir: PathBuf,
    /// How long open requests get to finish.
    pub drain: Duration,
    /// One network thread for each.
    pub network_cores: Vec<u32>,
    /// One inference worker for each.
    pub inference_cores: Vec<u32>,
    /// The nodes and cores of this machine that the process may use.
    pub topology: Topology,
    /// Limits of the public side.
    pub gateway: raw::Gateway,
    /// How often and how many at a time public requests may come.
    pub limits: LimitPlan,
    /// How answers are kept, if any are.
    pub cache: Option<CacheOptions>,
    /// The HTTP interface.
    pub api: raw::Api,
    /// The inference core.
    pub inference: raw::Inference,
    /// The store.
    pub store: raw::Store,
    /// Whether io_uring is tried.
    pub io_uring: bool,
    /// The batcher policy.
    pub batcher: PluginPlan,
    /// Plugins of other kinds.
    pub other_plugins: Vec<PluginPlan>,
    /// What is kept of the decisions of plugins.
    pub policy: raw::Policy,
    /// Keys that may sign plugins.
    pub trusted_keys: Vec<PublicKey>,
    /// Whether an installed plugin needs a signature.
    pub require_signed: bool,
    /// Filter of the process's own log.
    pub log_level: String,
    /// Whether that log is JSON.
    pub log_json: bool,
}

/// A plugin to load.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginPlan {
    /// What it decides.
    pub kind: PluginKind,
    /// Its component, settings and limits.
    pub spec: PluginSpec,
    /// What decides when it fails.
    pub on_failure: raw::OnFailure,
}

/// Turns what was typed into a plan. `insecure` allows addresses that are not loopback.
pub fn resolve(located: &Located, insecure: bool, topology: Topology) -> Result<Plan, Problems> {
    let mut check = Check { located, problems: Problems::default() };
    let raw = &located.raw;
    let listen = check.address("server.listen", &raw.server.listen, insecure);
    let admin_listen = check.address("server.admin_listen", &raw.server.admin_listen, insecure);
    if listen == admin_listen && listen.port() != 0 {
        check.fail("server.admin_listen", "is the same address as server.listen");
    }
    // What TLS protects may be reached from anywhere.
    let tls_listen = Some(&raw.gateway.tls_listen).filter(|text| !text.is_empty());
    let tls_listen = tls_listen.map(|text| check.address("gateway.tls_listen", text, true));
    if tls_listen.is_some_and(|tls| tls.port() != 0 && [listen, admin_listen].contains(&tls)) {
        check.fail("gateway.tls_listen", "is the address of another listener");
    }
    let table = check.table(raw);
    let (network_cores, inference_cores) = check.cores(raw, &topology);
    check.limits(raw);
    check.log_level(&raw.log.level);
    check.tiers(&raw.store.tiers);
    let (batcher, other_plugins) = check.plugins(&raw.plugins);
    let limits = check.limit_plan(raw);
    let trusted_keys = check.keys(&raw.policy);
    let data_dir = PathBuf::from(&raw.server.data_dir);
    check.data_dir(&data_dir);
    let plan = Plan {
        listen,
        admin_listen,
        tls_listen,
        table,
        data_dir,
        drain: Duration::from_secs(raw.server.drain_s),
        network_cores,
        inference_cores,
        topology,
        gateway: raw.gateway.clone(),
        limits,
        cache: cache_options(&raw.cache),
        api: raw.api.clone(),
        inference: raw.inference.clone(),
        store: raw.store.clone(),
        io_uring: raw.machine.io_uring == IoUring::Auto,
        batcher,
        other_plugins,
        policy: raw.policy.clone(),
        trusted_keys,
        require_signed: raw.policy.require_signed,
        log_level: raw.log.level.clone(),
        log_json: raw.log.format == LogFormat::Json,
    };
    check.problems.or(plan)
}

impl Plan {
    /// How the store is opened.
    pub fn store_options(&self) -> StoreOptions {
        store_options(&self.store)
    }

    /// What the store does to itself.
    pub fn maintenance(&self) -> MaintenanceOptions {
        MaintenanceOptions {
            keep_days: self.store.keep_days,
            scrub_every_h: self.store.scrub_every_h,
            scrub_mib_per_s: self.store.scrub_mib_per_s,
        }
    }

    /// Whether a prediction is refused when its record finds the store's queue full.
    pub fn rejects_when_full(&self) -> bool {
        self.store.when_full == WhenFull::Reject
    }
}

/// How a store is opened by this section; values out of bounds are moved inside.
pub fn store_options(section: &raw::Store) -> StoreOptions {
    let mib = |count: usize| count.saturating_mul(1 << 20);
    StoreOptions {
        group_rows_max: section.group_rows_max,
        group_wait_us: section.group_wait_us,
        queue_rows_max: section.queue_rows_max,
        cache_bytes: mib(section.cache_mib),
        segment_cache_bytes: mib(section.segment_cache_mib),
        log_bytes: section.log_mib.saturating_mul(1 << 20),
        log_rows_max: section.log_rows_max,
        io: match section.io {
            raw::StoreIo::Auto => IoMode::Auto,
            raw::StoreIo::File => IoMode::File,
            raw::StoreIo::Uring => IoMode::Uring,
        },
        tiers: section.tiers.iter().map(tier_of).collect(),
        ..StoreOptions::default()
    }
}

fn cache_options(section: &raw::Cache) -> Option<CacheOptions> {
    let lifetimes = section.lifetimes.iter();
    let options = CacheOptions {
        bytes_max: section.memory_mib.saturating_mul(1 << 20),
        object_bytes_max: section.object_kib_max.saturating_mul(1 << 10),
        lifetimes_s: lifetimes.map(|one| (one.status, one.seconds)).collect(),
        stale_while_revalidate_s: section.stale_while_revalidate_s,
        stale_if_error_s: section.stale_if_error_s,
        is_locked: section.lock,
        lock_timeout: Duration::from_secs(section.lock_timeout_s),
        lock_age: Duration::from_secs(section.lock_timeout_s),
        ..CacheOptions::default()
    };
    (section.memory_mib > 0).then_some(options)
}

fn tier_of(tier: &raw::StoreTier) -> Tier {
    // An empty path cannot be made absolute; it is reported elsewhere.
    let directory = std::path::absolute(&tier.directory).unwrap_or_default();
    Tier { after_days: tier.after_days, directory }
}

struct Check<'a> {
    located: &'a Located,
    problems: Problems,
}

impl Check<'_> {
    fn fail(&mut self, key: &str, message: impl Into<String>) {
        self.problems.add(key, self.located.place(key), message);
    }

    fn address(&mut self, key: &str, text: &str, insecure: bool) -> SocketAddr {
        let Ok(address) = text.parse::<SocketAddr>() else {
            self.fail(key, format!("`{text}` is not an address such as 127.0.0.1:8080"));
            return SocketAddr::from(([127, 0, 0, 1], 0));
        };
        if !address.ip().is_loopback() && !insecure {
            let why = "is not a loopback address, and neither TLS nor authentication protects it";
            self.fail(key, format!("{address} {why}; give --insecure if the network is trusted"));
        }
        address
    }

    /// Network and inference cores. Where there are at most two, both use all of them.
    fn cores(&mut self, raw: &raw::Raw, topology: &Topology) -> (Vec<u32>, Vec<u32>) {
        let allowed = topology.cores();
        let shared = allowed.len() <= 2;
        let network_count = if shared { allowed.len() } else { allowed.len().div_ceil(4) };
        let network = self.core_list("server.network_cores", &raw.server.network_cores, &allowed);
        let network = network.unwrap_or_else(|| allowed[..network_count].to_vec());
        let compute = self.core_list("inference.cores", &raw.inference.cores, &allowed);
        let compute = compute.unwrap_or_else(|| {
            let apart: Vec<u32> =
                allowed.iter().copied().filter(|core| !network.contains(core)).collect();
            if shared || apart.is_empty() { allowed.clone() } else { apart }
        });
        (network, compute)
    }

    /// `None` means that the default holds: the text is "auto", or wrong and reported.
    fn core_list(&mut self, key: &str, text: &str, allowed: &[u32]) -> Option<Vec<u32>> {
        if text == "auto" {
            return None;
        }
        let cores: Vec<u32> = match text.parse::<CpuSet>() {
            Ok(set) => set.iter().collect(),
            Err(error) => {
                self.fail(key, format!("`{text}` is not a list such as 0-3,8: {error}"));
                return None;
            }
        };
        if cores.is_empty() || cores.len() > limits::CORE_COUNT_MAX {
            self.fail(key, "must name at least one core");
            return None;
        }
        if let Some(core) = cores.iter().find(|core| !allowed.contains(core)) {
            self.fail(key, format!("core {core} is not one that this process may use"));
            return None;
        }
        Some(cores)
    }

    fn limits(&mut self, raw: &raw::Raw) {
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
        let cache = &raw.cache;
        within("cache.memory_mib", cache.memory_mib as u64, 0, 1 << 20);
        within("cache.object_kib_max", cache.object_kib_max as u64, 1, 1 << 20);
        within("cache.stale_while_revalidate_s", cache.stale_while_revalidate_s, 0, 1 << 31);
        within("cache.stale_if_error_s", cache.stale_if_error_s, 0, 1 << 31);
        within("cache.lock_timeout_s", cache.lock_timeout_s, 1, 3_600);
        for lifetime in &cache.lifetimes {
            within("cache.lifetimes", lifetime.status.into(), 200, 599);
            within("cache.lifetimes", lifetime.seconds, 0, 1 << 31);
        }
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
        within("inference.loaded_max", inference.loaded_max as u64, 1, 4_096);
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

    fn tiers(&mut self, tiers: &[raw::StoreTier]) {
        for (index, tier) in tiers.iter().enumerate() {
            let is_taken = |other: &raw::StoreTier| {
                other.after_days == tier.after_days || other.directory == tier.directory
            };
            if tier.directory.is_empty() {
                self.fail("store.tiers", format!("[{index}].directory is empty"));
            } else if tiers[..index].iter().any(is_taken) {
                self.fail("store.tiers", format!("[{index}] has the age or directory of another"));
            }
        }
    }

    fn log_level(&mut self, level: &str) {
        if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(level) {
            self.fail("log.level", format!("`{level}` is not a filter: {error}"));
        }
    }

    /// The batcher, which there always is, and the others.
    fn plugins(&mut self, plugins: &[raw::Plugin]) -> (PluginPlan, Vec<PluginPlan>) {
        let mut others: Vec<PluginPlan> = Vec::new();
        let mut batcher = None;
        for (index, plugin) in plugins.iter().enumerate() {
            let planned = self.plugin(index, plugin);
            let is_named = |known: &PluginPlan| known.spec.name == plugin.name;
            if batcher.iter().chain(&others).any(is_named) {
                let name = &plugin.name;
                self.fail(&format!("plugins[{index}].name"), format!("`{name}` is taken already"));
            }
            match plugin.kind {
                PluginKind::Batcher if batcher.is_some() => self.fail(
                    &format!("plugins[{index}]"),
                    "is a second batcher; one decides for all models",
                ),
                PluginKind::Batcher => batcher = Some(planned),
                _ => others.push(planned),
            }
        }
        let batcher = batcher.unwrap_or_else(|| {
            let default = self.plugin(0, &raw::default_batcher());
            if others.iter().any(|other| other.spec.name == default.spec.name) {
                self.fail("plugins", "the name `batcher` is that of the built-in batcher");
            }
            default
        });
        (batcher, others)
    }

    fn plugin(&mut self, index: usize, plugin: &raw::Plugin) -> PluginPlan {
        let key = |part: &str| format!("plugins[{index}]{part}");
        let (part, source) = match (&plugin.path, plugin.builtin.as_deref()) {
            (Some(path), None) => (".path", PluginSource::File(PathBuf::from(path))),
            (None, Some(name)) => (".builtin", PluginSource::Builtin(name.to_owned())),
            _ => {
                self.fail(&key(""), "must have either `path` or `builtin`");
                ("", PluginSource::Builtin(String::new()))
            }
        };
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=64).contains(&plugin.name.len()) || !plugin.name.bytes().all(is_word) {
            self.fail(&key(".name"), "must be 1 to 64 letters, digits, `-` or `_`");
        }
        let limits = &plugin.limits;
        if !(1..=1_024).contains(&limits.memory_mib) {
            self.fail(&key(".limits"), "memory_mib must be 1 to 1024");
        }
        if !(1..=1_000_000).contains(&limits.deadline_us) {
            self.fail(&key(".limits"), "deadline_us must be 1 to 1000000");
        }
        let spec = PluginSpec {
            name: plugin.name.clone(),
            source,
            settings_json: serde_json::to_string(&plugin.settings).unwrap_or_default(),
            limits: PluginLimits {
                memory_bytes: (limits.memory_mib as usize) << 20,
                deadline_us: u64::from(limits.deadline_us),
            },
        };
        if !part.is_empty()
            && let Err(error) = check_manifest(plugin.kind.name(), &spec)
        {
            let is_of_settings = matches!(
                error,
                PolicyError::Settings { .. }
                    | PolicyError::Manifest {
                        source: ManifestError::UnknownSetting { .. } | ManifestError::Value { .. },
                        ..
                    }
            );
            self.fail(&key(if is_of_settings { ".settings" } else { part }), error.to_string());
        }
        PluginPlan { kind: plugin.kind, spec, on_failure: plugin.on_failure }
    }

    fn keys(&mut self, policy: &raw::Policy) -> Vec<PublicKey> {
        let mut keys = Vec::new();
        for text in &policy.trusted_keys {
            match PublicKey::parse(text) {
                Some(key) => keys.push(key),
                None => self.fail(
                    "policy.trusted_keys",
                    format!("`{text}` is no Ed25519 public key of 64 hexadecimal digits"),
                ),
            }
        }
        if policy.require_signed && keys.is_empty() {
            self.fail("policy.require_signed", "needs a key in policy.trusted_keys");
        }
        keys
    }

    fn data_dir(&mut self, path: &Path) {
        let key = "server.data_dir";
        if let Err(error) = std::fs::create_dir_all(path) {
            self.fail(key, format!("{} cannot be created: {error}", path.display()));
            return;
        }
        // The process's rights are what counts, not the mode bits: try what it will do.
        let probe = path.join(".write-probe");
        let tried = std::fs::read_dir(path)
            .and_then(|_| std::fs::write(&probe, b""))
            .and_then(|()| std::fs::remove_file(&probe));
        if let Err(error) = tried {
            self.fail(key, format!("{} cannot be read and written: {error}", path.display()));
        }
    }
}
