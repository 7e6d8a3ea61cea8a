//! What stands before the routes: limits, and the cache of upstream answers.

use std::sync::Arc;

use truststram_base::ManualClock;
use truststram_proxy::{
    ActionSpec, Cache, CacheOptions, Counts, DayUseSpec, GatewayOptions, InFlightUseSpec,
    LimitSpec, RateUseSpec, RouteSpec, TableSpec, UseSpec, ZoneSpec,
};

use crate::rig::*;

/// A zone of rates, or of requests under way.
pub fn zone(name: &str, key: &str, rate: Option<&str>) -> ZoneSpec {
    let rate = rate.map(|rate| rate.parse().unwrap());
    let counts = rate.map_or(Counts::InFlight, Counts::Rate);
    ZoneSpec { name: name.to_owned(), key: key.parse().unwrap(), counts, bytes_max: 1 << 20 }
}

pub fn rate(zone: &str, burst: u32) -> UseSpec {
    let one = RateUseSpec { zone: zone.to_owned(), burst, undelayed: None };
    UseSpec { rates: vec![one], ..UseSpec::default() }
}

pub fn limits(zones: Vec<ZoneSpec>, every: UseSpec) -> LimitSpec {
    LimitSpec { zones, every, ..LimitSpec::default() }
}

fn by(clock: &Arc<ManualClock>) -> GatewayOptions {
    GatewayOptions { clock: clock.clone(), ..options() }
}

#[tokio::test]
async fn limits_refuse_and_say_when_to_come_back() {
    let mut every = rate("api", 1);
    every.in_flight = vec![InFlightUseSpec { zone: "addr".to_owned(), at_most: 1 }];
    let zones = vec![zone("api", "ip", Some("1r/s")), zone("addr", "ip", None)];
    let clock = Arc::new(ManualClock::at(1_790_000_000_000_000));
    let upstream = server("one", Manner::Echo).await;
    let routes = vec![route("up", "/up", to("g")), route("all", "/", to("g"))];
    let spec = table(routes, vec![group("g", &[upstream])]);
    let spec = TableSpec { limits: limits(zones, every), ..spec };
    let rig = Rig::start_with(&spec, by(&clock));
    let first = ask(rig.plain, &get("/up")).await;
    assert_eq!((first.status, first.header("ratelimit")), (200, Some("\"api\";r=1;t=0")));
    assert_eq!(first.header("ratelimit-policy"), Some("\"api\";q=2;w=2"));
    let second = ask(rig.plain, &get("/")).await;
    assert_eq!((second.status, second.header("ratelimit")), (200, Some("\"api\";r=0;t=1")));
    let third = ask(rig.plain, &get("/")).await;
    assert_eq!((third.status, third.body.as_str()), (429, "too-many-requests"));
    assert_eq!(third.header("retry-after"), Some("2"));
    clock.advance(1_001_000);
    assert_eq!(ask(rig.plain, &get("/")).await.status, 200);
    let zones = rig.live.zones();
    let stats = zones.rates[0].stats();
    assert_eq!((stats.passed.get(), stats.rejected.get()), (3, 1));
    rig.stop();
    assert_eq!(zones.in_flight[0].key_count(), 0);
}

#[tokio::test]
async fn a_route_has_limits_of_its_own_after_those_of_all() {
    let zones = vec![zone("api", "ip", Some("1r/s")), zone("auth", "ip", Some("1r/m"))];
    let clock = Arc::new(ManualClock::at(1_790_000_000_000_000));
    let upstream = server("one", Manner::Echo).await;
    let login = RouteSpec { limits: rate("auth", 0), ..route("login", "/login", to("g")) };
    let spec = table(vec![login, route("all", "/", to("g"))], vec![group("g", &[upstream])]);
    let spec = TableSpec { limits: limits(zones, rate("api", 2)), ..spec };
    let rig = Rig::start_with(&spec, by(&clock));
    let first = ask(rig.plain, &get("/login")).await;
    assert_eq!((first.status, first.header("retry-after")), (200, None));
    assert_eq!(first.header("ratelimit"), Some("\"api\";r=2;t=0, \"auth\";r=0;t=0"));
    assert_eq!(first.header("ratelimit-policy"), Some("\"api\";q=3;w=3, \"auth\";q=1;w=63"));
    let second = ask(rig.plain, &get("/login")).await;
    assert_eq!((second.status, second.header("retry-after")), (429, Some("63")));
    // What its route refuses was counted for all.
    let third = ask(rig.plain, &get("/")).await;
    assert_eq!((third.status, third.header("ratelimit")), (200, Some("\"api\";r=0;t=2")));
    let fourth = ask(rig.plain, &get("/login")).await;
    assert_eq!((fourth.status, fourth.header("ratelimit")), (429, Some("\"api\";r=0;t=2")));
    rig.stop();
}

#[tokio::test]
async fn a_route_behind_the_cache_is_limited_once() {
    let clock = Arc::new(ManualClock::at(1_790_000_000_000_000));
    let cache = Arc::new(Cache::new(CacheOptions::default(), clock.clone()));
    let upstream = server("one", Manner::Echo).await;
    let limits = limits(vec![zone("api", "ip", Some("1r/s"))], UseSpec::default());
    let kept = RouteSpec { is_cached: true, limits: rate("api", 0), ..route("kept", "/", to("g")) };
    let spec = table(vec![kept], vec![group("g", &[upstream])]);
    let spec = TableSpec { limits, ..spec };
    let rig = Rig::start_behind(
        &spec,
        by(&clock),
        &With { cache: Some(cache.clone()), ..With::default() },
    );
    assert_eq!(ask(rig.plain, &get("/")).await.status, 200);
    assert_eq!(ask(rig.plain, &get("/")).await.status, 429);
    let zones = rig.live.zones();
    let stats = zones.rates[0].stats();
    assert_eq!((stats.passed.get(), stats.rejected.get()), (1, 1));
    rig.stop();
}

#[tokio::test]
async fn a_reload_exchanges_limits_and_keeps_what_zones_know() {
    let clock = Arc::new(ManualClock::at(1_790_000_000_000_000));
    let fixed = ActionSpec::Answer { status: 200, body: String::new() };
    let spec = |rate: &str, every| {
        let limits = limits(vec![zone("api", "ip", Some(rate))], every);
        TableSpec { limits, ..table(vec![route("all", "/", fixed.clone())], Vec::new()) }
    };
    let rig = Rig::start_with(&spec("1r/m", rate("api", 0)), by(&clock));
    let statuses = async || [ask(rig.plain, &get("/")).await.status];
    assert_eq!(statuses().await, [200]);
    assert_eq!(statuses().await, [429]);
    // A larger burst of the same zone: one request is known.
    rig.live.replace(&spec("1r/m", rate("api", 1))).unwrap();
    assert_eq!(statuses().await, [200]);
    assert_eq!(statuses().await, [429]);
    // Another rate makes another zone, which knows nobody.
    rig.live.replace(&spec("2r/m", rate("api", 0))).unwrap();
    assert_eq!(statuses().await, [200]);
    assert_eq!(statuses().await, [429]);
    rig.live.replace(&spec("2r/m", UseSpec::default())).unwrap();
    assert_eq!(statuses().await, [200]);
    let faults = rig.live.replace(&spec("2r/m", rate("none", 0))).unwrap_err();
    let fault = &faults[0];
    assert_eq!(fault.key, "gateway.limit_requests");
    assert_eq!(fault.message, "[0]: no zone of [[limits]] with a rate is `none`");
    rig.stop();
}

#[tokio::test]
async fn a_host_is_one_key_however_it_is_written() {
    for key in ["host", "header:Host"] {
        let limits = limits(vec![zone("host", key, Some("1r/s"))], rate("host", 0));
        let spec = TableSpec { limits, ..TableSpec::default() };
        let rig = Rig::start_with(&spec, by(&Arc::new(ManualClock::at(1))));
        let statuses = ["a.test", "a.test:1", "a.test.", "A.Test", "b.test"].map(async |host| {
            let head = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
            ask(rig.plain, &head).await.status
        });
        let mut found = Vec::new();
        for status in statuses {
            found.push(status.await);
        }
        assert_eq!(found, [200, 429, 429, 429, 200]);
        rig.stop();
    }
}

#[tokio::test]
async fn a_dry_run_only_counts() {
    let limits = limits(vec![zone("api", "ip", Some("1r/s"))], rate("api", 0));
    let limits = LimitSpec { is_dry_run: true, ..limits };
    let spec = TableSpec { limits, ..TableSpec::default() };
    let rig = Rig::start_with(&spec, by(&Arc::new(ManualClock::at(1))));
    for _ in 0..3 {
        let answer = ask(rig.plain, &get("/")).await;
        assert_eq!((answer.status, answer.header("retry-after")), (200, None));
    }
    assert_eq!(rig.live.zones().rates[0].stats().rejected_dry_run.get(), 2);
    rig.stop();
}

#[tokio::test]
async fn upstream_answers_are_used_again_where_the_route_says_so() {
    let clock = Arc::new(ManualClock::at(1_790_000_000_000_000));
    let cache = CacheOptions { lifetimes_s: vec![(Some(200), 60)], ..CacheOptions::default() };
    let cache = Arc::new(Cache::new(cache, clock.clone()));
    let mut options = options();
    options.clock = clock.clone();
    let upstream = server("one", Manner::Echo).await;
    let kept = RouteSpec { is_cached: true, ..route("kept", "/kept", to("g")) };
    let routes = vec![kept, route("all", "/", to("g"))];
    let spec = table(routes, vec![group("g", &[upstream])]);
    let spec = TableSpec { security_headers: true, ..spec };
    let rig =
        Rig::start_behind(&spec, options, &With { cache: Some(cache.clone()), ..With::default() });
    let first = ask(rig.plain, &get("/kept")).await;
    assert_eq!(first.header("cache-status"), Some("truststram; fwd=uri-miss; stored"));
    assert!(first.body.starts_with("one\nGET /kept "), "{}", first.body);
    assert!(first.body.contains("127.0.0.1"), "the server hears of the client: {}", first.body);
    clock.advance(59_000_000);
    let second = ask(rig.plain, &get("/kept")).await;
    assert_eq!(second.header("cache-status"), Some("truststram; hit; ttl=1"));
    assert_eq!((second.header("age"), &second.body), (Some("59"), &first.body));
    for answer in [&first, &second] {
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    }
    let changed =
        ask(rig.plain, "POST /kept HTTP/1.1\r\nhost: a.test\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(changed.await.status, 200);
    let third = ask(rig.plain, &get("/kept")).await;
    assert_eq!(third.header("cache-status"), Some("truststram; fwd=uri-miss; stored"));
    assert_eq!(ask(rig.plain, &get("/other")).await.header("cache-status"), None);
    assert_eq!((cache.stats().hits.get(), cache.stats().invalidated.get()), (1, 1));
    rig.stop();
}

#[tokio::test]
async fn a_day_has_so_many_requests_by_each_way() {
    // Ten seconds before midnight.
    let clock = Arc::new(ManualClock::at(20_000 * 86_400_000_000 - 10_000_000));
    let zone = ZoneSpec { counts: Counts::Day, ..zone("daily", "path", None) };
    let day = |at_most| UseSpec {
        days: vec![DayUseSpec { zone: "daily".to_owned(), at_most }],
        ..UseSpec::default()
    };
    let fixed = ActionSpec::Answer { status: 200, body: String::new() };
    let upstream = server("one", Manner::Echo).await;
    let routes = |at_most| {
        let limits = day(at_most);
        let one = RouteSpec { limits: limits.clone(), ..route("fixed", "/fixed", fixed.clone()) };
        vec![one, RouteSpec { limits, ..route("up", "/", to("g")) }]
    };
    let spec = |at_most| {
        let limits = limits(vec![zone.clone()], UseSpec::default());
        TableSpec { limits, ..table(routes(at_most), vec![group("g", &[upstream])]) }
    };
    let rig = Rig::start_with(&spec(2), by(&clock));
    for path in ["/fixed", "/up"] {
        for (status, left, wait) in [(200, 1, None), (200, 0, None), (429, 0, Some("10"))] {
            let answer = ask(rig.plain, &get(path)).await;
            assert_eq!((answer.status, answer.header("retry-after")), (status, wait), "{path}");
            assert_eq!(answer.header("ratelimit-policy"), Some("\"daily\";q=2;w=86400"));
            let state = format!("\"daily\";r={left};t=10");
            assert_eq!(answer.header("ratelimit"), Some(state.as_str()));
        }
    }
    // A reload with another number keeps what was counted.
    rig.live.replace(&spec(3)).unwrap();
    assert_eq!(ask(rig.plain, &get("/up")).await.status, 200);
    assert_eq!(ask(rig.plain, &get("/up")).await.status, 429);
    clock.advance(10_000_000);
    for path in ["/fixed", "/up"] {
        assert_eq!(
            ask(rig.plain, &get(path)).await.header("ratelimit").unwrap(),
            "\"daily\";r=2;t=86400"
        );
    }
    assert!(rig.gateway.stats()[0].direct.get() >= 3);
    let mut faults = rig.live.replace(&spec(0)).unwrap_err();
    let fault = faults.swap_remove(0);
    assert_eq!(fault.key, "routes[0].limit_days");
    assert_eq!(fault.message, "[0].at_most must be 1 to 1000000000000");
    rig.stop();
}
