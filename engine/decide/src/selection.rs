//! Owns the selectors: which federated clients train in a round, and how much each of them does.
//!
//! Refuses to trust clients: it reads what the host measured. Bound: n log n in the clients.

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// Which selector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The guide's score: 0.4 computing power, 0.4 network, 0.2 data. The guide adds the raw
    /// numbers up, so that a few thousand examples outweigh any processor and link; here each term
    /// is a share of the largest among the clients.
    #[default]
    GuideScore,
    /// Every client with the same chance.
    Random,
}

/// What the operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Which selector.
    pub policy: Policy,
    /// Share of the clients that train in a round, above 0 and at most 1; the guide's 0.3.
    pub ratio: f64,
    /// `guide-score`: share of the places, from 0 to 1, that go to those who have not trained for
    /// longest, so that the weak are heard and unknown ones get measured.
    pub exploration_share: f64,
    /// What 100 stands for in the guide's epochs: more gives more passes. Above 0.
    pub computation_budget: f64,
    /// Seed of whatever is drawn.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: Policy::GuideScore,
            ratio: 0.3,
            exploration_share: 0.1,
            computation_budget: 100.0,
            seed: 0,
        }
    }
}

impl Settings {
    /// Reads the text of one JSON object.
    ///
    /// # Errors
    /// What is wrong, in words for the operator.
    pub fn parse(json: &str) -> Result<Self, String> {
        let settings: Self = crate::parse(json)?;
        let budget = settings.computation_budget;
        let rules = [
            (settings.ratio > 0.0 && settings.ratio <= 1.0, "`ratio` must be above 0, at most 1"),
            (
                (0.0..=1.0).contains(&settings.exploration_share),
                "`exploration_share` must be from 0 to 1",
            ),
            (budget.is_finite() && budget > 0.0, "`computation_budget` must be a number above 0"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, message)) => Err((*message).to_owned()),
            None => Ok(settings),
        }
    }
}

/// The round that is about to start, as `selection.wit` describes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RoundRequest {
    /// Its number, from 1.
    pub round: u64,
    /// The time, milliseconds since 1970.
    pub now_ms: u64,
    /// Fewest clients to choose.
    pub clients_min: u32,
    /// Most clients to choose.
    pub clients_max: u32,
}

/// The clients as columns, as `selection.wit` describes them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Clients {
    /// The host's number of each.
    pub ids: Vec<u32>,
    /// Examples that each has.
    pub samples: Vec<u64>,
    /// Processor cores.
    #[serde(with = "crate::number::list")]
    pub cpu_cores: Vec<f32>,
    /// Memory in GiB.
    #[serde(with = "crate::number::list")]
    pub memory_gib: Vec<f32>,
    /// Bandwidth of uploads, megabits per second.
    #[serde(with = "crate::number::list")]
    pub bandwidth_mbps: Vec<f32>,
    /// Round trip time, milliseconds.
    #[serde(with = "crate::number::list")]
    pub latency_ms: Vec<f32>,
    /// Examples per second in the latest training.
    #[serde(with = "crate::number::list")]
    pub samples_per_second: Vec<f32>,
    /// Mean loss of the latest training.
    #[serde(with = "crate::number::list")]
    pub last_loss: Vec<f32>,
    /// The round each last took part in; 0 if none.
    pub last_round: Vec<u64>,
    /// Share of its rounds that each finished.
    #[serde(with = "crate::number::list")]
    pub completed_shares: Vec<f32>,
}

impl Clients {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    fn is_even(&self) -> bool {
        let n = self.len();
        let numbers = [
            &self.cpu_cores,
            &self.memory_gib,
            &self.bandwidth_mbps,
            &self.latency_ms,
            &self.samples_per_second,
            &self.last_loss,
            &self.completed_shares,
        ];
        self.samples.len() == n
            && self.last_round.len() == n
            && numbers.iter().all(|column| column.len() == n)
    }
}

/// Who trains, as columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Assignments {
    /// The chosen clients, each once.
    pub ids: Vec<u32>,
    /// Examples per step.
    pub batch_sizes: Vec<u32>,
    /// Passes over the client's examples.
    pub local_epochs: Vec<u32>,
}

/// Chooses the clients of a round. Those without examples are left out.
///
/// # Errors
/// What is wrong with the columns, or that there are too few clients.
pub fn select(
    settings: &Settings,
    request: &RoundRequest,
    clients: &Clients,
) -> Result<Assignments, String> {
    if !clients.is_even() {
        return Err("the columns of the clients differ in length".to_owned());
    }
    let mut order: Vec<usize> = (0..clients.len()).filter(|&i| clients.samples[i] > 0).collect();
    let (found, least) = (order.len(), request.clients_min as usize);
    if found < least || found == 0 || request.clients_max == 0 {
        let most = request.clients_max;
        return Err(format!("{found} clients have examples; {least} to {most} are wanted"));
    }
    let wanted = (found as f64 * settings.ratio) as usize;
    // The host's lower end counts even where its upper end contradicts it.
    let places = wanted.max(1).min(request.clients_max as usize).max(least).min(found);
    // Of equals the order in which the host lists them must not decide, or the last never train.
    Random::new(settings.seed, request.round).shuffle(&mut order);
    if settings.policy == Policy::GuideScore {
        by_score(settings, clients, &mut order, places);
    }
    order.truncate(places);
    Ok(Assignments {
        ids: order.iter().map(|&i| clients.ids[i]).collect(),
        batch_sizes: order
            .iter()
            .map(|&i| batch_size(clients.memory_gib[i], clients.cpu_cores[i]))
            .collect(),
        local_epochs: order
            .iter()
            .map(|&i| local_epochs(settings.computation_budget, clients.samples[i]))
            .collect(),
    })
}

/// Brings those to the front of `order` that get one of the `places`: first by score, then, for the
/// share of exploration, those who have not trained for longest.
fn by_score(settings: &Settings, clients: &Clients, order: &mut [usize], places: usize) {
    let scores = scores(clients);
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let explored = (places as f64 * settings.exploration_share) as usize;
    let scored = places - explored.min(places);
    order[scored..].sort_by_key(|&i| clients.last_round[i]);
}

/// The guide's score of each client, from 0 to 1.
fn scores(clients: &Clients) -> Vec<f64> {
    let product = |(&a, &b): (&f32, &f32)| f64::from(a) * f64::from(b);
    // The guide takes 100 ms where the latency is unknown; none is faster than 0.01 ms.
    let speed =
        |(&bandwidth, &latency): (&f32, &f32)| f64::from(bandwidth) / f64::from(latency).max(0.01);
    let compute = shares(clients.cpu_cores.iter().zip(&clients.memory_gib).map(product).collect());
    let network =
        shares(clients.bandwidth_mbps.iter().zip(&clients.latency_ms).map(speed).collect());
    let data = shares(clients.samples.iter().map(|&samples| samples as f64).collect());
    let terms = compute.iter().zip(&network).zip(&data);
    terms.map(|((compute, network), data)| 0.4 * compute + 0.4 * network + 0.2 * data).collect()
}

/// Each value as a share of the largest; half where it is not known.
fn shares(mut values: Vec<f64>) -> Vec<f64> {
    let is_known = |value: f64| value.is_finite() && value >= 0.0;
    let largest = values.iter().copied().filter(|&value| is_known(value)).fold(0.0, f64::max);
    for value in &mut values {
        *value = if is_known(*value) && largest > 0.0 { *value / largest } else { 0.5 };
    }
    values
}

/// The guide's batch size, from 8 to 256: 32, times up to 2 for memory and up to 2 for cores. An
/// unknown client counts as one with 4 GiB and 2 cores.
fn batch_size(memory_gib: f32, cpu_cores: f32) -> u32 {
    let or = |value: f32, usual: f64| {
        if value.is_finite() && value >= 0.0 { f64::from(value) } else { usual }
    };
    let memory_factor = (or(memory_gib, 4.0) / 4.0).min(2.0);
    let cpu_factor = (or(cpu_cores, 2.0) / 2.0).min(2.0);
    ((32.0 * memory_factor * cpu_factor) as u32).clamp(8, 256)
}

/// The guide's local epochs, from 1 to 20: 5 times the budget's hundredth, fewer for more examples.
fn local_epochs(computation_budget: f64, samples: u64) -> u32 {
    let data_factor = (samples.max(1) as f64 / 1_000.0).min(2.0);
    ((5.0 * (computation_budget / 100.0) / data_factor) as u32).clamp(1, 20)
}

#[cfg(test)]
mod tests;
