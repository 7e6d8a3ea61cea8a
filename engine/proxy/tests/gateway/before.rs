//! What stands before the routes: limits, and the cache of upstream answers.

use std::sync::Arc;

use truststram_base::ManualClock;
use truststram_proxy::{
    Cache, CacheOptions, InFlightUse, InFlightZone, Limits, RateUse, RateZone, RouteSpec, TableSpec,
};

use crate::rig::{Manner, Rig, With, ask, get, group, options, route, server, table, to};

fn rate_zone() -> Arc<RateZone> {
    Arc::new(RateZone::new("api", "ip".parse().unwrap(), "1r/s".parse().unwrap(), 1 << 20))
}

#[tokio::test]
async fn limits_refuse_and_say_when_to_come_back() {
    let zone = rate_zone();
    let rates = vec![RateUse { zone: zone.clone(), burst: 1, undelayed: None }];
    let places = Arc::new(InFlightZone::new("addr", "ip".parse().unwrap(), 1 << 20));
    let in_flight = vec![InFlightUse { zone: places.clone(), at_most: 1 }];
    let limits = Limits { rates, in_flight, is_dry_run: false };
    let clock = Arc::new(ManualClock::at(1_790_000_000_000_000));
    let mut options = options();
    options.clock = clock.clone();
    let upstream = server("one", Manner::Echo).await;
    let routes = vec![route("up", "/up", to("g")), route("all", "/", to("g"))];
    let rig = Rig::start_behind(
        &table(routes, vec![group("g", &[upstream])]),
        options,
        &With { limits, cache: None },
    );
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
    assert_eq!((zone.stats().passed.get(), zone.stats().rejected.get()), (3, 1));
    rig.stop();
    assert_eq!(places.key_count(), 0);
}

#[tokio::test]
async fn a_host_is_one_key_however_it_is_written() {
    for key in ["host", "header:Host"] {
        let key = key.parse().unwrap();
        let zone = Arc::new(RateZone::new("host", key, "1r/s".parse().unwrap(), 1 << 20));
        let rates = vec![RateUse { zone: zone.clone(), burst: 0, undelayed: Some(0) }];
        let limits = Limits { rates, in_flight: Vec::new(), is_dry_run: false };
        let mut options = options();
        options.clock = Arc::new(ManualClock::at(1));
        let with = With { limits, cache: None };
        let rig = Rig::start_behind(&table(Vec::new(), Vec::new()), options, &with);
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
    let zone = rate_zone();
    let rates = vec![RateUse { zone: zone.clone(), burst: 0, undelayed: Some(0) }];
    let limits = Limits { rates, in_flight: Vec::new(), is_dry_run: true };
    let mut options = options();
    options.clock = Arc::new(ManualClock::at(1));
    let rig =
        Rig::start_behind(&table(Vec::new(), Vec::new()), options, &With { limits, cache: None });
    for _ in 0..3 {
        let answer = ask(rig.plain, &get("/")).await;
        assert_eq!((answer.status, answer.header("retry-after")), (200, None));
    }
    assert_eq!(zone.stats().rejected_dry_run.get(), 2);
    rig.stop();
}

#[tokio::test]
async fn upstream_answers_are_used_again_where_the_route_says_so() {
    let clock = Arc::new(ManualClock::at(1_790_000_000_000_000));
    let cache = CacheOptions { lifetimes_s: vec![(200, 60)], ..CacheOptions::default() };
    let cache = Arc::new(Cache::new(cache, clock.clone()));
    let mut options = options();
    options.clock = clock.clone();
    let upstream = server("one", Manner::Echo).await;
    let kept = RouteSpec { is_cached: true, ..route("kept", "/kept", to("g")) };
    let routes = vec![kept, route("all", "/", to("g"))];
    let with = With { limits: Limits::default(), cache: Some(cache.clone()) };
    let spec = table(routes, vec![group("g", &[upstream])]);
    let spec = TableSpec { security_headers: true, ..spec };
    let rig = Rig::start_behind(&spec, options, &with);
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
