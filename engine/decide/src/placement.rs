//! Owns the placers: at which site (a region of a provider, or hardware of one's own) work and
//! copies of data go.
//!
//! Refuses to know where prices and measurements come from, and to place two things in the room of
//! one. Bound: sites times workloads.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

mod cache;
mod rank;

pub use cache::{CacheItem, place_cache};
pub use rank::{Purpose, rank_sites};

/// Which placer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The site where the workload costs least: the guide's hours, GiB stored and GiB sent out,
    /// each times its price.
    CostOptimal,
    /// The site with the best benchmark of what the workload needs most.
    PerformanceOptimal,
    /// Both, weighed against each other for each workload. The guide instead sends workloads with
    /// even index to the cheapest and those with odd index to the fastest, so that half of them pay
    /// too much and the other half wait, whatever they need.
    #[default]
    Balanced,
}

/// What the operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Which placer.
    pub policy: Policy,
    /// `balanced`: what cost counts against performance, from 0 to 1.
    pub cost_weight: f64,
    /// Requests per hour from which something cached is kept twice; the guide's 100.
    pub copies_from_requests_per_hour: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { policy: Policy::Balanced, cost_weight: 0.5, copies_from_requests_per_hour: 100.0 }
    }
}

impl Settings {
    /// Reads the text of one JSON object.
    ///
    /// # Errors
    /// What is wrong, in words for the operator.
    pub fn parse(json: &str) -> Result<Self, String> {
        let settings: Self = crate::parse(json)?;
        let requests = settings.copies_from_requests_per_hour;
        match () {
            () if !(0.0..=1.0).contains(&settings.cost_weight) => {
                Err("`cost_weight` must be from 0 to 1".to_owned())
            }
            () if !requests.is_finite() || requests < 0.0 => {
                Err("`copies_from_requests_per_hour` must be a number from 0".to_owned())
            }
            () => Ok(settings),
        }
    }
}

/// A place where work can run, as `placement.wit` describes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// The host's number.
    pub id: u32,
    /// The provider.
    pub provider: String,
    /// The region.
    pub region: String,
    /// Free cores.
    pub cpus_free: u32,
    /// Free accelerators.
    pub gpus_free: u32,
    /// Free memory, MiB.
    pub memory_free_mib: u64,
    /// Price of an hour of computing.
    #[serde(with = "crate::number")]
    pub compute_price_per_hour: f64,
    /// Price of a GiB for a month.
    #[serde(with = "crate::number")]
    pub storage_price_per_gib: f64,
    /// Price of a GiB sent out.
    #[serde(with = "crate::number")]
    pub network_price_per_gib: f64,
    /// Benchmark of the processors, 0 to 100.
    #[serde(with = "crate::number")]
    pub cpu_score: f64,
    /// Benchmark of the memory, 0 to 100.
    #[serde(with = "crate::number")]
    pub memory_score: f64,
    /// Benchmark of the network, 0 to 100.
    #[serde(with = "crate::number")]
    pub network_score: f64,
    /// Round trip time, milliseconds.
    #[serde(with = "crate::number")]
    pub latency_ms: f64,
    /// Share of time that it was usable.
    #[serde(with = "crate::number")]
    pub reliability: f64,
    /// Degrees north.
    #[serde(with = "crate::number")]
    pub latitude: f64,
    /// Degrees east.
    #[serde(with = "crate::number")]
    pub longitude: f64,
    /// Whether the capacity may be taken away.
    pub is_spot: bool,
}

/// What a workload needs most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Processor time.
    CpuIntensive,
    /// Memory.
    MemoryIntensive,
    /// Network.
    NetworkIntensive,
    /// Something of each.
    #[default]
    Even,
}

/// Something to run, as `placement.wit` describes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// The host's number.
    pub id: u64,
    /// What it needs most.
    pub profile: Profile,
    /// Cores it needs.
    pub cpus: u32,
    /// Accelerators it needs.
    pub gpus: u32,
    /// Memory it needs, MiB.
    pub memory_mib: u64,
    /// Hours it will run.
    #[serde(with = "crate::number")]
    pub compute_hours: f64,
    /// Data it keeps, GiB.
    #[serde(with = "crate::number")]
    pub storage_gib: f64,
    /// Data it sends out, GiB.
    #[serde(with = "crate::number")]
    pub network_gib: f64,
    /// More is placed first.
    pub priority: u32,
    /// Whether it can be stopped and begun again.
    pub tolerates_spot: bool,
}

/// Where one workload goes.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// The workload.
    pub workload: u64,
    /// The site.
    pub site: u32,
    /// How good the choice is; finite.
    #[serde(with = "crate::number")]
    pub score: f64,
    /// Why.
    pub reason: String,
}

/// What is left of a site.
#[derive(Clone, Copy, Debug)]
struct Room {
    cpus: u32,
    gpus: u32,
    memory_mib: u64,
}

impl Room {
    fn of(site: &Site) -> Self {
        Self { cpus: site.cpus_free, gpus: site.gpus_free, memory_mib: site.memory_free_mib }
    }

    fn without(self, workload: &Workload) -> Option<Self> {
        Some(Self {
            cpus: self.cpus.checked_sub(workload.cpus)?,
            gpus: self.gpus.checked_sub(workload.gpus)?,
            memory_mib: self.memory_mib.checked_sub(workload.memory_mib)?,
        })
    }
}

/// One site that could take a workload.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    index: usize,
    left: Room,
    cost: f64,
    performance: f64,
}

/// Assigns workloads to sites, those of high priority first. One that fits nowhere is left out.
///
/// # Errors
/// A site or a workload that is listed twice.
pub fn place(
    settings: &Settings,
    sites: &[Site],
    workloads: &[Workload],
) -> Result<Vec<Assignment>, String> {
    require_distinct("site", sites.iter().map(|site| u64::from(site.id)))?;
    require_distinct("workload", workloads.iter().map(|workload| workload.id))?;
    let mut rooms: Vec<Room> = sites.iter().map(Room::of).collect();
    let mut order: Vec<&Workload> = workloads.iter().collect();
    order.sort_by(|a, b| b.priority.cmp(&a.priority).then(a.id.cmp(&b.id)));
    let mut assignments = Vec::with_capacity(order.len());
    for workload in order {
        let candidates: Vec<Candidate> = sites
            .iter()
            .enumerate()
            .filter_map(|(index, site)| candidate(index, site, rooms[index], workload))
            .collect();
        let Some((chosen, score)) = best(settings, sites, &candidates) else { continue };
        rooms[chosen.index] = chosen.left;
        let site = &sites[chosen.index];
        assignments.push(Assignment {
            workload: workload.id,
            site: site.id,
            score,
            reason: format!(
                "{} {}: costs {:.2}, scores {:.0}, of {} sites with room",
                site.provider,
                site.region,
                chosen.cost,
                chosen.performance,
                candidates.len()
            ),
        });
    }
    Ok(assignments)
}

fn require_distinct(what: &str, ids: impl Iterator<Item = u64>) -> Result<(), String> {
    let mut ids: Vec<u64> = ids.collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("the {what} {} is listed twice", pair[0])),
        None => Ok(()),
    }
}

/// The site as a candidate, if it has room, may be used and all about it is known.
fn candidate(index: usize, site: &Site, room: Room, workload: &Workload) -> Option<Candidate> {
    if site.is_spot && !workload.tolerates_spot {
        return None;
    }
    let left = room.without(workload)?;
    let cost = workload.compute_hours * site.compute_price_per_hour
        + workload.storage_gib * site.storage_price_per_gib
        + workload.network_gib * site.network_price_per_gib;
    let performance = match workload.profile {
        Profile::CpuIntensive => site.cpu_score,
        Profile::MemoryIntensive => site.memory_score,
        Profile::NetworkIntensive => site.network_score,
        Profile::Even => (site.cpu_score + site.memory_score + site.network_score) / 3.0,
    };
    let is_known = cost.is_finite() && performance.is_finite();
    is_known.then_some(Candidate { index, left, cost, performance })
}

/// The candidate with the highest score, and the score. Of equals the nearer one, then the one with
/// the lower number, is taken.
fn best(settings: &Settings, sites: &[Site], candidates: &[Candidate]) -> Option<(Candidate, f64)> {
    let ends = |value: fn(&Candidate) -> f64| {
        let values = candidates.iter().map(value);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    };
    let (cost_ends, performance_ends) = (ends(|c| c.cost), ends(|c| c.performance));
    let score = |candidate: &Candidate| match settings.policy {
        Policy::CostOptimal => -candidate.cost,
        Policy::PerformanceOptimal => candidate.performance,
        Policy::Balanced => {
            let cheapness = 1.0 - within(candidate.cost, cost_ends);
            let performance = within(candidate.performance, performance_ends);
            settings.cost_weight * cheapness + (1.0 - settings.cost_weight) * performance
        }
    };
    let scored = candidates.iter().map(|candidate| (*candidate, score(candidate)));
    scored.max_by(|(a, score_a), (b, score_b)| {
        let (site_a, site_b) = (&sites[a.index], &sites[b.index]);
        score_a
            .total_cmp(score_b)
            .then(site_b.latency_ms.total_cmp(&site_a.latency_ms))
            .then(site_b.id.cmp(&site_a.id))
    })
}

/// Where a value lies between two ends, from 0 to 1; 0.5 where the ends do not differ.
fn within(value: f64, (low, high): (f64, f64)) -> f64 {
    // Ends that are far apart overflow; half of them does not.
    let width = high / 2.0 - low / 2.0;
    if width > 0.0 { (value / 2.0 - low / 2.0) / width } else { 0.5 }
}

/// Sorts by a key where less is better and what is not a number comes last.
fn by_least(a: f64, b: f64) -> Ordering {
    let known = |value: f64| if value.is_nan() { f64::INFINITY } else { value };
    known(a).total_cmp(&known(b))
}

#[cfg(test)]
mod tests;
