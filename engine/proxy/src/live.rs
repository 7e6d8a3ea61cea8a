//! Owns what a reload exchanges: routes, upstream groups, limits, certificates, trusted proxies.
//! All of it is one table; a request keeps the one that it began with.
//!
//! Refuses a table with a fault: then nothing changes. Bound: tables live as long as requests that
//! use them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::HeaderValue;
use rustls::ServerConfig;
use tokio::sync::watch;

use crate::access::{Access, AccessSpec};
use crate::auth::{AuthRules, AuthSpec, FetchStats};
use crate::compress::{Compiled, CompressionSpec};
use crate::cors::{Cors, CorsSpec};
use crate::forwarded::{Networks, RealIp};
use crate::limit::{LimitSpec, Zones};
use crate::limiting::Gate;
use crate::overload::{OverloadSpec, OverloadStats, Valve};
use crate::route::compile::Route;
use crate::route::spec::{Fault, RouteSpec, Scheme};
use crate::route::table::{Made, Routes};
use crate::stats::RouteStats;
use crate::tls::{self, Tickets, TlsSpec};
use crate::upstream::group::{Group, GroupStats, ServerStats};
use crate::upstream::spec::GroupSpec;
use crate::upstream::upkeep::look_up;

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

/// What a table is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSpec {
    /// Routes; without any, all requests are answered by the router.
    pub routes: Vec<RouteSpec>,
    /// Upstream groups.
    pub upstreams: Vec<GroupSpec>,
    /// Addresses and networks of proxies that are believed.
    pub trusted_proxies: Vec<String>,
    /// Where they say whom they speak for.
    pub real_ip: RealIp,
    /// How TLS is spoken, where it is.
    pub tls: Option<TlsSpec>,
    /// Whether answers say that they are not to be framed and not to be sniffed.
    pub security_headers: bool,
    /// Which answers are compressed.
    pub compression: CompressionSpec,
    /// What of requests is logged, where they are.
    pub access: AccessSpec,
    /// How often and how many at a time requests may come.
    pub limits: LimitSpec,
    /// The port by TLS that requests without it are sent to, if they are.
    pub https_port: Option<u16>,
    /// Seconds for which clients that came by TLS are to come by it again; 0 says nothing.
    pub hsts_s: u64,
    /// Whom the public side lets in.
    pub auth: AuthSpec,
    /// Which pages of other origins may read answers.
    pub cors: CorsSpec,
    /// What is done when more comes than can be done, if anything is.
    pub overload: Option<OverloadSpec>,
}

/// The compiled table.
pub(crate) struct Table {
    pub(crate) routes: Routes,
    groups: Vec<Arc<Group>>,
    zones: Zones,
    pub(crate) access: Access,
    pub(crate) compression: Arc<Compiled>,
    /// What every request must pass.
    pub(crate) gate: Option<Gate>,
    pub(crate) trusted: Networks,
    pub(crate) real_ip: RealIp,
    tls: Option<Arc<ServerConfig>>,
    pub(crate) security_headers: bool,
    pub(crate) hsts: Option<HeaderValue>,
    pub(crate) https_port: Option<u16>,
    pub(crate) auth: AuthRules,
    pub(crate) cors: Option<Cors>,
    pub(crate) overload: Option<OverloadSpec>,
    /// Whether it has anybody asked who they are.
    pub(crate) asks_anybody: bool,
    /// Whether a route or a limit reads fields of requests.
    pub(crate) reads_headers: bool,
    /// Its number among all tables of the process.
    pub(crate) number: u64,
}

impl Table {
    /// Whether requests by `scheme` may be answered without Pingora's proxy, which compresses, and
    /// sends those without TLS elsewhere.
    pub(crate) fn is_direct(&self, scheme: Scheme) -> bool {
        let stays = self.https_port.is_none() || scheme == Scheme::Https;
        self.compression.encodings.is_empty() && stays
    }

    pub(crate) fn groups(&self) -> &[Arc<Group>] {
        &self.groups
    }

    pub(crate) fn tls(&self) -> Option<&Arc<ServerConfig>> {
        self.tls.as_ref()
    }

    fn compile(
        spec: &TableSpec,
        threads: usize,
        tickets: Option<&Tickets>,
        before: Option<&Self>,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut groups: Vec<Arc<Group>> = Vec::new();
        for (index, group) in spec.upstreams.iter().enumerate() {
            let key = format!("upstreams[{index}]");
            if groups.iter().any(|earlier| earlier.name() == group.name) {
                faults.push(Fault::new(format!("{key}.name"), "is taken already"));
            }
            let known = before.into_iter().flat_map(Self::groups);
            let mut known = known.filter(|known| known.name() == group.name);
            let known = known.next().map(Arc::as_ref);
            groups.push(Group::compile(group, &key, threads, known, &mut faults));
        }
        let stats = |name: &str| {
            let known = before.into_iter().flat_map(|before| before.routes.all());
            let mut known = known.filter(|known| known.name == name);
            known.next().map_or_else(|| Arc::new(RouteStats::new()), |known| known.stats.clone())
        };
        let access = Access::compile(&spec.access, &mut faults);
        let compression = Arc::new(Compiled::compile(&spec.compression, &mut faults));
        let limits = &spec.limits;
        let zones = Zones::make(&limits.zones, before.map(|before| &before.zones));
        let every = zones.limits("gateway", &limits.every, limits.is_dry_run, &mut faults);
        let made = Made { groups: &groups, zones: &zones, limits };
        let routes = Routes::compile(&spec.routes, &made, stats, &mut faults);
        doors(spec, &mut faults);
        let trusted = Networks::parse(&spec.trusted_proxies).unwrap_or_else(|message| {
            faults.push(Fault::new("gateway.trusted_proxies", message));
            Networks::default()
        });
        let tls = spec.tls.as_ref().and_then(|tls| tls::compile(tls, tickets, &mut faults));
        let hsts = format!("max-age={}; includeSubDomains", spec.hsts_s);
        let hsts = HeaderValue::try_from(hsts).ok().filter(|_| spec.hsts_s > 0);
        let cors = Cors::compile(&spec.cors, &mut faults);
        let auth = AuthRules::compile(&spec.auth, before.map(|before| &before.auth), &mut faults);
        let of_routes = |route: &Route| route.auth.is_required == Some(true);
        let asks_anybody = auth.is_required || routes.all().iter().any(of_routes);
        if !faults.is_empty() {
            return Err(faults);
        }
        let reads_headers =
            zones.read_headers() || routes.all().iter().any(|route| !route.headers.is_empty());
        Ok(Self {
            reads_headers,
            number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
            routes,
            groups,
            zones,
            access,
            compression,
            gate: Gate::new(every, limits.status),
            trusted,
            real_ip: spec.real_ip,
            tls,
            security_headers: spec.security_headers,
            hsts,
            https_port: spec.https_port,
            auth,
            cors,
            overload: spec.overload.clone(),
            asks_anybody,
        })
    }
}

/// Faults of routes that say who may come in what they cannot keep.
fn doors(spec: &TableSpec, faults: &mut Vec<Fault>) {
    for (index, route) in spec.routes.iter().enumerate().filter(|(_, route)| route.is_cached) {
        if route.auth.is_required.unwrap_or(spec.auth.is_required) {
            // What one is answered, another would be.
            let why = "cannot go with authentication; give the route `auth = \"off\"`";
            faults.push(Fault::new(format!("routes[{index}].cache"), why));
        }
    }
    if spec.tls.as_ref().is_none_or(|tls| tls.client_ca.is_none()) {
        let mut routes = spec.routes.iter().enumerate();
        if let Some((index, _)) = routes.find(|(_, route)| route.auth.needs_certificate) {
            let why = "needs gateway.tls_listen and gateway.tls_client_ca, whose certificates \
                       it asks for";
            faults.push(Fault::new(format!("routes[{index}].client_certificate"), why));
        }
    }
}

/// The table that new requests use.
pub struct Live {
    table: ArcSwap<Table>,
    threads: usize,
    tickets: Tickets,
    changed: watch::Sender<u64>,
    replacing: Mutex<()>,
    valve: Arc<Valve>,
}

/// What is counted of one server of a group.
pub struct ServerFigures<'a> {
    /// Its address.
    pub address: &'a str,
    /// Whether it may be asked now.
    pub is_up: bool,
    /// Its counts.
    pub stats: &'a ServerStats,
}

/// Everything that is wrong with `spec`; files of certificates are read for it.
pub fn check(spec: &TableSpec) -> Vec<Fault> {
    Table::compile(spec, 1, None, None).err().unwrap_or_default()
}

/// Routes of `spec`, which has no faults, that never ask a second server although their group has
/// `hedge`, and why; `has_cache` says whether there is a cache.
pub fn unhedged(spec: &TableSpec, has_cache: bool) -> Vec<Fault> {
    let hedges = spec.upstreams.iter().any(|group| group.hedge.is_some());
    let table = hedges.then(|| Table::compile(spec, 1, None, None).ok()).flatten();
    table.map(|table| table.unhedged(has_cache)).unwrap_or_default()
}

impl Live {
    /// Compiles the first table, for so many network threads. Names of servers are looked up.
    ///
    /// # Errors
    /// Everything that is wrong with `spec`.
    pub fn new(spec: &TableSpec, threads: usize) -> Result<Arc<Self>, Vec<Fault>> {
        let tickets = tls::tickets().map_err(|why| vec![Fault::new("gateway.tls", why)])?;
        let table = Table::compile(spec, threads, Some(&tickets), None)?;
        look_up_new(&table);
        Ok(Arc::new(Self {
            table: ArcSwap::from_pointee(table),
            threads,
            tickets,
            changed: watch::Sender::new(0),
            replacing: Mutex::new(()),
            valve: Valve::new(),
        }))
    }

    /// Exchanges the table for new requests; those under way end with the one that they began with.
    /// Waits for the resolver, so that it is not for network threads.
    ///
    /// # Errors
    /// Everything that is wrong with `spec`; the table is then as it was.
    pub fn replace(&self, spec: &TableSpec) -> Result<(), Vec<Fault>> {
        let _one_at_a_time = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.table.load_full();
        let table = Table::compile(spec, self.threads, Some(&self.tickets), Some(&before))?;
        look_up_new(&table);
        self.table.store(Arc::new(table));
        self.changed.send_modify(|turn| *turn += 1);
        Ok(())
    }

    /// How often the table was exchanged.
    pub fn reloads(&self) -> u64 {
        *self.changed.borrow()
    }

    /// The zones of limits; those that a reload leaves as they are stay the same.
    pub fn zones(&self) -> Zones {
        self.table.load().zones.clone()
    }

    /// Calls `see` with the name of each issuer whose keys are fetched, how many they are, and what
    /// became of fetches.
    pub fn each_issuer(&self, mut see: impl FnMut(&str, usize, &FetchStats)) {
        for issuer in &self.table.load().auth.issuers {
            if let Some((name, set)) = issuer.fetched() {
                see(name, set.keys().len(), &set.stats);
            }
        }
    }

    /// Calls `see` with the name and counts of each route.
    pub fn each_route(&self, mut see: impl FnMut(&str, &RouteStats)) {
        for route in self.table.load().routes.all() {
            see(&route.name, &route.stats);
        }
    }

    /// Calls `see` with the name and counts of each group, whether its breaker is closed, and its
    /// servers; `now_us` is monotonic.
    pub fn each_upstream(
        &self,
        now_us: u64,
        mut see: impl FnMut(&str, &GroupStats, bool, &[ServerFigures<'_>]),
    ) {
        for group in self.table.load().groups() {
            let servers: Vec<ServerFigures<'_>> = group
                .servers
                .iter()
                .map(|server| ServerFigures {
                    address: &server.spec.address,
                    is_up: server.may_be_asked(now_us),
                    stats: &server.state.stats,
                })
                .collect();
            see(group.name(), &group.stats, group.is_closed(), &servers);
        }
    }

    /// What became of requests where more came than can be done.
    pub fn overload(&self) -> &OverloadStats {
        &self.valve.stats
    }

    /// What has come to its limit, so that requests of low priority are refused.
    pub fn strained(&self) -> Option<&'static str> {
        self.valve.strained()
    }

    pub(crate) fn valve(&self) -> &Arc<Valve> {
        &self.valve
    }

    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

fn look_up_new(table: &Table) {
    let servers = table.groups.iter().flat_map(|group| &group.servers);
    servers.filter(|server| server.is_named && !server.is_known()).for_each(look_up);
}
