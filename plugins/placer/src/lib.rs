//! The built-in placers: a component of world `placer` in `wit/since_v0.1.0`.
//!
//! Owns the translation between the WIT types and [`truststram_decide::placement`], and the
//! settings of this instance. Refuses to remember sites: every question brings them.
//! Bound: the sites and workloads of one call.

use std::cell::Cell;

use exports::truststram::policy::placement as wit;
use truststram::policy::types::Error;
use truststram_decide::placement as decide;

wit_bindgen::generate!({ path: "../../wit/since_v0.1.0", world: "placer" });

thread_local! {
    static SETTINGS: Cell<decide::Settings> = Cell::default();
}

struct Placer;

truststram_plugin_shell::lifecycle!(
    Placer,
    "placer",
    "cost-optimal, performance-optimal or balanced placement",
    |settings| {
        SETTINGS.set(decide::Settings::parse(settings)?);
        Ok(())
    }
);

impl wit::Guest for Placer {
    fn place(
        _now_ms: u64,
        sites: Vec<wit::Site>,
        workloads: Vec<wit::Workload>,
    ) -> Result<Vec<wit::Assignment>, Error> {
        let sites: Vec<decide::Site> = sites.into_iter().map(site).collect();
        let workloads: Vec<decide::Workload> = workloads.iter().map(workload).collect();
        let placed = decide::place(&SETTINGS.get(), &sites, &workloads);
        let placed = placed.map_err(Error::Unsupported)?.into_iter();
        Ok(placed
            .map(|assignment| wit::Assignment {
                workload: assignment.workload,
                site: assignment.site,
                score: assignment.score,
                reason: assignment.reason,
            })
            .collect())
    }

    fn rank_sites(purpose: wit::Purpose, sites: Vec<wit::Site>) -> Result<Vec<u32>, Error> {
        let purpose = match purpose {
            wit::Purpose::Training => decide::Purpose::Training,
            wit::Purpose::Inference => decide::Purpose::Inference,
            wit::Purpose::Balanced => decide::Purpose::Balanced,
        };
        let sites: Vec<decide::Site> = sites.into_iter().map(site).collect();
        decide::rank_sites(purpose, &sites).map_err(Error::Unsupported)
    }

    fn place_cache(item: wit::CacheItem, sites: Vec<wit::Site>) -> Result<Vec<u32>, Error> {
        let item = decide::CacheItem {
            size_gib: item.size_gib,
            requests_per_hour: item.requests_per_hour,
            is_latency_sensitive: item.is_latency_sensitive,
            budget_per_month: item.budget_per_month,
            readers: item.latitude.zip(item.longitude),
        };
        let sites: Vec<decide::Site> = sites.into_iter().map(site).collect();
        decide::place_cache(&SETTINGS.get(), &item, &sites).map_err(Error::Unsupported)
    }
}

fn site(site: wit::Site) -> decide::Site {
    decide::Site {
        id: site.id,
        provider: site.provider,
        region: site.region,
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
    }
}

fn workload(workload: &wit::Workload) -> decide::Workload {
    decide::Workload {
        id: workload.id,
        profile: match workload.profile {
            wit::Profile::CpuIntensive => decide::Profile::CpuIntensive,
            wit::Profile::MemoryIntensive => decide::Profile::MemoryIntensive,
            wit::Profile::NetworkIntensive => decide::Profile::NetworkIntensive,
            wit::Profile::Even => decide::Profile::Even,
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

export!(Placer);
