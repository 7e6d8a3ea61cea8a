//! Owns one upstream group: its servers, whose turn it is, and what becomes of each request there.
//!
//! Refuses to connect. Bound: [`SERVERS_MAX`] servers; one rotation per network thread, so that
//! turns need no common lock.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use truststram_base::{Counter, Gauge, Histogram};

use super::breaker::{Breaker, Ended};
use super::budget::Budget;
use super::health::{FailLimits, Health};
use super::ring::{Ring, hash};
use super::rotation::{Rotation, Servers, each};
use super::spec::{GroupSpec, Policy, Protocol, ServerSpec, us};
use crate::route::spec::{Fault, is_name};
use crate::stats::DURATION_BOUNDS_US;

/// Most servers of a group.
const SERVERS_MAX: usize = 128;

/// What is counted of one server.
#[derive(Debug)]
pub struct ServerStats {
    /// Requests sent there, further attempts included.
    pub requests: Counter,
    /// Attempts that failed: no connection, or an answer that broke off.
    pub failures: Counter,
    /// Requests that are there now.
    pub open: Gauge,
    /// Until an answer began, microseconds.
    pub latency_us: Histogram,
}

/// What is counted of one group.
#[derive(Debug, Default)]
pub struct GroupStats {
    /// Further attempts.
    pub retries: Counter,
    /// Further attempts that the budget did not allow.
    pub retries_refused: Counter,
    /// Requests for which a second server was asked beside the first.
    pub hedges: Counter,
    /// Those of which the second server's answer was passed on.
    pub hedges_won: Counter,
    /// Second attempts that a budget did not allow.
    pub hedges_refused: Counter,
    /// Requests for which no server could be asked.
    pub without_server: Counter,
    /// Requests refused by the breaker.
    pub broken: Counter,
}

/// What is known of a server for as long as it is configured, reloads included.
#[derive(Debug)]
pub(crate) struct ServerState {
    health: Mutex<Health>,
    addresses: ArcSwap<Vec<SocketAddr>>,
    next: AtomicUsize,
    pub(crate) stats: ServerStats,
}

impl ServerState {
    fn new(addresses: Vec<SocketAddr>) -> Self {
        Self {
            health: Mutex::new(Health::new()),
            addresses: ArcSwap::from_pointee(addresses),
            next: AtomicUsize::new(0),
            stats: ServerStats {
                requests: Counter::new(),
                failures: Counter::new(),
                open: Gauge::new(),
                latency_us: Histogram::new(DURATION_BOUNDS_US),
            },
        }
    }

    pub(crate) fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One server of a group.
pub(crate) struct Server {
    pub(crate) spec: ServerSpec,
    limits: FailLimits,
    pub(crate) state: Arc<ServerState>,
    /// Whether its address is a name, which is looked up again and again.
    pub(crate) is_named: bool,
}

/// A compiled group.
pub(crate) struct Group {
    pub(crate) spec: GroupSpec,
    /// Of its name: connections of one group are not used for another.
    pub(crate) hash: u64,
    pub(crate) servers: Vec<Server>,
    ring: Option<Ring>,
    rotations: Vec<Mutex<Rotation>>,
    budget: Budget,
    /// Where a second server is asked beside the first: how often.
    hedges: Option<Budget>,
    breaker: Option<Arc<Mutex<Breaker>>>,
    pub(crate) stats: Arc<GroupStats>,
}

/// Who asks for a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) thread: usize,
    pub(crate) now_us: u64,
    pub(crate) key: u64,
    pub(crate) tried: Servers,
}

impl Group {
    /// Compiles `spec`, which stands at `key`; what is known of the group `before` is kept.
    pub(crate) fn compile(
        spec: &GroupSpec,
        key: &str,
        threads: usize,
        before: Option<&Self>,
        faults: &mut Vec<Fault>,
    ) -> Arc<Self> {
        check(spec, key, faults);
        let servers: Vec<Server> = spec
            .servers
            .iter()
            .map(|one| {
                let known = before.into_iter().flat_map(|before| &before.servers);
                let known = known.filter(|known| known.spec.address == one.address);
                Server::new(
                    one,
                    spec.check.is_some(),
                    known.map(|known| known.state.clone()).next(),
                )
            })
            .collect();
        let ring = matches!(spec.policy, Policy::Hash(_)).then(|| {
            Ring::new(spec.servers.iter().map(|server| (server.address.as_str(), server.weight)))
        });
        let seeds = 0..threads.max(1) as u64;
        let rotations = seeds.map(|seed| Mutex::new(Rotation::new(servers.len(), seed)));
        let same_breaker = before.filter(|before| before.spec.breaker == spec.breaker);
        Arc::new(Self {
            spec: spec.clone(),
            hash: hash(spec.name.as_bytes()),
            ring,
            rotations: rotations.collect(),
            budget: Budget::new(spec.retry_budget_percent),
            hedges: spec.hedge.map(|hedge| Budget::new(hedge.budget_percent)),
            breaker: match same_breaker {
                Some(before) => before.breaker.clone(),
                None => spec.breaker.map(|spec| Arc::new(Mutex::new(Breaker::new(spec)))),
            },
            stats: before.map(|before| before.stats.clone()).unwrap_or_default(),
            servers,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    fn breaker(&self) -> Option<MutexGuard<'_, Breaker>> {
        let breaker = self.breaker.as_ref()?;
        Some(breaker.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the breaker lets a request on; one that it lets on is ended with [`Self::ended`].
    pub(crate) fn admits(&self, now_us: u64) -> bool {
        let admitted = self.breaker().is_none_or(|mut breaker| breaker.admits(now_us));
        if admitted {
            self.budget.earn();
            self.hedges.iter().for_each(Budget::earn);
        } else {
            self.stats.broken.add(1);
        }
        admitted
    }

    pub(crate) fn ended(&self, how: Ended, now_us: u64) {
        if let Some(mut breaker) = self.breaker() {
            breaker.ended(how, now_us);
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.breaker().is_none_or(|breaker| breaker.is_closed())
    }

    /// Whether one more attempt may be made by the budget; it is then taken from it.
    pub(crate) fn may_retry(&self) -> bool {
        let may = self.budget.take();
        let count = if may { &self.stats.retries } else { &self.stats.retries_refused };
        count.add(1);
        may
    }

    /// The servers that may be asked now: the backups only where no other may, and those that rest
    /// after failures where nobody else is left: there is nothing to lose.
    pub(crate) fn candidates(&self, now_us: u64, tried: Servers) -> Servers {
        let mut found = [0, 0, 0];
        for (place, server) in self.servers.iter().enumerate() {
            let was_tried = tried >> place & 1 == 1;
            if was_tried || server.spec.drain || server.state.addresses.load().is_empty() {
                continue;
            }
            let health = server.state.health();
            if health.allows(server.limits, now_us) {
                found[usize::from(server.spec.backup)] |= 1 << place;
            } else if health.is_up() || !server.limits.is_checked {
                found[2] |= 1 << place;
            }
        }
        found.into_iter().find(|servers| *servers != 0).unwrap_or(0)
    }

    /// Chooses a server.
    pub(crate) fn pick(&self, ask: &Ask) -> Option<usize> {
        self.pick_among(self.candidates(ask.now_us, ask.tried), ask)
    }

    /// Chooses one of `candidates`.
    pub(crate) fn pick_among(&self, candidates: Servers, ask: &Ask) -> Option<usize> {
        let rotation = self.rotations.get(ask.thread).or(self.rotations.first())?;
        let mut rotation = rotation.lock().unwrap_or_else(PoisonError::into_inner);
        let slow_start_us = us(self.spec.slow_start);
        let weight = |place: usize| {
            let server = &self.servers[place];
            server.state.health().weight(server.spec.weight, slow_start_us, ask.now_us)
        };
        let place = match &self.spec.policy {
            Policy::RoundRobin => rotation.next(candidates, weight),
            Policy::Random => rotation.by_chance(candidates, weight),
            Policy::LeastConn => {
                let least = self.least_open(candidates, weight);
                rotation.next(least, weight)
            }
            Policy::Ewma => self.cheaper_of_two(candidates, &mut rotation, ask.now_us),
            Policy::Hash(_) => self.ring.as_ref()?.find(ask.key, candidates),
        }?;
        let server = &self.servers[place];
        server.state.health().chosen(server.limits, ask.now_us);
        Some(place)
    }

    /// Those with the fewest open requests for their weight.
    fn least_open(&self, candidates: Servers, weight: impl Fn(usize) -> i64) -> Servers {
        let mut least: Option<(i128, i128)> = None;
        let mut found = 0;
        for place in each(candidates) {
            let open = i128::from(self.servers[place].state.stats.open.get());
            let weight = i128::from(weight(place).max(1));
            // open / weight against the least, without dividing.
            let order = least.map(|(least, its)| (open * its).cmp(&(least * weight)));
            match order {
                Some(std::cmp::Ordering::Greater) => {}
                Some(std::cmp::Ordering::Equal) => found |= 1 << place,
                None | Some(std::cmp::Ordering::Less) => {
                    least = Some((open, weight));
                    found = 1 << place;
                }
            }
        }
        found
    }

    fn cheaper_of_two(
        &self,
        candidates: Servers,
        rotation: &mut Rotation,
        now_us: u64,
    ) -> Option<usize> {
        let count = u64::from(candidates.count_ones());
        let nth = |index: u64| each(candidates).nth(index as usize);
        let first = rotation.random(count);
        if count < 2 {
            return nth(first);
        }
        // Another one: a step of 1 to count - 1 around the circle.
        let second = (first + 1 + rotation.random(count - 1)) % count;
        let (first, second) = (nth(first)?, nth(second)?);
        let cost = |place: usize| {
            let server = &self.servers[place];
            let open = server.state.stats.open.get();
            let cost = server.state.health().cost(open, now_us);
            cost / f64::from(server.spec.weight.max(1))
        };
        Some(if cost(second) < cost(first) { second } else { first })
    }

    /// Sends a request there: it is open until the lease ends.
    pub(crate) fn lease(self: &Arc<Self>, place: usize, ask: &Ask) -> Lease {
        let stats = &self.servers[place].state.stats;
        stats.requests.add(1);
        stats.open.raise(1);
        Lease { group: self.clone(), place, thread: ask.thread, began_us: ask.now_us }
    }
}

fn check(spec: &GroupSpec, key: &str, faults: &mut Vec<Fault>) {
    let mut fault = |part: &str, message: String| {
        faults.push(Fault::new(format!("{key}{part}"), message));
    };
    if !is_name(&spec.name) {
        fault(".name", "must be 1 to 64 characters".to_owned());
    }
    if !(1..=SERVERS_MAX).contains(&spec.servers.len()) {
        fault(".servers", format!("must be 1 to {SERVERS_MAX}, found {}", spec.servers.len()));
    }
    for (index, server) in spec.servers.iter().enumerate() {
        let key = format!(".servers[{index}]");
        let port = server.address.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
        if !matches!(port, Some((host, Ok(1..))) if !host.is_empty()) {
            let message = format!("`{}` is not a host and a port", server.address);
            fault(&format!("{key}.address"), message);
        }
        if spec.servers[..index].iter().any(|earlier| earlier.address == server.address) {
            fault(&format!("{key}.address"), "is there already".to_owned());
        }
        if !(1..=65_535).contains(&server.weight) {
            fault(&format!("{key}.weight"), "must be 1 to 65535".to_owned());
        }
    }
    if let Some(check) = &spec.check {
        let is_path = |path: &String| path.starts_with('/') && !path.contains(char::is_whitespace);
        if !check.path.as_ref().is_none_or(is_path) {
            fault(".check", "path must begin with a slash and have no blanks".to_owned());
        }
        if check.path.is_some() && spec.protocol != Protocol::Http {
            let message = "only servers without TLS that speak HTTP/1.1 are asked for a path";
            fault(".check", format!("{message}; leave `path` out to check connections"));
        }
    }
    if spec.host.as_ref().is_some_and(|host| http::HeaderValue::from_str(host).is_err()) {
        fault(".host", "has bytes that no header may have".to_owned());
    }
}

impl Server {
    fn new(spec: &ServerSpec, is_checked: bool, known: Option<Arc<ServerState>>) -> Self {
        let fixed = spec.address.parse::<SocketAddr>().ok();
        let new = || Arc::new(ServerState::new(fixed.into_iter().collect()));
        Self {
            limits: FailLimits {
                max_fails: spec.max_fails,
                fail_timeout_us: us(spec.fail_timeout),
                is_checked,
            },
            spec: spec.clone(),
            state: known.unwrap_or_else(new),
            is_named: fixed.is_none(),
        }
    }

    /// The address to connect to: those of a name in turn.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        let addresses = self.state.addresses.load();
        let next = self.state.next.fetch_add(1, Ordering::Relaxed);
        addresses.get(next % addresses.len().max(1)).copied()
    }

    /// Whether its checks and failures let it be asked now.
    pub(crate) fn may_be_asked(&self, now_us: u64) -> bool {
        self.is_known() && self.state.health().allows(self.limits, now_us)
    }

    /// Whether its name was looked up, if it is one.
    pub(crate) fn is_known(&self) -> bool {
        !self.state.addresses.load().is_empty()
    }

    /// Takes what a name stands for now.
    pub(crate) fn found(&self, addresses: Vec<SocketAddr>) {
        if **self.state.addresses.load() != addresses {
            self.state.addresses.store(Arc::new(addresses));
        }
    }
}

/// A request at a server; it is open until this is dropped.
pub(crate) struct Lease {
    pub(crate) group: Arc<Group>,
    pub(crate) place: usize,
    thread: usize,
    began_us: u64,
}

impl Lease {
    pub(crate) fn server(&self) -> &Server {
        &self.group.servers[self.place]
    }

    /// The answer began.
    pub(crate) fn answered(&self, now_us: u64) {
        let latency_us = now_us.saturating_sub(self.began_us);
        let state = &self.server().state;
        state.stats.latency_us.observe(latency_us);
        if self.group.spec.policy == Policy::Ewma {
            state.health().measured(latency_us, now_us);
        }
    }

    /// The answer is whole.
    pub(crate) fn succeeded(&self, now_us: u64) {
        let server = self.server();
        server.state.health().succeeded(server.limits, now_us);
    }

    /// There was no connection, or the answer broke off.
    pub(crate) fn failed(&self, now_us: u64) {
        let server = self.server();
        server.state.stats.failures.add(1);
        server.state.health().failed(now_us);
        if let Some(rotation) = self.group.rotations.get(self.thread) {
            let mut rotation = rotation.lock().unwrap_or_else(PoisonError::into_inner);
            rotation.failed(self.place, server.spec.weight, server.spec.max_fails);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.server().state.stats.open.lower(1);
    }
}

mod hedging;
#[cfg(test)]
mod tests;
