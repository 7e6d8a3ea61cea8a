//! Owns the routers: which candidate takes a request.
//!
//! All of them keep the candidates in a heap under the key by which they are compared, and raise
//! the key of the one that was picked, so that a pick costs the logarithm of their number.
//! Refuses to know upstreams and health checks beyond the table that it is given.
//! Bound: [`Router::observe`] linear in the candidates while their ids stay the same;
//! [`Router::pick`] logarithmic, without an allocation.

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

/// One candidate in the heap.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The least is picked.
    key: f64,
    /// What one unit of work adds to the key.
    step: f64,
    index: u32,
}

/// A router and what it remembers from table to table.
#[derive(Clone, Debug, Default)]
pub struct Router {
    policy: Policy,
    heap: Vec<Entry>,
    /// Where turns are taken: ids of the latest table, and the key of each candidate after the
    /// latest pick; infinite for one that could not be picked.
    ids: Vec<u32>,
    keys: Vec<f64>,
    /// The least of the keys as the table came.
    least: f64,
}

impl Router {
    /// A router that knows no candidates yet.
    pub fn new(settings: Settings) -> Self {
        Self { policy: settings.policy, ..Self::default() }
    }

    /// Takes a new table. One with columns of unequal length leaves no candidate.
    pub fn observe(&mut self, table: &Table) {
        self.heap.clear();
        if !table.is_even() {
            return;
        }
        if self.takes_turns() {
            self.carry_keys(&table.ids);
        }
        self.fill(table, true);
        if self.heap.is_empty() {
            // All are full: the host's queues decide then.
            self.fill(table, false);
        }
        (0..self.heap.len() / 2).rev().for_each(|at| sift_down(&mut self.heap, at));
    }

    fn takes_turns(&self) -> bool {
        matches!(self.policy, Policy::Weighted | Policy::RoundRobin)
    }

    /// Puts the candidates of `table` that can be picked into the heap, in no order yet.
    fn fill(&mut self, table: &Table, needs_room: bool) {
        let loads = table.states.iter().zip(&table.in_flight).zip(&table.capacities);
        let speeds = table.weights.iter().zip(&table.latency_us).zip(&table.error_shares);
        let rows = loads.zip(speeds).enumerate();
        for (index, (((state, in_flight), capacity), ((weight, latency_us), errors))) in rows {
            let is_up = state & (HEALTHY | DRAINING) == HEALTHY;
            let has_room = *capacity == 0 || in_flight < capacity;
            if !is_up || (needs_room && !has_room) {
                if let Some(key) = self.keys.get_mut(index) {
                    *key = f64::INFINITY;
                }
                continue;
            }
            let step = step(self.policy, *weight, *latency_us, *errors);
            let key = match self.keys.get_mut(index) {
                // Turns already taken count on; a candidate that is new or comes back begins with
                // the least of them, so that it does not get all requests until it has caught up.
                Some(key) => {
                    *key = if *key < f64::INFINITY { *key } else { self.least };
                    *key
                }
                // With the request to be placed among them, so that of two idle ones the better
                // goes first.
                None => step * (f64::from(*in_flight) + 1.0),
            };
            // At most u32::MAX candidates fit into the memory of a component.
            self.heap.push(Entry { key, step, index: index as u32 });
        }
    }

    /// Picks the index of a candidate of the latest table, or [`NO_CHOICE`]. `cost_hint` is the
    /// expected work of the request, at least 1; the turn-taking policies count requests instead.
    pub fn pick(&mut self, cost_hint: u32) -> u32 {
        let Some(first) = self.heap.first_mut() else { return NO_CHOICE };
        let work = match self.policy {
            Policy::LeastConn | Policy::Latency => f64::from(cost_hint.max(1)),
            Policy::Weighted | Policy::RoundRobin => 1.0,
        };
        first.key += first.step * work;
        let Entry { key, index, .. } = *first;
        if let Some(remembered) = self.keys.get_mut(index as usize) {
            *remembered = key;
        }
        sift_down(&mut self.heap, 0);
        index
    }

    /// Brings the keys of the table before to the order of this one; those of others are infinite.
    fn carry_keys(&mut self, ids: &[u32]) {
        if self.ids != ids {
            let mut known: Vec<(u32, f64)> =
                self.ids.iter().copied().zip(self.keys.iter().copied()).collect();
            known.sort_unstable_by_key(|&(id, _)| id);
            let key_of = |id: &u32| known.binary_search_by_key(id, |&(known, _)| known);
            self.keys =
                ids.iter().map(|id| key_of(id).map_or(f64::INFINITY, |at| known[at].1)).collect();
            self.ids = ids.to_vec();
        }
        let least = self.keys.iter().copied().fold(f64::INFINITY, |a, b| if b < a { b } else { a });
        self.least = if least < f64::INFINITY { least } else { 0.0 };
        if self.least > KEY_MAX {
            self.keys.iter_mut().for_each(|key| *key -= self.least);
            self.least = 0.0;
        }
    }
}

/// What one unit of work adds to the key of a candidate.
fn step(policy: Policy, weight: u32, latency_us: f32, errors: f32) -> f64 {
    let weight = f64::from(weight.max(1));
    match policy {
        Policy::RoundRobin => 1.0,
        Policy::LeastConn | Policy::Weighted => 1.0 / weight,
        Policy::Latency => {
            let latency_us = f64::from(latency_us);
            // A candidate that has not answered yet counts as a fast one, so that it is tried.
            let latency_us = if latency_us.is_finite() { latency_us.max(1.0) } else { 1.0 };
            let errors = f64::from(errors);
            let errors = if errors.is_finite() { errors.clamp(0.0, 0.99) } else { 0.0 };
            // A request that fails is tried again: with this share of failures it takes, on
            // average, so many tries.
            latency_us / (1.0 - errors) / weight
        }
    }
}

fn sift_down(heap: &mut [Entry], mut at: usize) {
    loop {
        let mut child = 2 * at + 1;
        if child >= heap.len() {
            return;
        }
        if child + 1 < heap.len() && heap[child + 1].key < heap[child].key {
            child += 1;
        }
        if heap[at].key <= heap[child].key {
            return;
        }
        heap.swap(at, child);
        at = child;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(weights: &[u32], in_flight: &[u32]) -> Table {
        let n = weights.len();
        Table {
            now_ms: 0,
            ids: (10..10 + n as u32).collect(),
            weights: weights.to_vec(),
            in_flight: in_flight.to_vec(),
            capacities: vec![0; n],
            latency_us: vec![0.0; n],
            error_shares: vec![0.0; n],
            cost_per_hour: vec![0.0; n],
            states: vec![HEALTHY; n],
        }
    }

    fn picks(router: &mut Router, count: usize) -> Vec<u32> {
        (0..count).map(|_| router.pick(1)).collect()
    }

    fn router(policy: Policy, table: &Table) -> Router {
        let mut router = Router::new(Settings { policy });
        router.observe(table);
        router
    }

    #[test]
    fn the_least_loaded_for_its_weight_is_picked() {
        let mut router = router(Policy::LeastConn, &table(&[1, 2, 1], &[3, 2, 9]));
        // With one more they have 4, 1.5 and 10: the second takes five until it has 4 too.
        assert_eq!(picks(&mut router, 5), [1; 5]);
        let mut next = picks(&mut router, 3);
        next.sort_unstable();
        assert_eq!(next, [0, 1, 1]);
    }

    #[test]
    fn turns_follow_the_weights_and_go_on_with_the_next_table() {
        let weighted = table(&[5, 1, 1], &[0; 3]);
        let mut router = router(Policy::Weighted, &weighted);
        let mut counts = [0; 3];
        for _ in 0..7 {
            router.observe(&weighted);
            counts[router.pick(9) as usize] += 1;
        }
        assert_eq!(counts, [5, 1, 1]);
        // A new one, and one that comes back, get their turn and no more than that.
        let mut four = table(&[1; 4], &[0; 4]);
        router.observe(&four);
        let mut turn = picks(&mut router, 4);
        turn.sort_unstable();
        assert_eq!(turn, [0, 1, 2, 3]);
        four.states[2] = 0;
        router.observe(&four);
        assert!(!picks(&mut router, 30).contains(&2));
        four.states[2] = HEALTHY;
        router.observe(&four);
        let back = picks(&mut router, 8).iter().filter(|&&index| index == 2).count();
        assert!((1..=3).contains(&back), "{back}");
    }

    #[test]
    fn round_robin_takes_turns_whatever_the_weights() {
        let mut router = router(Policy::RoundRobin, &table(&[9, 1, 1, 1], &[7, 0, 0, 0]));
        for _ in 0..3 {
            let mut turn = picks(&mut router, 4);
            turn.sort_unstable();
            assert_eq!(turn, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn the_fastest_gets_as_much_more_as_it_is_faster() {
        let mut two = table(&[1, 1], &[0, 0]);
        two.latency_us = vec![1_000.0, 3_000.0];
        let mut router = router(Policy::Latency, &two);
        let slow = picks(&mut router, 400).iter().filter(|&&index| index == 1).count();
        assert!((99..=101).contains(&slow), "{slow}");
        two.error_shares = vec![0.9, 0.0];
        router.observe(&two);
        let failing = picks(&mut router, 1_300).iter().filter(|&&index| index == 0).count();
        assert!((299..=301).contains(&failing), "10,000 against 3,000 us: {failing}");
    }

    #[test]
    fn only_healthy_candidates_with_room_are_picked() {
        let mut four = table(&[1; 4], &[0, 5, 0, 0]);
        four.states = vec![HEALTHY | DRAINING, HEALTHY, 0, HEALTHY];
        four.capacities = vec![0, 5, 0, 8];
        for policy in [Policy::LeastConn, Policy::Weighted, Policy::RoundRobin, Policy::Latency] {
            let mut router = router(policy, &four);
            assert_eq!(picks(&mut router, 3), [3, 3, 3]);
            four.in_flight[3] = 8;
            router.observe(&four);
            assert!([1, 3].contains(&router.pick(1)), "all are full");
            four.in_flight[3] = 0;
            router.observe(&Table { states: vec![0; 4], ..four.clone() });
            assert_eq!(router.pick(1), NO_CHOICE);
            router.observe(&Table { states: Vec::new(), ..four.clone() });
            assert_eq!(router.pick(1), NO_CHOICE, "columns of unequal length");
            assert_eq!(Router::new(Settings { policy }).pick(1), NO_CHOICE);
        }
    }
}
