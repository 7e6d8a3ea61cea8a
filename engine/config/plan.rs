//! Owns the resolved configuration, which alone the code below sees: addresses parsed, cores
//! chosen, limits checked, the data directory usable.
//!
//! Refuses to change anything besides creating the data directory. Every problem is reported, not
//! only the first. Bound: one value per key.

mod auth;
mod bounds;
pub(super) mod kept;
mod overload;
mod plugins;
mod table;
mod training;
mod zones;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use truststram_base::limits;
use truststram_machine::{CpuSet, RingMode, Topology};
use truststram_policy::PublicKey;
use truststram_proxy::{CacheOptions, DiskSpec, TableSpec};
use truststram_store::{IoMode, MaintenanceOptions, StoreOptions, Tier};

use super::problem::{Problem, Problems};
use super::raw::{self, IoUring, LogFormat, WhenFull};
use super::read::Located;
pub use auth::AuthPlan;
pub use plugins::PluginPlan;

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
    /// Whether these threads go before all others of their cores.
    pub network_first: bool,
    /// One inference worker for each.
    pub inference_cores: Vec<u32>,
    /// The nodes and cores of this machine that the process may use.
    pub topology: Topology,
    /// Limits of the public side.
    pub gateway: raw::Gateway,
    /// Whom the listeners let in.
    pub auth: AuthPlan,
    /// How answers are kept, if any are.
    pub cache: Option<CacheOptions>,
    /// Where it keeps files, if it does.
    pub cache_disk: Option<DiskSpec>,
    /// The HTTP interface.
    pub api: raw::Api,
    /// The inference core.
    pub inference: raw::Inference,
    /// The store.
    pub store: raw::Store,
    /// Whether io_uring is tried.
    pub ring: RingMode,
    /// The batcher policy.
    pub batcher: PluginPlan,
    /// Plugins of other kinds.
    pub other_plugins: Vec<PluginPlan>,
    /// What is kept of the decisions of plugins.
    pub policy: raw::Policy,
    /// Keys that may sign plugins.
    pub trusted_keys: Vec<PublicKey>,
    /// Federated learning.
    pub federated: raw::Federated,
    /// Training jobs.
    pub training: raw::Training,
    /// Cores that train.
    pub training_cores: Vec<u32>,
    /// Whether an installed plugin needs a signature.
    pub require_signed: bool,
    /// Filter of the process's own log.
    pub log_level: String,
    /// Whether that log is JSON.
    pub log_json: bool,
    /// What has no effect, though it is said; nothing of it is wrong.
    pub warnings: Vec<Problem>,
}

/// Turns what was typed into a plan. `insecure` allows addresses that are not loopback.
pub fn resolve(located: &Located, insecure: bool, topology: Topology) -> Result<Plan, Problems> {
    let mut check = Check { located, problems: Problems::default(), warnings: Vec::new() };
    let raw = &located.raw;
    let listen = check.address("server.listen", &raw.server.listen, insecure);
    let admin_listen = check.address("server.admin_listen", &raw.server.admin_listen, insecure);
    if listen == admin_listen && listen.port() != 0 {
        check.fail("server.admin_listen", "is the same address as server.listen");
    }
    let tls_listen = check.tls_address(raw, insecure);
    if tls_listen.is_some_and(|tls| tls.port() != 0 && [listen, admin_listen].contains(&tls)) {
        check.fail("gateway.tls_listen", "is the address of another listener");
    }
    if raw.gateway.proxy_protocol && raw.gateway.trusted_proxies.is_empty() {
        check.fail("gateway.proxy_protocol", "needs `trusted_proxies`, which are believed");
    }
    let table = check.table(raw);
    let (network_cores, inference_cores) = check.cores(raw, &topology);
    let training_cores = check.training(&raw.training, &topology);
    check.bounds(raw);
    check.log_level(&raw.log.level);
    check.tiers(&raw.store.tiers);
    let (batcher, other_plugins) = check.plugins(&raw.plugins);
    let auth = check.auth(raw, &table.limits);
    let trusted_keys = check.trusted_keys(&raw.policy);
    let data_dir = PathBuf::from(&raw.server.data_dir);
    check.data_dir(&data_dir);
    let warnings = std::mem::take(&mut check.warnings);
    let plan = Plan {
        listen,
        admin_listen,
        tls_listen,
        table,
        data_dir,
        drain: Duration::from_secs(raw.server.drain_s),
        network_cores,
        network_first: raw.server.network_first,
        inference_cores,
        topology,
        gateway: raw.gateway.clone(),
        auth,
        cache: cache_options(&raw.cache),
        cache_disk: check.cache_disk(&raw.cache, &raw.server.data_dir),
        api: raw.api.clone(),
        inference: raw.inference.clone(),
        store: raw.store.clone(),
        ring: match raw.machine.io_uring {
            IoUring::Auto => RingMode::Auto,
            IoUring::Off => RingMode::Off,
        },
        batcher,
        other_plugins,
        policy: raw.policy.clone(),
        trusted_keys,
        federated: raw.federated.clone(),
        training: raw.training.clone(),
        training_cores,
        require_signed: raw.policy.require_signed,
        log_level: raw.log.level.clone(),
        log_json: raw.log.format == LogFormat::Json,
        warnings,
    };
    check.problems.or(plan)
}

impl Plan {
    /// Writes its warnings to the log.
    pub fn log_warnings(&self) {
        for warning in &self.warnings {
            tracing::warn!(%warning, "the configuration says what has no effect");
        }
    }

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
    let options = CacheOptions {
        bytes_max: section.memory_mib.saturating_mul(1 << 20),
        object_bytes_max: section.object_kib_max.saturating_mul(1 << 10),
        lifetimes_s: kept::lifetimes(&section.lifetimes),
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
    warnings: Vec<Problem>,
}

impl Check<'_> {
    fn fail(&mut self, key: &str, message: impl Into<String>) {
        self.problems.add(key, self.located.place(key), message);
    }

    fn warn(&mut self, key: &str, message: String) {
        let place = self.located.place(key);
        self.warnings.push(Problem { key: key.to_owned(), place, message });
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

    fn cache_disk(&mut self, cache: &raw::Cache, data_dir: &str) -> Option<DiskSpec> {
        if cache.disk_mib == 0 {
            return None;
        }
        if cache.memory_mib == 0 {
            self.fail("cache.disk_mib", "needs `cache.memory_mib`, which is 0");
        }
        let folder = match cache.disk_dir.as_str() {
            "" => Path::new(data_dir).join("cache"),
            folder => PathBuf::from(folder),
        };
        Some(DiskSpec { folder, bytes_max: cache.disk_mib.saturating_mul(1 << 20) })
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
