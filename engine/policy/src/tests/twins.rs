//! Each policy that ships, as a component, against the same function in the host.

use std::sync::Arc;

use truststram_base::ManualClock;
use truststram_decide::batching::Moment;
use truststram_decide::{aggregation, batching, placement, routing, selection, tuning};

use super::{builtin, spec};
use crate::{
    Aggregator, Batcher, Host, Kind, Placer, PluginLimits, PluginSpec, Router, Selector, Tuner,
    builtins,
};

/// Numbers for random questions.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

/// Runs `check` with the name of each built-in policy of kind `K` and an instance of it.
fn each_builtin<K: Kind>(check: impl Fn(&str, &mut crate::Instance<K>)) {
    let host = Host::new(Arc::new(ManualClock::at(0))).unwrap();
    let mut seen = 0;
    for policy in builtins().filter(|policy| policy.kind == K::NAME) {
        // What they answer is judged here, not how soon on a machine that has other work.
        let limits = PluginLimits { deadline_us: 60_000_000, ..PluginLimits::default() };
        let spec = PluginSpec { limits, ..spec(builtin(policy.name), "{}") };
        let plugin = host.load::<K>(&spec).unwrap();
        assert_eq!(plugin.info().name, K::NAME);
        check(policy.name, &mut plugin.instance());
        let failures = plugin.stats().failures();
        // To decline is an answer.
        assert!(
            failures.iter().all(|&(kind, count)| kind == "declined" || count == 0),
            "{failures:?}"
        );
        seen += 1;
    }
    assert!(seen > 0);
    host.close().unwrap();
}

/// The questions of a rehearsal have the same answers from a component and from native code, the
/// edges of the interface among them.
#[test]
fn components_answer_as_their_native_twins_at_the_edges() {
    fn check<K: crate::Rehearse + crate::Twin>() {
        each_builtin::<K>(|name, instance| {
            let mut native = K::native(&format!("{{\"policy\": \"{name}\"}}")).unwrap().unwrap();
            for number in 0..crate::QUESTIONS {
                for question in K::questions(instance, number).unwrap() {
                    let expected = native.decide(&question);
                    assert_eq!(K::ask(instance, &question), expected, "{name} {question:?}");
                }
            }
        });
    }
    check::<Batcher>();
    check::<Router>();
    check::<Selector>();
    check::<Placer>();
    check::<Aggregator>();
    check::<Tuner>();
}

#[test]
fn built_in_batchers_decide_as_their_native_twins() {
    each_builtin::<Batcher>(|name, instance| {
        let json = format!("{{\"policy\": \"{name}\"}}");
        let settings = batching::Settings::parse(&json).unwrap();
        let mut random = Random(1);
        for _ in 0..1_000 {
            let moment = Moment {
                bucket: random.below(4) as u32,
                queued: random.below(70) as u32 + 1,
                oldest_us: random.below(9_000) as u32,
                batch_max: random.below(64) as u32 + 1,
                target_us: random.below(9_000) as u32,
            };
            let expected = batching::decide(&settings, &moment);
            assert_eq!(instance.decide(&moment), Ok(expected), "{name} {moment:?}");
        }
    });
}

#[test]
fn built_in_routers_pick_as_their_native_twins() {
    each_builtin::<Router>(|name, instance| {
        let json = format!("{{\"policy\": \"{name}\"}}");
        let mut native = routing::Router::new(routing::Settings::parse(&json).unwrap());
        let mut random = Random(2);
        assert_eq!(instance.pick(0, 1, 0, 9), Ok(None), "no table yet");
        for _ in 0..50 {
            let n = random.below(40) as u32 + 1;
            let mut column = |limit: u64| (0..n).map(|_| random.below(limit) as u32).collect();
            let mut table = routing::Table {
                ids: (0..n).collect(),
                weights: column(9),
                in_flight: column(9),
                capacities: column(12),
                states: column(4),
                ..routing::Table::default()
            };
            let mut column = |limit: u64| (0..n).map(|_| random.below(limit) as f32).collect();
            table.latency_us = column(5_000);
            table.error_shares = vec![0.25; n as usize];
            table.cost_per_hour = column(3);
            instance.observe(&mut table.clone()).unwrap();
            native.observe(&table);
            for _ in 0..100 {
                let expected = Some(native.pick(3)).filter(|&index| index != routing::NO_CHOICE);
                assert_eq!(instance.pick(7, 3, 0, n), Ok(expected), "{name}");
            }
        }
    });
}

#[test]
fn built_in_aggregators_plan_as_their_native_twins() {
    each_builtin::<Aggregator>(|name, instance| {
        let json = format!("{{\"policy\": \"{name}\"}}");
        let settings = aggregation::Settings::parse(&json).unwrap();
        assert_eq!(instance.wanted(), Ok(settings.wanted()));
        let mut random = Random(3);
        for round in 0..200 {
            let n = random.below(20) as usize;
            let context = aggregation::Round {
                round,
                now_ms: 1,
                parameters: 10,
                clients_asked: 20,
                buffered: n as u32,
            };
            let updates = aggregation::Updates {
                clients: (0..n as u32).collect(),
                staleness: (0..n).map(|_| random.below(8) as u32).collect(),
                samples: (0..n).map(|_| random.below(1_000)).collect(),
                l2_norms: (0..n).map(|_| random.below(9) as f32).collect(),
                train_losses: vec![f32::NAN; n],
                cosines: Vec::new(),
                squared_distances: (0..n * n).map(|_| random.below(90) as f32).collect(),
            };
            let expected = aggregation::make_plan(&settings, &updates).unwrap();
            assert_eq!(instance.make_plan(&context, &updates), Ok(expected), "{name}");
            let update = aggregation::Update {
                client: 1,
                staleness: random.below(8) as u32,
                samples: random.below(2),
                l2_norm: 1.0,
                train_loss: 0.5,
            };
            let expected = aggregation::admit(&settings, &context, &update);
            assert_eq!(instance.admit(&context, &update), Ok(expected), "{name} {update:?}");
        }
    });
}

#[test]
fn built_in_selectors_choose_as_their_native_twins() {
    each_builtin::<Selector>(|name, instance| {
        let json = format!("{{\"policy\": \"{name}\"}}");
        let settings = selection::Settings::parse(&json).unwrap();
        let mut random = Random(4);
        for round in 0..200 {
            let n = random.below(60) as u32 + 1;
            let mut column = |limit: u64| (0..n).map(|_| random.below(limit) as f32).collect();
            let mut clients = selection::Clients {
                ids: (0..n).map(|id| 3 * id).collect(),
                cpu_cores: column(64),
                memory_gib: column(64),
                bandwidth_mbps: column(1_000),
                latency_ms: column(200),
                samples_per_second: column(900),
                last_loss: vec![f32::NAN; n as usize],
                completed_shares: column(2),
                ..selection::Clients::default()
            };
            clients.samples = (0..n).map(|_| random.below(5_000) + 1).collect();
            clients.last_round = (0..n).map(|_| random.below(round + 1)).collect();
            let request =
                selection::RoundRequest { round, now_ms: 1, clients_min: 1, clients_max: 20 };
            let expected = selection::select(&settings, &request, &clients).unwrap();
            assert_eq!(instance.select(&request, &clients), Ok(expected), "{name}");
        }
    });
}

#[test]
fn built_in_placers_place_as_their_native_twins() {
    each_builtin::<Placer>(|name, instance| {
        let json = format!("{{\"policy\": \"{name}\"}}");
        let settings = placement::Settings::parse(&json).unwrap();
        let mut random = Random(5);
        for _ in 0..100 {
            let mut number = |limit: u64| random.below(limit) as f64;
            let sites: Vec<placement::Site> = (0..number(20) as u32)
                .map(|id| placement::Site {
                    id,
                    provider: format!("provider {}", id % 3),
                    region: "somewhere".to_owned(),
                    cpus_free: number(30) as u32,
                    gpus_free: number(2) as u32,
                    memory_free_mib: number(9_000) as u64,
                    compute_price_per_hour: number(90) / 100.0,
                    storage_price_per_gib: number(90) / 1_000.0,
                    network_price_per_gib: number(90) / 1_000.0,
                    cpu_score: number(100),
                    memory_score: number(100),
                    network_score: number(100),
                    latency_ms: number(200),
                    reliability: number(100) / 100.0,
                    latitude: number(180) - 90.0,
                    longitude: number(360) - 180.0,
                    is_spot: id % 4 == 0,
                })
                .collect();
            let workloads: Vec<placement::Workload> = (0..number(20) as u64)
                .map(|id| placement::Workload {
                    id,
                    cpus: number(9) as u32,
                    gpus: u32::from(id % 5 == 0),
                    memory_mib: number(3_000) as u64,
                    compute_hours: number(90),
                    storage_gib: number(900),
                    network_gib: number(900),
                    priority: number(3) as u32,
                    tolerates_spot: id % 2 == 0,
                    ..placement::Workload::default()
                })
                .collect();
            let expected = placement::place(&settings, &sites, &workloads).unwrap();
            assert_eq!(instance.place(1, &sites, &workloads), Ok(expected), "{name}");
            let purpose = placement::Purpose::Inference;
            let expected = placement::rank_sites(purpose, &sites).unwrap();
            assert_eq!(instance.rank_sites(purpose, &sites), Ok(expected), "{name}");
            let item = placement::CacheItem {
                size_gib: number(50),
                requests_per_hour: number(200),
                is_latency_sensitive: true,
                budget_per_month: number(3),
                readers: Some((number(180) - 90.0, number(360) - 180.0)),
            };
            let expected = placement::place_cache(&settings, &item, &sites).unwrap();
            assert_eq!(instance.place_cache(&item, &sites), Ok(expected), "{name}");
        }
    });
}

#[test]
fn built_in_tuners_propose_and_learn_as_their_native_twins() {
    each_builtin::<Tuner>(|name, instance| {
        let json = format!("{{\"policy\": \"{name}\"}}");
        let settings = tuning::Settings::parse(&json).unwrap();
        let mut state = tuning::State::default();
        let mut random = Random(6);
        let parameter = |name: &str, scope, current| tuning::Parameter {
            name: name.to_owned(),
            scope,
            current: tuning::Value::Integer(current),
            original: tuning::Value::Integer(current),
            domain: tuning::Domain::Integers((1, 1 << 20)),
            step_max: 1_000.0,
            applies: tuning::Applies::AtOnce,
        };
        let parameters = [
            parameter("net.core.somaxconn", tuning::Scope::Network, 128),
            parameter("vm.swappiness", tuning::Scope::Machine, 60),
            parameter("inference.batch_max", tuning::Scope::Runtime, 64),
        ];
        let facts = [tuning::Fact { name: "cores".to_owned(), value: tuning::Value::Integer(8) }];
        let mut trials = 0;
        for round in 0..100 {
            let history: Vec<tuning::Observation> = (0..3)
                .map(|window| tuning::Observation {
                    now_ms: round * 10 + window,
                    window_ms: 1,
                    objective: 1_000.0 + random.below(9) as f64,
                    metrics: vec![tuning::Metric {
                        name: "requests".to_owned(),
                        p50: 1.0,
                        p99: 2.0,
                        mean: 1.0,
                        count: 500,
                    }],
                    trial: None,
                })
                .collect();
            let expected =
                tuning::propose(&settings, &mut state, &facts, &parameters, &history).unwrap();
            let is_trial = expected.is_some();
            assert_eq!(instance.propose(&facts, &parameters, &history), Ok(expected), "{name}");
            if is_trial {
                let after = 900.0 + random.below(200) as f64;
                tuning::conclude(&mut state, round, 1_000.0, after, after > 960.0);
                instance.conclude(round, 1_000.0, after, after > 960.0).unwrap();
                trials += 1;
            }
        }
        assert!(trials > 1, "{name}: {trials}");
    });
}
