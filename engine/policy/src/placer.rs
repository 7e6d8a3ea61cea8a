//! Owns the questions to a placer.
//!
//! Refuses what is outside of the bounds that `placement.wit` states: a site that is not there or
//! has no room left. Bound: [`SITES_MAX`] sites and [`WORKLOADS_MAX`] workloads.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use truststram_decide::placement::{Assignment, CacheItem, Profile, Purpose, Site, Workload};

use crate::instance::{Instance, Part, accepted};
use crate::kind::Placer;
use crate::stats::{Fault, Refusal};
use crate::text;
use crate::v0_1_0::placer::exports::truststram::policy::placement as wit;

/// Most sites of one question.
pub const SITES_MAX: usize = 1_000;
/// Most workloads of one question.
pub const WORKLOADS_MAX: usize = 10_000;
const REASON_BYTES_MAX: usize = 256;

/// A question to a placer.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlacerQuestion {
    /// Where workloads go.
    Place {
        /// The time, milliseconds since 1970.
        now_ms: u64,
        /// The sites.
        sites: Vec<Site>,
        /// The workloads.
        workloads: Vec<Workload>,
    },
    /// The order of the sites for a purpose.
    RankSites {
        /// The purpose.
        purpose: Purpose,
        /// The sites.
        sites: Vec<Site>,
    },
    /// Which sites keep a copy.
    PlaceCache {
        /// Of what.
        item: CacheItem,
        /// The sites.
        sites: Vec<Site>,
    },
}

/// The answer of a placer.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlacerAnswer {
    /// Where each workload goes.
    Placed(Vec<Assignment>),
    /// The sites by id, the best first.
    Ranked(Vec<u32>),
    /// The sites by id.
    Cached(Vec<u32>),
}

impl Instance<Placer> {
    /// Where workloads go.
    ///
    /// # Errors
    /// Why there is no placement; the caller decides by itself then.
    pub fn place(
        &mut self,
        now_ms: u64,
        sites: &[Site],
        workloads: &[Workload],
    ) -> Result<Vec<Assignment>, Refusal> {
        if sites.len() > SITES_MAX || workloads.len() > WORKLOADS_MAX {
            return Err(Refusal::Failed);
        }
        let asked_sites = sites_of(sites);
        let asked: Vec<wit::Workload> = workloads.iter().map(workload).collect();
        let answer = self.ask(
            Part::Alone,
            |bindings, store| {
                let placement = bindings.truststram_policy_placement();
                placement.call_place(store, now_ms, &asked_sites, &asked)
            },
            |answer| {
                let assignments: Vec<Assignment> = accepted(answer)?
                    .into_iter()
                    .map(|assignment| Assignment {
                        workload: assignment.workload,
                        site: assignment.site,
                        score: assignment.score,
                        reason: text::line(&assignment.reason, REASON_BYTES_MAX),
                    })
                    .collect();
                check(&assignments, sites, workloads).map_err(Fault::nonsense)?;
                Ok(assignments)
            },
        );
        let question = || PlacerQuestion::Place {
            now_ms,
            sites: sites.to_vec(),
            workloads: workloads.to_vec(),
        };
        self.note(question, &answer, |placed| PlacerAnswer::Placed(placed.clone()));
        answer
    }

    /// The sites for a purpose, the best first, by id.
    ///
    /// # Errors
    /// Why there is no order; the caller decides by itself then.
    pub fn rank_sites(&mut self, purpose: Purpose, sites: &[Site]) -> Result<Vec<u32>, Refusal> {
        if sites.len() > SITES_MAX {
            return Err(Refusal::Failed);
        }
        let asked_purpose = match purpose {
            Purpose::Training => wit::Purpose::Training,
            Purpose::Inference => wit::Purpose::Inference,
            Purpose::Balanced => wit::Purpose::Balanced,
        };
        let asked = sites_of(sites);
        let answer = self.ask(
            Part::Alone,
            |bindings, store| {
                bindings.truststram_policy_placement().call_rank_sites(store, asked_purpose, &asked)
            },
            |answer| known_once(accepted(answer)?, sites),
        );
        let question = || PlacerQuestion::RankSites { purpose, sites: sites.to_vec() };
        self.note(question, &answer, |ranked| PlacerAnswer::Ranked(ranked.clone()));
        answer
    }

    /// The sites that keep a copy of something, by id.
    ///
    /// # Errors
    /// Why there is no choice; the caller decides by itself then.
    pub fn place_cache(&mut self, item: &CacheItem, sites: &[Site]) -> Result<Vec<u32>, Refusal> {
        if sites.len() > SITES_MAX {
            return Err(Refusal::Failed);
        }
        let asked_item = wit::CacheItem {
            size_gib: item.size_gib,
            requests_per_hour: item.requests_per_hour,
            is_latency_sensitive: item.is_latency_sensitive,
            budget_per_month: item.budget_per_month,
            latitude: item.readers.map(|(latitude, _)| latitude),
            longitude: item.readers.map(|(_, longitude)| longitude),
        };
        let asked = sites_of(sites);
        let answer = self.ask(
            Part::Alone,
            |bindings, store| {
                bindings.truststram_policy_placement().call_place_cache(store, asked_item, &asked)
            },
            |answer| known_once(accepted(answer)?, sites),
        );
        let question = || PlacerQuestion::PlaceCache { item: *item, sites: sites.to_vec() };
        self.note(question, &answer, |cached| PlacerAnswer::Cached(cached.clone()));
        answer
    }

    /// Asks a question that was kept.
    pub(crate) fn answer(&mut self, question: &PlacerQuestion) -> Result<PlacerAnswer, Refusal> {
        match question {
            PlacerQuestion::Place { now_ms, sites, workloads } => {
                self.place(*now_ms, sites, workloads).map(PlacerAnswer::Placed)
            }
            PlacerQuestion::RankSites { purpose, sites } => {
                self.rank_sites(*purpose, sites).map(PlacerAnswer::Ranked)
            }
            PlacerQuestion::PlaceCache { item, sites } => {
                self.place_cache(item, sites).map(PlacerAnswer::Cached)
            }
        }
    }
}

/// Ids of sites that are there, each at most once.
fn known_once(ids: Vec<u32>, sites: &[Site]) -> Result<Vec<u32>, Fault> {
    let mut left: BTreeSet<u32> = sites.iter().map(|site| site.id).collect();
    match ids.iter().find(|&id| !left.remove(id)) {
        Some(id) => Err(Fault::nonsense(format!("site {id} is not there, or named twice"))),
        None => Ok(ids),
    }
}

/// What is wrong with a placement, by the bounds that `placement.wit` states.
fn check(assignments: &[Assignment], sites: &[Site], workloads: &[Workload]) -> Result<(), String> {
    let mut room: BTreeMap<u32, (u32, u32, u64)> = sites
        .iter()
        .map(|site| (site.id, (site.cpus_free, site.gpus_free, site.memory_free_mib)))
        .collect();
    let mut waiting: BTreeMap<u64, &Workload> =
        workloads.iter().map(|workload| (workload.id, workload)).collect();
    for assignment in assignments {
        let Assignment { workload: id, site, score, .. } = *assignment;
        let workload = waiting
            .remove(&id)
            .ok_or_else(|| format!("workload {id} is not there, or placed twice"))?;
        let (cpus, gpus, memory_mib) =
            room.get_mut(&site).ok_or_else(|| format!("site {site} is not there"))?;
        let left = cpus.checked_sub(workload.cpus).zip(gpus.checked_sub(workload.gpus));
        let ((cpus_left, gpus_left), memory_left) = left
            .zip(memory_mib.checked_sub(workload.memory_mib))
            .ok_or_else(|| format!("site {site} has no room for workload {id}"))?;
        (*cpus, *gpus, *memory_mib) = (cpus_left, gpus_left, memory_left);
        if !score.is_finite() {
            return Err(format!("workload {id} at site {site} scores {score}"));
        }
    }
    Ok(())
}

fn sites_of(sites: &[Site]) -> Vec<wit::Site> {
    let site = |site: &Site| wit::Site {
        id: site.id,
        provider: site.provider.clone(),
        region: site.region.clone(),
        cpus_free: site.cpus_free,
        gpus_free: site.gpus_free,
        memory_free_mib: site.memory_free_mib,
        compute_price_per_hour: site.compute_price_per_hour,
        storage_price_per_gib: site.storage_price_per_gib,
        network_price_per_gib: site.network_price_per_gib,
        cpu_score: site.cpu_score,
        memory_score: site.memory_score,
        network_score: site.network_score,
        latency_ms: site.latency_ms,
        reliability: site.reliability,
        latitude: site.latitude,
        longitude: site.longitude,
        is_spot: site.is_spot,
    };
    sites.iter().map(site).collect()
}

fn workload(workload: &Workload) -> wit::Workload {
    wit::Workload {
        id: workload.id,
        profile: match workload.profile {
            Profile::CpuIntensive => wit::Profile::CpuIntensive,
            Profile::MemoryIntensive => wit::Profile::MemoryIntensive,
            Profile::NetworkIntensive => wit::Profile::NetworkIntensive,
            Profile::Even => wit::Profile::Even,
        },
        cpus: workload.cpus,
        gpus: workload.gpus,
        memory_mib: workload.memory_mib,
        compute_hours: workload.compute_hours,
        storage_gib: workload.storage_gib,
        network_gib: workload.network_gib,
        priority: workload.priority,
        tolerates_spot: workload.tolerates_spot,
    }
}
