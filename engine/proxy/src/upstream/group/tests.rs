//! Which server takes which request, on a clock that the test moves.

use std::time::Duration;

use super::*;
use crate::upstream::spec::{BreakerSpec, HashKey, HedgeSpec};

fn server(address: &str) -> ServerSpec {
    ServerSpec {
        address: address.to_owned(),
        weight: 1,
        backup: false,
        max_fails: 1,
        fail_timeout: Duration::from_secs(10),
        drain: false,
    }
}

fn group_of(policy: Policy, servers: Vec<ServerSpec>) -> GroupSpec {
    GroupSpec {
        name: "g".to_owned(),
        servers,
        policy,
        check: None,
        breaker: None,
        slow_start: Duration::ZERO,
        retries: 1,
        retry_budget_percent: 20,
        hedge: None,
        keepalive: Duration::from_secs(60),
        protocol: Protocol::Http,
        host: None,
    }
}

fn three(policy: Policy) -> GroupSpec {
    let servers = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"].map(server);
    group_of(policy, servers.to_vec())
}

fn compiled(spec: &GroupSpec) -> Arc<Group> {
    let mut faults = Vec::new();
    let group = Group::compile(spec, "upstreams[0]", 1, None, &mut faults);
    assert_eq!(faults, []);
    group
}

const SECOND: u64 = 1_000_000;

fn ask(now_us: u64) -> Ask {
    Ask { thread: 0, now_us, key: 7, tried: 0 }
}

#[test]
fn a_failed_server_rests_and_one_request_tries_it_again() {
    let group = compiled(&three(Policy::RoundRobin));
    let first = group.pick(&ask(SECOND)).unwrap();
    let lease = group.lease(first, &ask(SECOND));
    lease.failed(SECOND);
    drop(lease);
    let mut turns: Vec<_> = (0..6).filter_map(|_| group.pick(&ask(2 * SECOND))).collect();
    assert!(!turns.contains(&first), "{turns:?}");
    let later = ask(12 * SECOND);
    turns = (0..6).filter_map(|_| group.pick(&later)).collect();
    assert_eq!(turns.iter().filter(|place| **place == first).count(), 1, "{turns:?}");
    group.lease(first, &later).succeeded(12 * SECOND);
    turns = (0..6).filter_map(|_| group.pick(&later)).collect();
    assert!(turns.iter().filter(|place| **place == first).count() >= 2, "{turns:?}");
}

#[test]
fn backups_are_asked_when_no_other_may_be() {
    let mut spec = three(Policy::RoundRobin);
    spec.servers[2].backup = true;
    spec.servers[1].drain = true;
    let group = compiled(&spec);
    assert_eq!(group.pick(&ask(0)), Some(0));
    let first_tried = Ask { tried: 1, ..ask(0) };
    assert_eq!(group.pick(&first_tried), Some(2));
    let all_tried = Ask { tried: 0b101, ..ask(0) };
    assert_eq!(group.pick(&all_tried), None);
    // A single server is asked whatever it did.
    let single = compiled(&group_of(Policy::RoundRobin, vec![server("127.0.0.1:1")]));
    single.lease(0, &ask(1)).failed(1);
    assert_eq!(single.pick(&ask(2)), Some(0));
}

#[test]
fn least_conn_counts_open_requests_by_weight() {
    let mut spec = three(Policy::LeastConn);
    spec.servers[2].weight = 3;
    let group = compiled(&spec);
    let mut open = Vec::new();
    for _ in 0..5 {
        let place = group.pick(&ask(0)).unwrap();
        open.push(group.lease(place, &ask(0)));
    }
    let count = |place| open.iter().filter(|lease| lease.place == place).count();
    assert_eq!([count(0), count(1), count(2)], [1, 1, 3]);
    let gone = open.iter().position(|lease| lease.place == 1).unwrap();
    open.remove(gone);
    assert_eq!(group.pick(&ask(0)), Some(1));
}

#[test]
fn ewma_prefers_the_faster_of_two() {
    let group =
        compiled(&group_of(Policy::Ewma, vec![server("127.0.0.1:1"), server("127.0.0.1:2")]));
    group.lease(0, &ask(0)).answered(50_000);
    group.lease(1, &ask(0)).answered(1_000);
    for _ in 0..20 {
        assert_eq!(group.pick(&ask(60_000)), Some(1));
    }
    // Fifty open requests cost more than one slow answer.
    let open: Vec<Lease> = (0..60).map(|_| group.lease(1, &ask(60_000))).collect();
    assert_eq!(group.pick(&ask(60_000)), Some(0));
    drop(open);
}

#[test]
fn a_server_that_lost_is_known_to_be_slow() {
    let group =
        compiled(&group_of(Policy::Ewma, vec![server("127.0.0.1:1"), server("127.0.0.1:2")]));
    group.lease(0, &ask(0)).answered(1_000);
    group.lease(1, &ask(0)).answered(5_000);
    assert_eq!(group.pick(&ask(6_000)), Some(0));
    // It took less than the other one is known to take, which says nothing.
    group.lease(1, &ask(6_000)).lost(7_000);
    group.lease(0, &ask(6_000)).lost(60_000);
    assert_eq!(group.pick(&ask(60_000)), Some(1));
    let stats = &group.servers[0].state.stats;
    assert_eq!((stats.failures.get(), stats.open.get()), (0, 0));
}

#[test]
fn a_second_server_is_a_sound_one_within_both_budgets() {
    let mut spec = three(Policy::RoundRobin);
    spec.servers[2].backup = true;
    spec.hedge = Some(HedgeSpec { after: Duration::from_millis(1), budget_percent: 10 });
    let group = compiled(&spec);
    let first_tried = Ask { tried: 0b001, ..ask(SECOND) };
    assert_eq!(group.others(&first_tried), 0b010);
    group.lease(1, &ask(SECOND)).failed(SECOND);
    assert_eq!(group.others(&first_tried), 0, "a backup is not asked beside others");
    group.lease(0, &ask(SECOND)).failed(SECOND);
    assert_eq!(group.others(&first_tried), 0b100);
    assert_eq!(group.others(&Ask { tried: 0b100, ..ask(SECOND) }), 0);
    // Ten are there to begin with, in either budget.
    assert_eq!((0..20).filter(|_| group.may_hedge()).count(), 10);
    assert!(!group.may_retry(), "they are further attempts");
    (0..10).for_each(|_| assert!(group.admits(SECOND)));
    assert!(group.may_retry() && group.may_retry() && !group.may_hedge());
    assert_eq!(group.stats.hedges_refused.get(), 11);
    // What the budget of retries did not allow was given back to the other one.
    (0..5).for_each(|_| assert!(group.admits(SECOND)));
    assert!(group.may_hedge() && !group.may_hedge());
}

#[test]
fn a_key_keeps_its_server() {
    let group = compiled(&three(Policy::Hash(HashKey::Path)));
    let home = group.pick(&ask(0)).unwrap();
    assert!((0..9).all(|_| group.pick(&ask(0)) == Some(home)));
    let away = Ask { tried: 1 << home, ..ask(0) };
    assert_ne!(group.pick(&away), Some(home));
    let random = compiled(&three(Policy::Random));
    let seen = (0..50).fold(0, |seen, _| seen | 1 << random.pick(&ask(0)).unwrap());
    assert_eq!(seen, 0b111);
}

#[test]
fn a_reload_keeps_what_is_known() {
    let mut spec = three(Policy::RoundRobin);
    spec.breaker = Some(BreakerSpec {
        failure_percent: 50,
        requests_min: 1,
        window: Duration::from_secs(1),
        open: Duration::from_secs(1),
        probes: 1,
    });
    let before = compiled(&spec);
    before.lease(0, &ask(1)).failed(1);
    before.ended(Ended::Badly, 1);
    let open = before.lease(2, &ask(1));
    spec.servers.remove(1);
    let mut faults = Vec::new();
    let after = Group::compile(&spec, "upstreams[0]", 1, Some(&before), &mut faults);
    assert_eq!(after.candidates(2, 0), 0b10);
    assert_eq!(after.servers[1].state.stats.open.get(), 1);
    assert!(!after.is_closed() && !after.admits(2));
    drop(open);
    assert_eq!(after.servers[1].state.stats.open.get(), 0);
}

#[test]
fn each_fault_is_named() {
    let servers = vec![server("nowhere"), server("a:80"), server("a:80")];
    let mut spec = group_of(Policy::Random, servers);
    spec.servers[1].weight = 0;
    spec.host = Some("a\nb".to_owned());
    let mut faults = Vec::new();
    Group::compile(&spec, "upstreams[3]", 1, None, &mut faults);
    let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "upstreams[3].servers[0].address",
            "upstreams[3].servers[1].weight",
            "upstreams[3].servers[2].address",
            "upstreams[3].host",
        ]
    );
}
