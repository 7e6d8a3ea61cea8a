//! A placer that takes the cheapest site with room.

use std::cell::Cell;
use std::cmp::Reverse;

use exports::truststram::policy::lifecycle::{self, PluginInfo};
use exports::truststram::policy::placement::{
    self, Assignment, CacheItem, Purpose, Site, Workload,
};
use truststram::policy::types::Error;

wit_bindgen::generate!({ path: "wit", world: "placer" });

#[derive(Clone, Copy, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Least reliability of a site for work, from 0 to 1.
    reliability_min: f64,
}

impl Settings {
    fn check(&self) -> Result<(), &'static str> {
        if (0.0..=1.0).contains(&self.reliability_min) {
            Ok(())
        } else {
            Err("`reliability_min` must be from 0 to 1")
        }
    }
}

thread_local! {
    /// An instance has one thread, so this is its own.
    static SETTINGS: Cell<Settings> = Cell::default();
}

struct Plugin;

impl lifecycle::Guest for Plugin {
    fn describe() -> PluginInfo {
        PluginInfo {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "the cheapest site with room".to_owned(),
        }
    }

    fn configure(settings: String) -> Result<(), Error> {
        let settings: Settings = serde_json::from_str(&settings)
            .map_err(|error| Error::InvalidConfig(error.to_string()))?;
        settings.check().map_err(|reason| Error::InvalidConfig(reason.to_owned()))?;
        SETTINGS.set(settings);
        Ok(())
    }

    // There is nothing to carry over to a newer version.
    fn snapshot() -> Vec<u8> {
        Vec::new()
    }

    fn restore(_state: Vec<u8>) -> Result<(), Error> {
        Ok(())
    }
}

impl placement::Guest for Plugin {
    fn place(
        _now_ms: u64,
        mut sites: Vec<Site>,
        mut workloads: Vec<Workload>,
    ) -> Result<Vec<Assignment>, Error> {
        let Settings { reliability_min } = SETTINGS.get();
        workloads.sort_by_key(|workload| Reverse(workload.priority));
        let mut assignments = Vec::new();
        for workload in &workloads {
            let best = sites
                .iter_mut()
                .filter(|site| has_room(site, workload) && site.reliability >= reliability_min)
                .map(|site| (cost(site, workload), site))
                .filter(|(cost, _)| cost.is_finite())
                .min_by(|(a, _), (b, _)| a.total_cmp(b));
            let Some((cost, site)) = best else { continue };
            // What is taken here is not free for the next workload.
            site.cpus_free -= workload.cpus;
            site.gpus_free -= workload.gpus;
            site.memory_free_mib -= workload.memory_mib;
            assignments.push(Assignment {
                workload: workload.id,
                site: site.id,
                score: -cost,
                reason: format!("the cheapest with room, at {cost:.2}"),
            });
        }
        Ok(assignments)
    }

    fn rank_sites(purpose: Purpose, mut sites: Vec<Site>) -> Result<Vec<u32>, Error> {
        sites.sort_by(|a, b| badness(purpose, a).total_cmp(&badness(purpose, b)));
        Ok(sites.iter().map(|site| site.id).collect())
    }

    fn place_cache(item: CacheItem, sites: Vec<Site>) -> Result<Vec<u32>, Error> {
        let badness = |site: &Site| {
            if item.is_latency_sensitive { site.latency_ms } else { site.storage_price_per_gib }
        };
        let best = sites
            .iter()
            .filter(|site| item.size_gib * site.storage_price_per_gib <= item.budget_per_month)
            .min_by(|a, b| badness(a).total_cmp(&badness(b)));
        Ok(best.filter(|_| item.requests_per_hour > 0.0).map(|site| site.id).into_iter().collect())
    }
}

fn has_room(site: &Site, workload: &Workload) -> bool {
    site.cpus_free >= workload.cpus
        && site.gpus_free >= workload.gpus
        && site.memory_free_mib >= workload.memory_mib
        && (!site.is_spot || workload.tolerates_spot)
}

fn cost(site: &Site, workload: &Workload) -> f64 {
    workload.compute_hours * site.compute_price_per_hour
        + workload.storage_gib * site.storage_price_per_gib
        + workload.network_gib * site.network_price_per_gib
}

/// What counts against a site; less is better, and what cannot be told is worst.
fn badness(purpose: Purpose, site: &Site) -> f64 {
    let badness = match purpose {
        Purpose::Training => site.compute_price_per_hour,
        Purpose::Inference => site.latency_ms,
        Purpose::Balanced => site.compute_price_per_hour * site.latency_ms,
    };
    if badness.is_nan() { f64::INFINITY } else { badness }
}

export!(Plugin);
