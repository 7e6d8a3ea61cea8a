//! The placers with the guide's three providers.

use super::*;

/// The guide's prices and benchmarks, with room for everything.
fn guide_sites() -> Vec<Site> {
    let site = |id, provider: &str, region: &str, prices: [f64; 3], scores: [f64; 3]| Site {
        id,
        provider: provider.to_owned(),
        region: region.to_owned(),
        cpus_free: 64,
        gpus_free: 8,
        memory_free_mib: 1 << 20,
        compute_price_per_hour: prices[0],
        storage_price_per_gib: prices[1],
        network_price_per_gib: prices[2],
        cpu_score: scores[0],
        memory_score: scores[1],
        network_score: scores[2],
        latency_ms: 20.0,
        reliability: 0.99,
        ..Site::default()
    };
    vec![
        site(1, "aws", "us-east", [0.10, 0.023, 0.09], [95.0, 90.0, 88.0]),
        site(2, "azure", "us-central", [0.096, 0.021, 0.087], [92.0, 94.0, 90.0]),
        site(3, "gcp", "us-west", [0.095, 0.020, 0.085], [97.0, 89.0, 92.0]),
    ]
}

fn workload(id: u64, profile: Profile) -> Workload {
    Workload {
        id,
        profile,
        cpus: 4,
        memory_mib: 8_192,
        compute_hours: 10.0,
        storage_gib: 100.0,
        network_gib: 50.0,
        ..Workload::default()
    }
}

fn settings(policy: Policy) -> Settings {
    Settings { policy, ..Settings::default() }
}

fn placed(settings: &Settings, sites: &[Site], workloads: &[Workload]) -> Vec<(u64, u32)> {
    let assignments = place(settings, sites, workloads).unwrap();
    assignments.iter().map(|assignment| (assignment.workload, assignment.site)).collect()
}

#[test]
fn the_guides_choices() {
    let sites = guide_sites();
    let three = [
        workload(1, Profile::CpuIntensive),
        workload(2, Profile::MemoryIntensive),
        workload(3, Profile::NetworkIntensive),
    ];
    let cost = place(&settings(Policy::CostOptimal), &sites, &three).unwrap();
    assert!(cost.iter().all(|assignment| assignment.site == 3));
    assert!((cost[0].score + 7.2).abs() < 1e-9, "10 x 0.095 + 100 x 0.02 + 50 x 0.085");
    let performance = settings(Policy::PerformanceOptimal);
    assert_eq!(placed(&performance, &sites, &three), [(1, 3), (2, 2), (3, 3)]);
    // The memory workload pays a little more for more memory; the guide's would by its index.
    let balanced = Settings { cost_weight: 0.2, ..Settings::default() };
    assert_eq!(placed(&balanced, &sites, &three), [(1, 3), (2, 2), (3, 3)]);
    let thrifty = Settings { cost_weight: 0.9, ..Settings::default() };
    assert_eq!(placed(&thrifty, &sites, &three), [(1, 3), (2, 3), (3, 3)]);
}

#[test]
fn no_site_takes_more_than_it_has_room_for() {
    let mut sites = guide_sites();
    sites[2].cpus_free = 4;
    sites[1].cpus_free = 7;
    sites[0].cpus_free = 0;
    let mut three = [1, 2, 3].map(|id| workload(id, Profile::Even));
    three[2].priority = 1;
    assert_eq!(placed(&settings(Policy::CostOptimal), &sites, &three), [(3, 3), (1, 2)]);
    let none: [Site; 0] = [];
    assert_eq!(placed(&settings(Policy::Balanced), &none, &three), []);
}

#[test]
fn spot_capacity_is_for_those_who_tolerate_it() {
    let mut sites = guide_sites();
    sites[2].is_spot = true;
    let firm = workload(1, Profile::CpuIntensive);
    let flexible = Workload { id: 2, tolerates_spot: true, ..firm };
    let cost = settings(Policy::CostOptimal);
    assert_eq!(placed(&cost, &sites, &[firm, flexible]), [(1, 2), (2, 3)]);
}

#[test]
fn broken_numbers_and_duplicates() {
    let mut sites = guide_sites();
    sites[2].compute_price_per_hour = f64::NAN;
    sites[1].cpu_score = f64::INFINITY;
    let one = [workload(1, Profile::CpuIntensive)];
    for policy in [Policy::CostOptimal, Policy::PerformanceOptimal, Policy::Balanced] {
        let assignments = place(&settings(policy), &sites, &one).unwrap();
        assert_eq!(assignments[0].site, 1);
        assert!(assignments[0].score.is_finite());
    }
    sites[1].id = 1;
    assert!(place(&settings(Policy::Balanced), &sites, &one).unwrap_err().contains("site 1"));
    assert!(rank_sites(Purpose::Training, &sites).is_err());
    assert!(place_cache(&Settings::default(), &CacheItem::default(), &sites).is_err());
    let twice = [one[0], one[0]];
    assert!(place(&Settings::default(), &guide_sites(), &twice).is_err());
}

#[test]
fn sites_are_ranked_by_purpose() {
    let mut sites = guide_sites();
    sites[0].latency_ms = 5.0;
    sites[1].compute_price_per_hour = 0.02;
    sites[2].reliability = f64::NAN;
    assert_eq!(rank_sites(Purpose::Inference, &sites), Ok(vec![1, 2, 3]));
    assert_eq!(rank_sites(Purpose::Training, &sites), Ok(vec![2, 1, 3]));
    sites[0].latency_ms = 0.0;
    sites[1].latency_ms = f64::INFINITY;
    assert_eq!(rank_sites(Purpose::Balanced, &sites), Ok(vec![1, 2, 3]));
}

#[test]
fn copies_stay_within_the_budget_and_near_their_readers() {
    let mut sites = guide_sites();
    let places = [(39.0, -76.6), (41.6, -93.6), (37.8, -122.4)];
    for (site, (latitude, longitude)) in sites.iter_mut().zip(places) {
        (site.latitude, site.longitude) = (latitude, longitude);
    }
    sites[1].latency_ms = 5.0;
    let item = CacheItem { size_gib: 10.0, budget_per_month: 1.0, ..CacheItem::default() };
    let of = |policy, item: &CacheItem| place_cache(&settings(policy), item, &sites).unwrap();
    assert_eq!(of(Policy::Balanced, &item), [3], "the cheapest");
    let waiting = CacheItem { is_latency_sensitive: true, ..item };
    assert_eq!(of(Policy::Balanced, &waiting), [2], "the fastest from here");
    let seattle = CacheItem { readers: Some((47.6, -122.3)), ..waiting };
    assert_eq!(of(Policy::Balanced, &seattle), [3], "the nearest to the readers");
    assert_eq!(of(Policy::CostOptimal, &waiting), [3]);
    let often = CacheItem { requests_per_hour: 101.0, ..seattle };
    assert_eq!(of(Policy::PerformanceOptimal, &often), [3, 2]);
    let poor = CacheItem { budget_per_month: 0.25, ..often };
    assert_eq!(of(Policy::PerformanceOptimal, &poor), [3], "a second copy costs too much");
    let broke = CacheItem { budget_per_month: 0.1, ..often };
    assert!(of(Policy::Balanced, &broke).is_empty());
    assert!(of(Policy::Balanced, &CacheItem { size_gib: f64::NAN, ..often }).is_empty());
}

#[test]
fn settings_that_are_refused() {
    assert!(Settings::parse(r#"{"cost_weight": 1.5}"#).unwrap_err().contains("cost_weight"));
    let negative = r#"{"copies_from_requests_per_hour": -1}"#;
    assert!(Settings::parse(negative).unwrap_err().contains("copies_from"));
    let parsed = Settings::parse(r#"{"policy": "cost-optimal"}"#).unwrap();
    assert_eq!(parsed.policy, Policy::CostOptimal);
}
