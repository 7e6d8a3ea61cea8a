//! Owns the questions that a component is asked before it is put to use: usual ones, and those at
//! the edges of what its interface allows.
//!
//! Refuses to judge how good an answer is: it must come, be within its bounds, and be the same from
//! another instance. Bound: [`QUESTIONS`] questions of each kind, always the same.

use std::time::Instant;

use truststram_decide::aggregation::{Round, Update, Updates};
use truststram_decide::batching::Moment;
use truststram_decide::placement::{CacheItem, Profile, Purpose, Site, Workload};
use truststram_decide::routing::Table;
use truststram_decide::selection::{Clients, RoundRequest};
use truststram_decide::tuning::{
    Applies, Domain, Fact, Metric, Observation, Parameter, Scope, Value,
};

use crate::aggregator::AggregatorQuestion;
use crate::instance::Instance;
use crate::kernel::{KernelQuestion, TILE_COORDINATES_MAX, Tile};
use crate::kind::{Aggregator, Batcher, Kernel, Kind, Placer, Router, Selector, Tuner};
use crate::placer::PlacerQuestion;
use crate::plugin::Plugin;
use crate::router::RouterQuestion;
use crate::selector::SelectorQuestion;
use crate::stats::Refusal;
use crate::tuner::TunerQuestion;

/// Questions of each kind.
pub const QUESTIONS: u64 = 200;

/// A kind whose components can be rehearsed.
pub trait Rehearse: Kind {
    /// The questions with this number, in their order. What they hold may depend on what the
    /// component says that it wants.
    ///
    /// # Errors
    /// Why it did not say so.
    fn questions(
        instance: &mut Instance<Self>,
        number: u64,
    ) -> Result<Vec<Self::Question>, Refusal>;

    /// Bytes of the rows that a question has reduced; 0 where it has none.
    fn bytes(_question: &Self::Question) -> u64 {
        0
    }
}

/// How a rehearsal went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rehearsed {
    /// The median time of a question, with what it takes to put it.
    pub question_ns_p50: u64,
}

/// Asks two instances all questions; they must answer, and alike.
///
/// # Errors
/// The first question that went wrong, and how.
pub fn rehearse<K: Rehearse>(instances: &mut [Instance<K>; 2]) -> Result<Rehearsed, String> {
    let mut times_ns = Vec::new();
    for number in 0..QUESTIONS {
        let wrong = |plugin: &Plugin<K>, refusal: Refusal| {
            let last = plugin.stats().last_error().unwrap_or_default();
            format!("question {number}: {refusal:?}: {last}")
        };
        let [first, second] = &mut *instances;
        let put = |instance: &mut Instance<K>| {
            let questions = K::questions(instance, number);
            questions.map_err(|refusal| wrong(instance.plugin(), refusal))
        };
        // The second is asked what it wants as well, so that both have done the same.
        let (questions, _) = (put(first)?, put(second)?);
        for question in &questions {
            let mut answer = |instance: &mut Instance<K>| {
                let begun = Instant::now();
                let answer = K::ask(instance, question);
                times_ns.push(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
                match answer {
                    // To say that it cannot decide is an answer.
                    Ok(_) | Err(Refusal::Declined) => Ok(answer),
                    Err(refusal) => Err(wrong(instance.plugin(), refusal)),
                }
            };
            let (one, other) = (answer(first)?, answer(second)?);
            if one != other {
                return Err(format!(
                    "question {number}: two instances answer {one:?} and {other:?}; a decision \
                     must follow from its arguments"
                ));
            }
        }
    }
    times_ns.sort_unstable();
    Ok(Rehearsed { question_ns_p50: times_ns.get(times_ns.len() / 2).copied().unwrap_or(0) })
}

/// Numbers that a question is made of: SplitMix64, seeded by the question.
struct Numbers(u64);

impl Numbers {
    fn of(question: u64) -> Self {
        Self(question.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit.max(1)
    }

    /// A count, often small, sometimes at an edge.
    fn count(&mut self, most: u32) -> u32 {
        match self.below(8) {
            0 => 0,
            1 => most,
            _ => self.below(u64::from(most)) as u32,
        }
    }

    /// A number, sometimes none that is one.
    fn number(&mut self, most: f32) -> f32 {
        match self.below(24) {
            0 => f32::NAN,
            1 => f32::INFINITY,
            2 => 0.0,
            3 => f32::MAX,
            _ => self.below(1_000) as f32 / 1_000.0 * most,
        }
    }

    fn column<T>(&mut self, n: usize, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..n).map(|_| one(self)).collect()
    }
}

impl Rehearse for Batcher {
    fn questions(
        _instance: &mut Instance<Self>,
        number: u64,
    ) -> Result<Vec<Self::Question>, Refusal> {
        let mut numbers = Numbers::of(number);
        let moment = Moment {
            bucket: numbers.count(8),
            queued: numbers.count(100_000).max(1),
            oldest_us: numbers.count(u32::MAX),
            batch_max: numbers.count(512).max(1),
            target_us: numbers.count(1_000_000),
        };
        Ok(vec![moment])
    }
}

impl Rehearse for Router {
    fn questions(
        _instance: &mut Instance<Self>,
        number: u64,
    ) -> Result<Vec<Self::Question>, Refusal> {
        let mut numbers = Numbers::of(number);
        let n = numbers.count(300) as usize;
        let table = Table {
            now_ms: number,
            ids: (0..n as u32).map(|index| index * 3).collect(),
            weights: numbers.column(n, |numbers| numbers.count(10).max(1)),
            in_flight: numbers.column(n, |numbers| numbers.count(1_000)),
            capacities: numbers.column(n, |numbers| numbers.count(1_000)),
            latency_us: numbers.column(n, |numbers| numbers.number(1e6)),
            error_shares: numbers.column(n, |numbers| numbers.number(1.0)),
            cost_per_hour: numbers.column(n, |numbers| numbers.number(3.0)),
            states: numbers.column(n, |numbers| numbers.below(16) as u32),
        };
        let mut questions = vec![RouterQuestion::Observe(table)];
        questions.extend((0..3).map(|attempt| RouterQuestion::Pick {
            key: number,
            cost_hint: numbers.count(9).max(1),
            attempt,
            candidates: n as u32,
        }));
        Ok(questions)
    }
}

impl Rehearse for Aggregator {
    fn questions(
        instance: &mut Instance<Self>,
        number: u64,
    ) -> Result<Vec<Self::Question>, Refusal> {
        let mut numbers = Numbers::of(number);
        let wanted = instance.wanted()?;
        let n = numbers.count(60).max(1) as usize;
        let round = Round {
            round: number + 1,
            now_ms: number,
            parameters: 1_000,
            clients_asked: n as u32,
            buffered: numbers.count(60),
        };
        let update = Update {
            client: 1,
            staleness: numbers.count(9),
            samples: u64::from(numbers.count(1_000)),
            l2_norm: numbers.number(10.0),
            train_loss: numbers.number(3.0),
        };
        let updates = Updates {
            clients: (0..n as u32).collect(),
            staleness: numbers.column(n, |numbers| numbers.count(9)),
            samples: numbers.column(n, |numbers| u64::from(numbers.count(1_000))),
            l2_norms: numbers.column(n, |numbers| numbers.number(10.0)),
            train_losses: numbers.column(n, |numbers| numbers.number(3.0)),
            cosines: if wanted.cosines { vec![0.5; n] } else { Vec::new() },
            squared_distances: if wanted.squared_distances {
                numbers.column(n * n, |numbers| numbers.number(9.0))
            } else {
                Vec::new()
            },
        };
        Ok(vec![
            AggregatorQuestion::Wanted,
            AggregatorQuestion::Admit { round, update },
            AggregatorQuestion::MakePlan { round, updates },
        ])
    }
}

impl Rehearse for Kernel {
    fn questions(
        _instance: &mut Instance<Self>,
        number: u64,
    ) -> Result<Vec<Self::Question>, Refusal> {
        let mut numbers = Numbers::of(number);
        let n = numbers.below(16) as usize + 1;
        let length = match number % 8 {
            0 => 1,
            1 => TILE_COORDINATES_MAX,
            _ => numbers.below(300) as usize + 1,
        };
        // A kernel sees what has passed admission: finite numbers.
        let rows = numbers.column(n, |numbers| {
            numbers.column(length, |numbers| numbers.below(2_000) as f32 / 1_000.0 - 1.0)
        });
        let weights = vec![1.0 / n as f32; n];
        let tile = Tile { offset: 0, parameters: length as u64, round: number };
        Ok(vec![KernelQuestion { tile, weights, rows }])
    }

    fn bytes(question: &KernelQuestion) -> u64 {
        question.rows.iter().map(|row| size_of_val(&row[..]) as u64).sum()
    }
}

impl Rehearse for Selector {
    fn questions(
        _instance: &mut Instance<Self>,
        number: u64,
    ) -> Result<Vec<Self::Question>, Refusal> {
        let mut numbers = Numbers::of(number);
        let n = numbers.count(200) as usize;
        let clients = Clients {
            ids: (0..n as u32).map(|index| index * 7).collect(),
            samples: numbers.column(n, |numbers| u64::from(numbers.count(10_000))),
            cpu_cores: numbers.column(n, |numbers| numbers.number(64.0)),
            memory_gib: numbers.column(n, |numbers| numbers.number(128.0)),
            bandwidth_mbps: numbers.column(n, |numbers| numbers.number(1_000.0)),
            latency_ms: numbers.column(n, |numbers| numbers.number(200.0)),
            samples_per_second: numbers.column(n, |numbers| numbers.number(900.0)),
            last_loss: numbers.column(n, |numbers| numbers.number(3.0)),
            last_round: numbers.column(n, |numbers| numbers.below(number + 1)),
            completed_shares: numbers.column(n, |numbers| numbers.below(100) as f32 / 100.0),
        };
        let clients_min = numbers.count(5).max(1);
        let clients_max = clients_min + numbers.count(20);
        let request = RoundRequest { round: number + 1, now_ms: number, clients_min, clients_max };
        Ok(vec![SelectorQuestion { request, clients }])
    }
}

impl Rehearse for Placer {
    fn questions(
        _instance: &mut Instance<Self>,
        number: u64,
    ) -> Result<Vec<Self::Question>, Refusal> {
        let mut numbers = Numbers::of(number);
        let (sites_n, workloads_n) = (numbers.count(12), numbers.count(20));
        let price = |numbers: &mut Numbers| f64::from(numbers.number(0.5));
        let sites: Vec<Site> = (0..sites_n)
            .map(|id| Site {
                id,
                provider: format!("provider-{}", id % 3),
                region: "region".to_owned(),
                cpus_free: numbers.count(64),
                gpus_free: numbers.count(4),
                memory_free_mib: u64::from(numbers.count(1 << 20)),
                compute_price_per_hour: price(&mut numbers),
                storage_price_per_gib: price(&mut numbers),
                network_price_per_gib: price(&mut numbers),
                cpu_score: f64::from(numbers.count(100)),
                memory_score: f64::from(numbers.count(100)),
                network_score: f64::from(numbers.count(100)),
                latency_ms: f64::from(numbers.number(200.0)),
                reliability: f64::from(numbers.count(100)) / 100.0,
                latitude: f64::from(numbers.count(180)) - 90.0,
                longitude: f64::from(numbers.count(360)) - 180.0,
                is_spot: numbers.below(4) == 0,
            })
            .collect();
        let profiles = [Profile::CpuIntensive, Profile::MemoryIntensive, Profile::NetworkIntensive];
        let workloads: Vec<Workload> = (0..u64::from(workloads_n))
            .map(|id| Workload {
                id,
                profile: profiles.get(id as usize % 4).copied().unwrap_or(Profile::Even),
                cpus: numbers.count(16),
                gpus: numbers.count(2),
                memory_mib: u64::from(numbers.count(1 << 16)),
                compute_hours: price(&mut numbers),
                storage_gib: price(&mut numbers),
                network_gib: price(&mut numbers),
                priority: numbers.count(3),
                tolerates_spot: id % 2 == 0,
            })
            .collect();
        let item = CacheItem {
            size_gib: price(&mut numbers),
            requests_per_hour: f64::from(numbers.count(1_000)),
            is_latency_sensitive: number.is_multiple_of(2),
            budget_per_month: f64::from(numbers.count(10)),
            readers: number.is_multiple_of(3).then_some((1.0, 2.0)),
        };
        Ok(vec![
            PlacerQuestion::Place { now_ms: number, sites: sites.clone(), workloads },
            PlacerQuestion::RankSites { purpose: Purpose::Balanced, sites: sites.clone() },
            PlacerQuestion::PlaceCache { item, sites },
        ])
    }
}

impl Rehearse for Tuner {
    fn questions(
        _instance: &mut Instance<Self>,
        number: u64,
    ) -> Result<Vec<Self::Question>, Refusal> {
        let mut numbers = Numbers::of(number);
        let integer = |name: &str, scope, current: u32| Parameter {
            name: name.to_owned(),
            scope,
            current: Value::Integer(current.into()),
            original: Value::Integer(64),
            domain: Domain::Integers((1, 1 << 20)),
            step_max: 1_000.0,
            applies: Applies::AtOnce,
        };
        let mut parameters = vec![
            integer("inference.batch_max", Scope::Runtime, numbers.count(512).max(1)),
            integer("net.core.somaxconn", Scope::Network, numbers.count(4_096).max(1)),
        ];
        parameters.truncate(numbers.below(3) as usize);
        let facts = [Fact { name: "cores".to_owned(), value: Value::Integer(8) }];
        let windows = numbers.below(6);
        let history: Vec<Observation> = (0..windows)
            .map(|window| Observation {
                now_ms: number * 10 + window,
                window_ms: 1_000,
                objective: f64::from(numbers.number(1_000.0)),
                metrics: vec![Metric {
                    name: "requests".to_owned(),
                    p50: 1.0,
                    p99: f64::from(numbers.number(9.0)),
                    mean: 1.0,
                    count: numbers.below(1_000),
                }],
                trial: None,
            })
            .collect();
        Ok(vec![
            TunerQuestion::Propose { facts: facts.to_vec(), parameters, history },
            TunerQuestion::Conclude {
                trial: number,
                before: 100.0,
                after: f64::from(numbers.number(200.0)),
                is_kept: number.is_multiple_of(2),
            },
        ])
    }
}
