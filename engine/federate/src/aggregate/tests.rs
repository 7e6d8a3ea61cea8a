//! The kernels against plain loops in double precision, and plans carried out.

use truststram_decide::aggregation::{
    Adaptive, CostlyFacts, Outcome, Plan, Reducer, ServerOptimizer, Settings, Updates, make_plan,
};
use truststram_model::kernels::{Isa, Team};

use super::*;
use crate::random::Random;

/// Runs the parts from the last to the first, as other cores may.
struct Backwards;

impl Team for Backwards {
    fn parts(&self, _nanos: usize) -> usize {
        3
    }

    fn run(&self, parts: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..parts).rev().for_each(task);
    }
}

/// One after the other, on every set and with several cores: the same bits.
fn same(len: usize, work: impl Fn(Cores<'_>, &mut [f32])) -> Vec<f32> {
    let mut expected = vec![0.0; len];
    work(Cores::one(), &mut expected);
    for isa in [Isa::Portable, Isa::Avx2, Isa::detect()] {
        let mut found = vec![7.0; len];
        work(Cores { isa, team: &Backwards }, &mut found);
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&expected), "{isa:?}");
    }
    expected
}

fn updates(seed: u64, count: usize, len: usize) -> Vec<Vec<f32>> {
    let mut seeded = Random::new(seed, 0);
    (0..count).map(|_| seeded.numbers(len)).collect()
}

fn rows(updates: &[Vec<f32>]) -> Vec<&dyn Rows> {
    updates.iter().map(|update| update as &dyn Rows).collect()
}

fn column(updates: &[Vec<f32>], at: usize) -> Vec<f64> {
    let mut column: Vec<f64> = updates.iter().map(|update| f64::from(update[at])).collect();
    column.sort_by(f64::total_cmp);
    column
}

#[test]
fn reductions_are_those_of_plain_loops() {
    for (count, len) in [(1, 10), (2, 4_097), (3, 5_000), (10, 9_001), (50, 4_200), (101, 300)] {
        let updates = updates(count as u64, count, len);
        let weights: Vec<f32> = (1..=count).map(|w| w as f32 / count as f32).collect();
        let ones = vec![1.0; count];
        let mean = same(len, |cores, out| {
            weighted_sum(cores, &rows(&updates), &weights, out).unwrap();
        });
        let middle = same(len, |cores, out| {
            median(cores, &rows(&updates), &ones, out).unwrap();
        });
        let cut = count / 5;
        let trimmed = same(len, |cores, out| {
            trimmed_mean(cores, &rows(&updates), &ones, cut, out).unwrap();
        });
        for at in 0..len {
            let sum: f64 = updates
                .iter()
                .zip(&weights)
                .map(|(update, weight)| f64::from(update[at]) * f64::from(*weight))
                .sum();
            assert!((f64::from(mean[at]) - sum).abs() < 1e-4);
            let column = column(&updates, at);
            let expected = (column[(count - 1) / 2] + column[count / 2]) / 2.0;
            assert!((f64::from(middle[at]) - expected).abs() < 1e-6);
            let left = &column[cut..count - cut];
            let expected = left.iter().sum::<f64>() / left.len() as f64;
            assert!((f64::from(trimmed[at]) - expected).abs() < 1e-5);
        }
    }
}

/// Values of a file, some of which lie in memory: all but those around each border of a tensor.
struct Read {
    values: Vec<f32>,
    tensor: Option<usize>,
}

impl Rows for Read {
    fn len(&self) -> usize {
        self.values.len()
    }

    fn read(&self, first: usize, out: &mut [f32]) -> Result<(), crate::FederateError> {
        self.values.read(first, out)
    }

    fn borrow(&self, first: usize, count: usize) -> Option<&[f32]> {
        let tensor = self.tensor?;
        let whole = first / tensor == (first + count - 1) / tensor;
        whole.then(|| &self.values[first..first + count])
    }
}

#[test]
fn updates_that_are_read_ahead_are_those_in_memory() {
    // A part is several times what is read ahead of ten updates, and no multiple of it.
    let len = 16 * 100_000 + 77;
    let updates = updates(8, 10, len);
    let weights: Vec<f32> = (1..=10).map(|weight| weight as f32 / 55.0).collect();
    let expected = same(len, |cores, out| {
        weighted_sum(cores, &rows(&updates), &weights, out).unwrap();
    });
    let tensors = [None, Some(30_000), Some(5_000), Some(1_000_000), Some(100)];
    let read: Vec<Read> = updates
        .iter()
        .zip(tensors.into_iter().cycle())
        .map(|(values, tensor)| Read { values: values.clone(), tensor })
        .collect();
    let read: Vec<&dyn Rows> = read.iter().map(|row| row as &dyn Rows).collect();
    let mut found = vec![0.0; len];
    weighted_sum(Cores::one(), &read, &weights, &mut found).unwrap();
    assert_eq!(found, expected);

    // And each is shortened once, wherever it was read.
    let factors: Vec<f32> = (0..10).map(|index| 0.25 + index as f32 / 16.0).collect();
    let plain = squared_distances(Cores::one(), &rows(&updates), &factors).unwrap();
    let ahead = squared_distances(Cores::one(), &read, &factors).unwrap();
    assert_eq!(plain.to_column(), ahead.to_column());
}

#[test]
fn a_mean_as_updates_come_is_the_mean_of_all() {
    let updates = updates(4, 7, 9_000);
    let mut running = RunningMean::new(9_000);
    let examples = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0];
    for (update, weight) in updates.iter().zip(examples) {
        running.add(Cores::one(), update, weight).unwrap();
    }
    let weights: Vec<f32> = examples.iter().map(|weight| weight / 280.0).collect();
    let mut expected = vec![0.0; 9_000];
    weighted_sum(Cores::one(), &rows(&updates), &weights, &mut expected).unwrap();
    for (found, expected) in running.clone().finish().unwrap().iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-6);
    }
    for wrong in [0.0, -99.0, f32::NAN, f32::INFINITY] {
        running.add(Cores::one(), &updates[0], wrong).unwrap_err();
    }
    assert_eq!(RunningMean::new(3).finish(), None);
}

#[test]
fn distances_and_the_point_between() {
    let mut updates = updates(5, 6, 20_000);
    updates[5].iter_mut().for_each(|value| *value += 1_000.0);
    let distances = squared_distances(Cores::one(), &rows(&updates), &[1.0; 6]).unwrap();
    let cores = Cores { isa: Isa::Portable, team: &Backwards };
    assert_eq!(squared_distances(cores, &rows(&updates), &[1.0; 6]).unwrap(), distances);
    for i in 0..6 {
        for j in 0..6 {
            let pairs = updates[i].iter().zip(&updates[j]);
            let exact: f64 = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
            assert!((distances.between(i, j) - exact).abs() <= 1e-5 * exact, "{i} {j}");
        }
    }
    let weights = geometric_weights(&distances, &[1.0 / 6.0; 6], 50);
    assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    assert!(weights[5] < 0.02, "the far one counts for nothing: {weights:?}");
    // One that is so far that its distance is no number any more.
    updates[5].fill(1e19);
    let distances = squared_distances(Cores::one(), &rows(&updates), &[1.0; 6]).unwrap();
    let weights = geometric_weights(&distances, &[1.0 / 6.0; 6], 50);
    assert_eq!(weights[5], 0.0, "{weights:?}");
    assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    let same = [vec![1.0; 5], vec![1.0; 5]];
    let near = squared_distances(Cores::one(), &rows(&same), &[1.0; 2]).unwrap();
    assert_eq!(geometric_weights(&near, &[0.5, 0.5], 3), [0.5, 0.5]);
}

fn columns(updates: &[Vec<f32>], wanted: CostlyFacts) -> Updates {
    let facts = facts(Cores::one(), &rows(updates), wanted).unwrap();
    let count = updates.len();
    Updates {
        clients: (0..count as u32).collect(),
        staleness: vec![0; count],
        samples: vec![100; count],
        l2_norms: norms(updates).iter().map(|norm| *norm as f32).collect(),
        train_losses: vec![f32::NAN; count],
        cosines: facts.cosines,
        squared_distances: facts.squared_distances,
    }
}

fn norms(updates: &[Vec<f32>]) -> Vec<f64> {
    let square = |value: &f32| f64::from(*value).powi(2);
    updates.iter().map(|update| update.iter().map(square).sum::<f64>().sqrt()).collect()
}

/// What becomes of zeros by this plan.
fn carried_out(plan: &Plan, updates: &[Vec<f32>]) -> Result<Vec<f32>, crate::FederateError> {
    let mut model = vec![0.0; updates[0].len()];
    let mut state = ServerState::default();
    let parts = (&rows(updates)[..], &norms(updates)[..]);
    carry_out(Cores::one(), plan, parts, None, &mut || 1.0, (&mut model, &mut state))?;
    Ok(model)
}

fn plan(json: &str, updates: &[Vec<f32>]) -> Plan {
    let settings = Settings::parse(json).unwrap();
    match make_plan(&settings, &columns(updates, settings.wanted())).unwrap() {
        Outcome::Aggregate(plan) => plan,
        Outcome::KeepModel(reason) => panic!("{reason}"),
    }
}

#[test]
fn robust_plans_resist_one_update_of_ten() {
    let mut updates = updates(6, 10, 5_000);
    updates.iter_mut().flatten().for_each(|value| *value = 1.0 + *value * 0.1);
    updates[3].fill(-1e6);
    let off = |json: &str| {
        let plan = plan(json, &updates);
        let model = carried_out(&plan, &updates).unwrap();
        model.iter().map(|value| (value - 1.0).abs()).fold(0.0, f32::max)
    };
    assert!(off(r#"{"policy": "fedavg"}"#) > 1e4);
    assert!(off(r#"{"policy": "median"}"#) < 0.1);
    assert!(off(r#"{"policy": "trimmed-mean"}"#) < 0.1);
    assert!(off(r#"{"policy": "multi-krum"}"#) < 0.1);
    // Shortened to the length of the others, its direction still counts.
    assert!(off(r#"{"policy": "fedavg", "clip_norm": 71.0}"#) < 0.4);
    let mut geometric = plan(r#"{"policy": "fedavg"}"#, &updates);
    geometric.reducer = Reducer::GeometricMedian(20);
    let model = carried_out(&geometric, &updates).unwrap();
    assert!(model.iter().all(|value| (value - 1.0).abs() < 0.3));
}

#[test]
fn optimisers_are_those_of_the_paper() {
    let c = Adaptive { beta1: 0.9, beta2: 0.99, tau: 1e-3 };
    let check = |optimizer: ServerOptimizer, expected: [f32; 2]| {
        let (mut state, mut model) = (ServerState::default(), vec![1.0]);
        for expected in expected {
            state.apply(&optimizer, 0.1, &[2.0], &mut model).unwrap();
            assert!((model[0] - expected).abs() < 1e-5, "{optimizer:?} {model:?}");
        }
    };
    check(ServerOptimizer::None, [1.2, 1.4]);
    check(ServerOptimizer::Momentum(0.5), [1.2, 1.5]);
    let step = |first: f32, second: f32| 0.1 * first / (second.sqrt() + 1e-3);
    let adagrad = step(0.2, 4.000_001);
    check(ServerOptimizer::Adagrad(c), [1.0 + adagrad, 1.0 + adagrad + step(0.38, 8.000_001)]);
    let (v, w) = (0.99e-6 + 0.04, 0.99 * (0.99e-6 + 0.04) + 0.04);
    check(ServerOptimizer::Adam(c), [1.0 + step(0.2, v), 1.0 + step(0.2, v) + step(0.38, w)]);
    let (v, w) = (1e-6 + 0.04, 1e-6 + 0.08);
    check(ServerOptimizer::Yogi(c), [1.0 + step(0.2, v), 1.0 + step(0.2, v) + step(0.38, w)]);
    let mut model = vec![1.0];
    ServerState::default().apply(&ServerOptimizer::None, 1.0, &[1.0, 2.0], &mut model).unwrap_err();
    let huge = [f32::MAX];
    let mut model = vec![f32::MAX];
    ServerState::default().apply(&ServerOptimizer::None, 1.0, &huge, &mut model).unwrap_err();
    for optimizer in
        [ServerOptimizer::Adagrad(c), ServerOptimizer::Adam(c), ServerOptimizer::Yogi(c)]
    {
        ServerState::default().apply(&optimizer, 0.1, &[1e30], &mut [1.0]).unwrap_err();
    }
    let mut gradient = [1.0];
    add_proximal(&mut gradient, &[3.0], &[1.0], 0.5);
    assert_eq!(gradient, [2.0]);
}

#[test]
fn noise_is_a_multiple_of_the_bound() {
    let updates = vec![vec![3.0, 4.0], vec![0.0, 0.0]];
    let json = r#"{"policy": "fedavg", "clip_norm": 1.0, "noise_multiplier": 0.5}"#;
    let found = carried_out(&plan(json, &updates), &updates).unwrap();
    // Half of the update of length 1, and half of half of 1.
    for (found, expected) in found.iter().zip([0.3 + 0.25, 0.4 + 0.25]) {
        assert!((found - expected).abs() < 1e-6);
    }
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let updates = vec![vec![1.0; 4], vec![1.0; 5]];
    weighted_sum(Cores::one(), &rows(&updates), &[0.5, 0.5], &mut [0.0; 4]).unwrap_err();
    weighted_sum(Cores::one(), &rows(&updates[..1]), &[0.5, 0.5], &mut [0.0; 4]).unwrap_err();
    trimmed_mean(Cores::one(), &rows(&updates[..1]), &[1.0], 1, &mut [0.0; 4]).unwrap_err();
    median(Cores::one(), &[], &[], &mut [0.0; 4]).unwrap_err();
    let even = vec![vec![1.0; 4], vec![1.0; 4], vec![-1.0; 4]];
    let mut custom = plan(r#"{"policy": "median"}"#, &even);
    custom.reducer = Reducer::Custom;
    let error = carried_out(&custom, &even).unwrap_err().to_string();
    assert!(error.contains("a kernel that is installed"), "{error}");
    let wanted = CostlyFacts { cosines: true, squared_distances: false };
    let cosines = facts(Cores::one(), &rows(&even), wanted).unwrap().cosines;
    assert!((cosines[0] - 1.0).abs() < 1e-6 && (cosines[2] + 1.0).abs() < 1e-6);
    let base = vec![0.25; 4];
    let difference = Difference { weights: even[0].clone(), base };
    let mut out = [0.0; 2];
    difference.read(1, &mut out).unwrap();
    assert_eq!(out, [0.75; 2]);
}
