//! Owns the routers: which candidate takes a request.
//!
//! All of them keep for each candidate a key by which they are compared, raise the key of the one
//! that was picked, and keep the least key of each block of candidates. Refuses to know upstreams
//! and health checks beyond the table that it is given.
//! Bound: [`Router::observe`] linear in the candidates while their ids stay the same;
//! [`Router::pick`] the square root of their number, without an allocation.

use serde::{Deserialize, Serialize};

/// What [`Router::pick`] returns to leave the choice to the host.
pub const NO_CHOICE: u32 = u32::MAX;
/// Bit of [`Table::states`]: answers its health checks.
pub const HEALTHY: u32 = 1;
/// Bit of [`Table::states`]: takes no new work.
pub const DRAINING: u32 = 2;

/// Which router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The one with the fewest requests in hand for its weight, as nginx's `least_conn`.
    #[default]
    LeastConn,
    /// In proportion to the weights, evenly spread: stride scheduling (Waldspurger and Weihl,
    /// 1995). The guide's weighted balancing draws at random, which bunches.
    Weighted,
    /// One after the other.
    RoundRobin,
    /// The one where the request is expected to be done first: requests in hand times the moving
    /// average of the latency, the more the more of them fail.
    Latency,
}

/// What the operator may set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Which router.
    pub policy: Policy,
}

impl Settings {
    /// Reads the text of one JSON object.
    ///
    /// # Errors
    /// What is wrong, in words for the operator.
    pub fn parse(json: &str) -> Result<Self, String> {
        crate::parse(json)
    }
}

/// The candidates as columns, as `routing.wit` describes them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The time of the table, milliseconds since 1970.
    pub now_ms: u64,
    /// The host's number of each.
    pub ids: Vec<u32>,
    /// The operator's weights, at least 1.
    pub weights: Vec<u32>,
    /// Requests in hand.
    pub in_flight: Vec<u32>,
    /// Requests that can be in hand; 0 where no limit is known.
    pub capacities: Vec<u32>,
    /// Moving average of the time to an answer, microseconds.
    #[serde(with = "crate::number::list")]
    pub latency_us: Vec<f32>,
    /// Share of the latest requests that failed, from 0 to 1.
    #[serde(with = "crate::number::list")]
    pub error_shares: Vec<f32>,
    /// What an hour costs.
    #[serde(with = "crate::number::list")]
    pub cost_per_hour: Vec<f32>,
    /// Bits of state.
    pub states: Vec<u32>,
}

impl Table {
    /// Whether every column has an entry for every candidate.
    pub fn is_even(&self) -> bool {
        let n = self.ids.len();
        [&self.weights, &self.in_flight, &self.capacities, &self.states]
            .iter()
            .all(|column| column.len() == n)
            && [&self.latency_us, &self.error_shares, &self.cost_per_hour]
                .iter()
                .all(|column| column.len() == n)
    }
}

/// Keys of turns are counted from the least again beyond this, so that they stay precise.
const KEY_MAX: f64 = 1e9;

/// A router and what it remembers from table to table.
#[derive(Clone, Debug, Default)]
pub struct Router {
    policy: Policy,
    /// Ids of the latest table; where turns are taken, keys go with them.
    ids: Vec<u32>,
    /// Weights that `steps` were made of.
    weights: Vec<u32>,
    /// What one unit of work adds to the key of each candidate.
    steps: Vec<f32>,
    /// The least is picked; infinite for a candidate that cannot be.
    keys: Vec<f64>,
    /// Candidates of one block, a power of two.
    block: usize,
    /// The least key of each block.
    minima: Vec<f64>,
}

impl Router {
    /// A router that knows no candidates yet.
    pub fn new(settings: Settings) -> Self {
        Self { policy: settings.policy, ..Self::default() }
    }

    /// Takes a new table. One with columns of unequal length leaves no candidate.
    pub fn observe(&mut self, table: &Table) {
        if !table.is_even() {
            self.minima.clear();
            self.keys.fill(f64::INFINITY);
            return;
        }
        self.make_steps(table);
        if self.takes_turns() {
            self.carry_keys(&table.ids);
            self.turn_keys(table, true);
        } else {
            self.load_keys(table, true);
        }
        self.find_minima();
        if self.least() == f64::INFINITY {
            // All are full: the host's queues decide then.
            if self.takes_turns() {
                self.turn_keys(table, false);
            } else {
                self.load_keys(table, false);
            }
            self.find_minima();
        }
    }

    /// The turns that were taken, for a newer version of the component or for asking the same once
    /// more: ids in four bytes each, then keys in eight, little endian. Nothing where no turns are
    /// taken.
    pub fn snapshot(&self) -> Vec<u8> {
        if !self.takes_turns() {
            return Vec::new();
        }
        let ids = self.ids.iter().flat_map(|id| id.to_le_bytes());
        ids.chain(self.keys.iter().flat_map(|key| key.to_le_bytes())).collect()
    }

    /// Takes what [`Self::snapshot`] gave.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        const ENTRY_BYTES: usize = size_of::<u32>() + size_of::<f64>();
        if !state.len().is_multiple_of(ENTRY_BYTES) {
            return Err(format!("{} bytes are no turns", state.len()));
        }
        let (ids, keys) = state.split_at(state.len() / ENTRY_BYTES * size_of::<u32>());
        let keys: Vec<f64> =
            keys.as_chunks().0.iter().map(|key| f64::from_le_bytes(*key)).collect();
        if keys.iter().any(|key| key.is_nan()) {
            return Err("a turn is no number".to_owned());
        }
        if self.takes_turns() {
            self.ids = ids.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id)).collect();
            self.keys = keys;
            // Nothing is picked before there is a table.
            self.minima.clear();
        }
        Ok(())
    }

    fn takes_turns(&self) -> bool {
        matches!(self.policy, Policy::Weighted | Policy::RoundRobin)
    }

    fn make_steps(&mut self, table: &Table) {
        let n = table.ids.len();
        match self.policy {
            Policy::RoundRobin => self.steps.resize(n, 1.0),
            Policy::LeastConn | Policy::Weighted => {
                if !are_same(&self.weights, &table.weights) {
                    self.weights.clone_from(&table.weights);
                    self.steps.clear();
                    self.steps.extend(table.weights.iter().map(|&weight| 1.0 / float_of(weight)));
                }
            }
            Policy::Latency => {
                self.steps.resize(n, 0.0);
                let speeds = table.weights.iter().zip(&table.latency_us).zip(&table.error_shares);
                for (step, ((&weight, &latency_us), &errors)) in self.steps.iter_mut().zip(speeds) {
                    *step = expected_us(latency_us, errors, weight);
                }
            }
        }
    }

    /// Keys of what candidates have in hand, with the request to be placed among it, so that of
    /// two idle ones the better goes first.
    fn load_keys(&mut self, table: &Table, needs_room: bool) {
        self.keys.resize(table.ids.len(), 0.0);
        let rows = table.states.iter().zip(&table.in_flight).zip(&table.capacities);
        for ((key, step), row) in self.keys.iter_mut().zip(&self.steps).zip(rows) {
            let ((&state, &in_flight), &capacity) = row;
            let load = f64::from(*step) * (f64::from(in_flight) + 1.0);
            let can = can_take(state, in_flight, capacity, needs_room);
            *key = if can { load } else { f64::INFINITY };
        }
    }

    /// Keys of turns taken: they count on. A candidate that is new or comes back begins with the
    /// least of them, so that it does not get all requests until it has caught up.
    fn turn_keys(&mut self, table: &Table, needs_room: bool) {
        if self.minima.is_empty() {
            self.find_minima();
        }
        let least = self.least();
        let least = if least < f64::INFINITY { least } else { 0.0 };
        let origin = if least > KEY_MAX { least } else { 0.0 };
        let rows = table.states.iter().zip(&table.in_flight).zip(&table.capacities);
        for (key, ((&state, &in_flight), &capacity)) in self.keys.iter_mut().zip(rows) {
            let turn = if *key < f64::INFINITY { *key } else { least } - origin;
            let can = can_take(state, in_flight, capacity, needs_room);
            *key = if can { turn } else { f64::INFINITY };
        }
    }

    /// Picks the index of a candidate of the latest table, or [`NO_CHOICE`]. `cost_hint` is the
    /// expected work of the request, at least 1; the turn-taking policies count requests instead.
    pub fn pick(&mut self, cost_hint: u32) -> u32 {
        let mut block = 0;
        for (index, minimum) in self.minima.iter().enumerate() {
            if *minimum < self.minima[block] {
                block = index;
            }
        }
        let Some(minimum) = self.minima.get_mut(block) else { return NO_CHOICE };
        if *minimum == f64::INFINITY {
            return NO_CHOICE;
        }
        let begin = block * self.block;
        let keys = self.keys[begin..].iter_mut().take(self.block);
        let work = match self.policy {
            Policy::LeastConn | Policy::Latency => f64::from(cost_hint.max(1)),
            Policy::Weighted | Policy::RoundRobin => 1.0,
        };
        let (mut picked, mut least) = (NO_CHOICE, f64::INFINITY);
        for (index, key) in keys.enumerate() {
            if picked == NO_CHOICE && *key == *minimum {
                // At most u32::MAX candidates fit into the memory of a component.
                picked = (begin + index) as u32;
                *key += f64::from(self.steps[begin + index]) * work;
            }
            least = lesser(*key, least);
        }
        *minimum = least;
        picked
    }

    /// The least of all keys, as far as the minima are up to date.
    fn least(&self) -> f64 {
        self.minima.iter().copied().fold(f64::INFINITY, lesser)
    }

    fn find_minima(&mut self) {
        // A pick looks at the minima and at one block: at their square root both are as many.
        self.block = self.keys.len().isqrt().next_power_of_two();
        self.minima.clear();
        let blocks = self.keys.chunks(self.block);
        self.minima.extend(blocks.map(|keys| {
            // Four at a time: each comparison waits for one of four before it, not for the last.
            let (fours, rest) = keys.as_chunks::<4>();
            let mut least = [f64::INFINITY; 4];
            for four in fours {
                (0..4).for_each(|at| least[at] = lesser(four[at], least[at]));
            }
            least.into_iter().chain(rest.iter().copied()).fold(f64::INFINITY, lesser)
        }));
    }

    /// Brings the keys of the table before to the order of this one; those of others are infinite.
    fn carry_keys(&mut self, ids: &[u32]) {
        if are_same(&self.ids, ids) {
            return;
        }
        let mut known: Vec<(u32, f64)> =
            self.ids.iter().copied().zip(self.keys.iter().copied()).collect();
        known.sort_unstable_by_key(|&(id, _)| id);
        let key_of = |id: &u32| known.binary_search_by_key(id, |&(known, _)| known);
        self.keys =
            ids.iter().map(|id| key_of(id).map_or(f64::INFINITY, |at| known[at].1)).collect();
        self.ids = ids.to_vec();
        self.find_minima();
    }
}

/// Whether a candidate takes a request.
fn can_take(state: u32, in_flight: u32, capacity: u32, needs_room: bool) -> bool {
    let is_up = state & (HEALTHY | DRAINING) == HEALTHY;
    // Without branches, so that several candidates are looked at at once.
    is_up & (!needs_room | (capacity == 0) | (in_flight < capacity))
}

/// Whether two columns are the same; word by word, where WASM's own comparison goes by bytes.
fn are_same(a: &[u32], b: &[u32]) -> bool {
    let differing = |a: &[u32], b: &[u32]| a.iter().zip(b).fold(0, |bits, (a, b)| bits | (a ^ b));
    // A loop of a component looks at its deadline at each turn: sixteen words make it fewer.
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let is_same = |(a, b): (&[u32; 16], &[u32; 16])| differing(a, b) == 0;
    a.len() == b.len()
        && a_rest.len() == b_rest.len()
        && a.iter().zip(b).all(is_same)
        && differing(a_rest, b_rest) == 0
}

/// The lesser of two numbers, of which none is NaN.
fn lesser(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

/// A weight as a float: at least 1, with the 24 bits that a float has. Signed numbers become floats
/// in one instruction everywhere.
fn float_of(weight: u32) -> f32 {
    weight.clamp(1, i32::MAX as u32) as i32 as f32
}

/// Latencies above this count as this, which keeps all keys finite: a quarter of an hour.
const LATENCY_US_MAX: f32 = 1e9;

/// The time until a request is done, over the weight: with this share of failures it takes, on
/// average, so many tries. A candidate that has not answered yet counts as a fast one, so that it
/// is tried.
fn expected_us(latency_us: f32, errors: f32, weight: u32) -> f32 {
    let known = if latency_us > LATENCY_US_MAX { LATENCY_US_MAX } else { latency_us };
    let latency_us = if known > 1.0 { known } else { 1.0 };
    let rest = 1.0 - errors;
    let succeeds = if rest > 0.01 { rest } else { 0.01 };
    let succeeds = if errors > 0.0 { succeeds } else { 1.0 };
    latency_us / (succeeds * float_of(weight))
}

#[cfg(test)]
mod tests;
