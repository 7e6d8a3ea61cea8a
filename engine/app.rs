//! Owns the running process: store, plugins, engine and gateway, started in this order and stopped
//! in the reverse, so that nothing acknowledged is lost.
//!
//! Refuses to know arguments and files of configuration. Bound: the drain by its time limit.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;

use truststram_api::Ports;
use truststram_api::ports::Records;
use truststram_base::{Clock, Counter, SystemClock};
use truststram_machine::{DirLock, HostFacts, MachineError, Ring, probe};
use truststram_model::{Engine, ModelError};
use truststram_policy::{Host, PolicyError};
use truststram_proxy::{Authority, Cache, Door, Gateway, Listener, Live, ProxyError};
use truststram_store::{Store, StoreError};

use crate::config::{Plan, Problems, Raw};
use crate::keys::{self, KeyError};
use crate::listening::{gateway_options, listeners, live, open_access_log, open_cache};
use crate::quotas::{QuotaError, Quotas};
use crate::registry::{RegistryError, Versions, incoming};
use crate::threads::Threads;
use crate::wire::datasets::StoreDatasets;
use crate::wire::decisions::Decisions;
use crate::wire::federated::Federation;
use crate::wire::infer::EngineInfer;
use crate::wire::inline::InlineWorkers;
use crate::wire::keys::StoredKeys;
use crate::wire::operate::{Operator, Parts};
use crate::wire::policies::OpenPolicies;
use crate::wire::predict::Predictions;
use crate::wire::questions::Questions;
use crate::wire::reconfigure::{Read, Reconfigure};
use crate::wire::records::StoreRecords;
use crate::wire::reload::Reloads;
use crate::wire::replies::Replies;
use crate::wire::serving::EngineModels;
use crate::wire::sink::{Outcome, Ticket};
use crate::wire::slow_queries::SlowQueries;
use crate::wire::store_operations::StoreOperator;
use crate::wire::tensors::EngineTensors;
use crate::wire::training::TrainingJobs;
use crate::wire::versions::{StoreRegistry, UPLOADS_MAX};
use crate::workers::{engine, host_options};

/// Why the process could not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The machine.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The API keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// What keys have used of a day.
    #[error(transparent)]
    Quotas(#[from] QuotaError),
    /// The inference engine.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A model that is registered.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The network.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The plugin host itself.
    #[error(transparent)]
    Policy(PolicyError),
}

/// Why a start failed: a plugin that the configuration names, or anything else.
#[derive(Debug)]
pub enum StartError {
    /// The batcher plugin cannot be used.
    Plugin(PolicyError),
    /// Anything else.
    Other(AppError),
}

impl<E: Into<AppError>> From<E> for StartError {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// The data directory, owned and open, before anything is served.
pub struct Started {
    lock: DirLock,
    /// The open store.
    pub store: Arc<Store>,
    /// The process's clock.
    pub clock: Arc<dyn Clock>,
}

impl Started {
    /// Takes the data directory and opens the store in it.
    ///
    /// # Errors
    /// [`MachineError::Locked`] names the process that has it.
    pub fn open(plan: &Plan) -> Result<Self, AppError> {
        let lock = DirLock::acquire(&plan.data_dir)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let store = Arc::new(Store::open(&plan.data_dir, plan.store_options(), clock.clone())?);
        Ok(Self { lock, store, clock })
    }
}

/// Where the listeners are.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// For everybody.
    pub public: Door,
    /// For everybody, with TLS, if there is one.
    pub tls: Door,
    /// For operators.
    pub admin: Door,
}

/// The running process.
pub struct App {
    parts: Arc<Parts>,
    threads: Threads,
    decisions: Option<Arc<Decisions>>,
    federation: Federation,
    training: TrainingJobs,
    quotas: Quotas,
    gateway: Gateway,
    addresses: Addresses,
    drain: Duration,
    _lock: DirLock,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl App {
    /// Loads all registered models and serves on the bound addresses. `raw` is the configuration
    /// that `plan` was made from, `read` reads it again.
    pub fn start(
        plan: &Plan,
        raw: &Raw,
        read: Read,
        started: Started,
        bound: Addresses,
    ) -> Result<Self, StartError> {
        let Started { lock, store, clock } = started;
        let mode = plan.ring;
        let (ring, ring_status) = probe(mode);
        let plugins = plugins(plan, &clock)?;
        let policies =
            OpenPolicies::start(plugins.clone(), plan, &store).map_err(StartError::Plugin)?;
        let replies = Replies::new(plan.network_cores.len());
        let dropped = Arc::new(Counter::new());
        let (engine, inline) = engine(plan, &store, &clock, &replies, (&policies, &dropped))?;
        let versions = versions(plan, &store, &engine, &clock, ring)?;
        let access_log = open_access_log(plan, mode, &clock)?;
        let threads = Threads::start(plan, &store)?;
        let infer = EngineInfer {
            engine: engine.clone(),
            inline: inline.clone(),
            replies: replies.clone(),
            clock: clock.clone(),
            deadline_ms: plan.api.deadline_ms,
            texts: threads.texts.clone(),
            reloads: Reloads::default(),
        };
        infer.reloads.begin(versions.clone(), threads.models.clone());
        let (decisions, live) = (policies.decisions().cloned(), live(plan)?);
        let authority = authority(plan, &store, clock.utc_us())?;
        let cache = open_cache(plan, &clock)?;
        let parts = Arc::new(Parts {
            clock,
            host: HostFacts::of_host(),
            topology: plan.topology.clone(),
            ring: ring_status,
            network_cores: plan.network_cores.clone(),
            precedence: threads.precedence.clone(),
            store: store.clone(),
            engine,
            host_of_plugins: plugins,
            plugins: policies.bound().to_vec(),
            dropped,
            access_log,
            draining: AtomicBool::new(false),
            reconfigure: reconfigure(read, raw, &live, cache.as_ref(), &bound),
            cache: cache.clone(),
            authority: authority.clone(),
            reconfigurer: threads.reconfigurer.clone(),
            federation: OnceLock::new(),
            training: OnceLock::new(),
            quota_turns: Arc::default(),
            listeners: OnceLock::new(),
        });
        let federation = Federation::start(plan, &versions, policies.rounds(), &parts, &threads)?;
        let training = TrainingJobs::start(plan, &versions, &parts, &threads)?;
        let ports = Ports {
            federated: Arc::new(federation.clone()),
            training: Arc::new(training.clone()),
            ..ports(plan, infer, versions, policies, &parts, &threads)
        };
        let quotas = Quotas::start(&live, &parts)?;
        let listeners = listeners(plan, &bound, ports, &live, cache, &authority);
        let gateway = open(listeners, plan, &parts, (replies, inline))?;
        Ok(Self {
            parts,
            threads,
            decisions,
            federation,
            training,
            quotas,
            gateway,
            addresses: bound,
            drain: plan.drain,
            _lock: lock,
        })
    }

    /// The public address with TLS, if there is one.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.addresses.tls.address()
    }

    /// Reads the configuration again and takes over what needs no restart, all of it or nothing.
    ///
    /// # Errors
    /// Everything that is wrong, or that needs a restart.
    pub fn reload(&self) -> Result<(), Problems> {
        self.parts.reconfigure.run()
    }

    /// The public address, with the port that was really bound.
    pub fn public_address(&self) -> Option<SocketAddr> {
        self.addresses.public.address()
    }

    /// The operators' address.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.addresses.admin.address()
    }

    /// A handle that ends a running drain at once.
    pub fn cutter(&self) -> impl Fn() + Send + Sync + use<> {
        self.gateway.cutter()
    }

    /// Has the access log opened anew, after it was renamed away.
    pub fn reopen_logs(&self) {
        if let Some(log) = &self.parts.access_log {
            log.reopen();
        }
    }

    /// Drains: takes no more connections, lets open requests finish, writes what is queued, and
    /// joins every thread. Returns how many connections were cut.
    pub fn stop(self) -> Result<usize, AppError> {
        self.parts.draining.store(true, Ordering::Relaxed);
        self.federation.send_away();
        self.training.send_away();
        let drained = self.gateway.drain(self.drain);
        // Each step is taken whatever became of the one before; the first error is reported.
        let federation = self.federation.0.as_ref().map_or(Ok(()), |all| all.thread.close());
        let training = self.training.0.as_ref().map_or(Ok(()), |all| all.trainers.close());
        let quotas = self.quotas.close();
        let bringers = self.threads.close_bringers();
        let engine = self.parts.engine.close();
        let keepers = self.threads.close_keepers();
        // The workers have ended, so that all runs of decisions are over.
        let decisions = self.decisions.as_ref().map_or(Ok(()), |decisions| decisions.close());
        let store = self.parts.store.close();
        let log = self.parts.access_log.as_ref().map_or(Ok(()), |log| log.close());
        let plugins = self.parts.host_of_plugins.close();
        let drained = drained?;
        federation?;
        training?;
        quotas?;
        bringers?;
        engine?;
        keepers?;
        decisions?;
        store?;
        log?;
        plugins.map_err(AppError::Policy)?;
        Ok(drained.connections_cut)
    }
}

/// Opens the gateway, and says which listener has which figures.
fn open(
    listeners: Vec<Listener>,
    plan: &Plan,
    parts: &Arc<Parts>,
    threads: (Arc<Replies<Outcome>>, Arc<InlineWorkers<Ticket>>),
) -> Result<Gateway, ProxyError> {
    let gateway = Gateway::start(listeners, gateway_options(plan, parts, threads))?;
    let named = ["public", "admin", "tls"].into_iter().zip(gateway.stats().iter().cloned());
    // Once, when they listen.
    let _ = parts.listeners.set(named.collect());
    Ok(gateway)
}

/// What reads the configuration again.
fn reconfigure(
    read: Read,
    raw: &Raw,
    live: &Arc<Live>,
    cache: Option<&Arc<Cache>>,
    doors: &Addresses,
) -> Arc<Reconfigure> {
    let (started, live, cache) = (raw.clone(), live.clone(), cache.cloned());
    Arc::new(Reconfigure { read, started, live, cache, doors: doors.clone() })
}

/// What runs plugins.
fn plugins(plan: &Plan, clock: &Arc<dyn Clock>) -> Result<Arc<Host>, AppError> {
    let host = Host::with(clock.clone(), host_options(plan));
    host.map(Arc::new).map_err(AppError::Policy)
}

/// What judges credentials, with the keys and the seeds of the store.
fn authority(plan: &Plan, store: &Store, now_us: i64) -> Result<Arc<Authority>, KeyError> {
    let authority = Authority::new(plan.auth.failure_rate, plan.auth.failure_burst);
    authority.keys().replace(keys::load(store)?);
    authority.signers().replace(&keys::signers::open(store, now_us)?);
    Ok(Arc::new(authority))
}

/// The registered versions, loaded.
fn versions(
    plan: &Plan,
    store: &Arc<Store>,
    engine: &Arc<Engine<Ticket>>,
    clock: &Arc<dyn Clock>,
    ring: Box<dyn Ring>,
) -> Result<Arc<Versions<Ticket>>, RegistryError> {
    incoming::sweep(&plan.data_dir)?;
    // Files are read near the first worker; each worker copies its replica to its own node.
    let mut nodes = plan.topology.nodes.iter();
    let versions = Versions {
        store: store.clone(),
        engine: engine.clone(),
        data_dir: plan.data_dir.clone(),
        clock: clock.clone(),
        node: nodes.find(|node| !node.cores.is_empty()).map(|node| node.id),
        ring: Mutex::new(ring),
        failures: Mutex::default(),
    };
    versions.load_all()?;
    Ok(Arc::new(versions))
}

/// The ways by which the API reaches the engine.
fn ports(
    plan: &Plan,
    infer: EngineInfer,
    versions: Arc<Versions<Ticket>>,
    policies: OpenPolicies,
    parts: &Arc<Parts>,
    threads: &Threads,
) -> Ports {
    let (store, clock, reader) = (&parts.store, &parts.clock, &threads.reader);
    let slow = Arc::new(SlowQueries::new(clock.clone(), plan.store.slow_query_ms));
    let questions = Questions { store: store.clone(), clock: clock.clone(), slow: slow.clone() };
    let datasets = StoreDatasets {
        store: store.clone(),
        reader: reader.clone(),
        writer: threads.appender.clone(),
        clock: clock.clone(),
        slow,
    };
    let operations = StoreOperator {
        parts: parts.clone(),
        thread: threads.maintenance.clone(),
        reader: reader.clone(),
    };
    let keys = StoredKeys {
        store: store.clone(),
        authority: parts.authority.clone(),
        thread: threads.keys.clone(),
        live: parts.reconfigure.live().clone(),
        clock: clock.clone(),
        token_ttl_s: plan.auth.token_ttl_s,
    };
    let policies = policies.serve(threads.loader.clone(), reader.clone(), store.clone());
    let infer = Arc::new(infer);
    let records: Arc<dyn Records> =
        Arc::new(StoreRecords { questions: Arc::new(questions), reader: reader.clone() });
    let tensors = EngineTensors { infer: infer.clone(), thread: threads.similarities.clone() };
    let registry = StoreRegistry {
        versions: versions.clone(),
        loader: threads.models.clone(),
        writer: threads.uploads.clone(),
        reader: reader.clone(),
        uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
    };
    let models = EngineModels {
        infer: infer.clone(),
        versions,
        loader: threads.models.clone(),
        reader: reader.clone(),
    };
    Ports {
        infer: Arc::new(Predictions(infer)),
        tensors: Arc::new(tensors),
        models: Arc::new(models),
        registry: Arc::new(registry),
        records,
        datasets: Arc::new(datasets),
        federated: Arc::new(Federation(None)),
        training: Arc::new(TrainingJobs(None)),
        store: Arc::new(operations),
        operate: Arc::new(Operator(parts.clone())),
        keys: Arc::new(keys),
        policies: Arc::new(policies),
        server_timing: plan.api.server_timing,
    }
}
