//! Tests of the limiters: against a model, against nginx itself, and their headers.

mod nginx;

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;

use super::limiter::{InFlightUse, Limits, Outcome, RateUse, Verdict};
use super::zone::{InFlightZone, RateZone};
use super::{LimitHeaders, Subject};

fn subject<'a>(client: [u8; 4], headers: &'a HeaderMap, path: &'a str) -> Subject<'a> {
    Subject { client: Some(IpAddr::from(client)), headers, host: "h", path, identity: None }
}

fn rate_use(name: &str, key: &str, rate: &str, burst: u32, undelayed: Option<u32>) -> RateUse {
    let (key, rate) = (key.parse().unwrap(), rate.parse().unwrap());
    RateUse { zone: Arc::new(RateZone::new(name, key, rate, 1 << 20)), burst, undelayed }
}

fn decide(limits: &Limits, client: [u8; 4], now_ms: u64) -> Verdict {
    limits.by_rate(&subject(client, &HeaderMap::new(), "/"), now_ms)
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn never_more_than_the_burst_and_what_the_rate_allows() {
    let mut state = 11;
    for round in 0..200 {
        let per_second = 1 + random(&mut state) % 50;
        let burst = (random(&mut state) % 20) as u32;
        let one = rate_use("a", "ip", &format!("{per_second}r/s"), burst, None);
        let limits = Limits { rates: vec![one], ..Limits::default() };
        let (mut now_ms, mut taken_at) = (random(&mut state), Vec::new());
        for _ in 0..300 {
            now_ms += random(&mut state) % (2_000 / per_second).max(1);
            match decide(&limits, [1, 2, 3, 4], now_ms).outcome {
                Outcome::Passed => taken_at.push(now_ms),
                Outcome::Rejected(wait_ms) => {
                    // What it says about coming back is true.
                    let ahead = limits.rates[0].zone.look(
                        &[1, 2, 3, 4],
                        u64::from(burst) * 1_000,
                        now_ms + wait_ms,
                        false,
                    );
                    assert!(matches!(ahead, super::zone::Looked::Room(_)), "round {round}");
                }
                Outcome::Delayed(_) => panic!("nothing waits without a delay"),
            }
        }
        for (index, start) in taken_at.iter().enumerate() {
            for (count, end) in taken_at[index..].iter().enumerate() {
                // `count` is of those after the one at `start`.
                let allowed = u64::from(burst) + (end - start) * per_second / 1_000;
                assert!(count as u64 <= allowed, "round {round}: {count} from {start} to {end}");
            }
        }
    }
}

#[test]
fn keys_do_not_share() {
    let limits = Limits { rates: vec![rate_use("a", "ip", "1r/s", 0, None)], ..Limits::default() };
    assert_eq!(decide(&limits, [1, 1, 1, 1], 0).outcome, Outcome::Passed);
    assert_eq!(decide(&limits, [1, 1, 1, 2], 0).outcome, Outcome::Passed);
    assert_eq!(decide(&limits, [1, 1, 1, 1], 0).outcome, Outcome::Rejected(1_001));
    assert_eq!(limits.rates[0].zone.stats().rejected.get(), 1);
    assert_eq!(limits.rates[0].zone.key_count(), 2);
}

#[test]
fn a_full_zone_forgets_what_was_used_the_longest_ago() {
    let (key, rate) = ("ip".parse().unwrap(), "1r/m".parse().unwrap());
    let zone = Arc::new(RateZone::new("a", key, rate, 64 << 10));
    let one = RateUse { zone: zone.clone(), burst: 0, undelayed: None };
    let limits = Limits { rates: vec![one], ..Limits::default() };
    for client in 0..20_000u32 {
        assert_eq!(decide(&limits, client.to_be_bytes(), 0).outcome, Outcome::Passed);
    }
    assert!(zone.key_count() < 1_200);
    assert_eq!(zone.stats().full.get() as usize, 20_000 - zone.key_count());
    // The newest is still known, the first is not.
    let rejected = |verdict: Verdict| matches!(verdict.outcome, Outcome::Rejected(_));
    assert!(rejected(decide(&limits, 19_999u32.to_be_bytes(), 0)));
    assert!(!rejected(decide(&limits, 0u32.to_be_bytes(), 0)));
}

#[test]
fn a_zone_that_refuses_leaves_those_before_it() {
    let rates = vec![
        rate_use("wide", "constant", "1r/s", 2, None),
        rate_use("narrow", "ip", "1r/s", 0, None),
    ];
    let limits = Limits { rates, ..Limits::default() };
    assert_eq!(decide(&limits, [1, 1, 1, 1], 0).by, None);
    for _ in 0..5 {
        assert_eq!(decide(&limits, [1, 1, 1, 1], 0).by, Some((1, 1_000)));
    }
    assert_eq!(decide(&limits, [1, 1, 1, 2], 0).excess[0], Some(1_000));
    assert_eq!(decide(&limits, [1, 1, 1, 3], 0).excess[0], Some(2_000));
    assert_eq!(decide(&limits, [1, 1, 1, 4], 0).by, Some((0, 3_000)));
}

#[test]
fn requests_under_way_are_counted_until_they_end() {
    let zone = |key: &str| Arc::new(InFlightZone::new("c", key.parse().unwrap(), 1 << 20));
    let in_flight = vec![
        InFlightUse { zone: zone("ip"), at_most: 2 },
        InFlightUse { zone: zone("constant"), at_most: 3 },
    ];
    let limits = Limits { in_flight, ..Limits::default() };
    let headers = HeaderMap::new();
    let enter = |client: u8| limits.enter(&subject([1, 1, 1, client], &headers, "/"));
    let (first, second) = (enter(1), enter(1));
    assert!(first.is_some() && second.is_some());
    assert!(enter(1).is_none());
    let third = enter(2);
    assert!(third.is_some());
    assert!(enter(2).is_none(), "all places of the second zone are taken");
    assert_eq!(limits.in_flight[0].zone.key_count(), 2);
    drop(second);
    assert!(enter(2).is_some());
    drop((first, third));
    assert_eq!(limits.in_flight[0].zone.key_count(), 0);
    assert_eq!(limits.in_flight[1].zone.key_count(), 0);
    assert_eq!(limits.in_flight[1].zone.stats().rejected.get(), 1);
}

#[test]
fn answers_say_what_is_left() {
    let rates = vec![rate_use("api", "ip", "2r/s", 3, None)];
    let limits = Limits { rates, ..Limits::default() };
    let policy = LimitHeaders::policy(&limits);
    let mut seen = Vec::new();
    for _ in 0..5 {
        let verdict = decide(&limits, [1, 1, 1, 1], 0);
        let mut headers = HeaderMap::new();
        LimitHeaders::of(&limits, policy.clone(), &verdict).write(&mut headers);
        let text =
            |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        assert_eq!(text("ratelimit-policy"), "\"api\";q=4;w=2");
        seen.push((text("ratelimit"), text("retry-after")));
    }
    let expected = [
        ("\"api\";r=3;t=0", ""),
        ("\"api\";r=2;t=1", ""),
        ("\"api\";r=1;t=1", ""),
        ("\"api\";r=0;t=2", ""),
        ("\"api\";r=0;t=2", "1"),
    ];
    assert_eq!(seen, expected.map(|(state, after)| (state.to_owned(), after.to_owned())));
}
