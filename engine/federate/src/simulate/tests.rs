//! Simulated federations of a small task: what speed, encodings and attacks do to them.

use truststram_decide::{aggregation, selection};

use super::*;
use crate::codec::{Encoding, Schema, SchemaTensor};
use crate::error::FederateError;
use crate::random::Random;
use crate::round::{Assignment, Mode, NativePolicy, RoundSettings};
use crate::secure::SecureSettings;

const CLASSES: usize = 4;
const FEATURES: usize = 12;

/// Softmax regression on clouds of points, one per class.
struct Clouds {
    rows: Vec<[f32; FEATURES]>,
    labels: Vec<u32>,
    parts: Vec<Vec<usize>>,
    tests: Vec<usize>,
}

impl Clouds {
    fn new(clients: usize, split: Split) -> Self {
        let mut random = Random::new(5, 0);
        let centres: Vec<[f32; FEATURES]> =
            (0..CLASSES).map(|_| std::array::from_fn(|_| random.normal() as f32)).collect();
        let labels: Vec<u32> = (0..1_200).map(|row| row as u32 % CLASSES as u32).collect();
        let point = |&label: &u32| {
            let centre = centres[label as usize];
            std::array::from_fn(|at| centre[at] + 0.8 * random.normal() as f32)
        };
        let rows = labels.iter().map(point).collect();
        let parts = partition(&labels[..800], clients, split, 3);
        Self { rows, labels, parts, tests: (800..1_200).collect() }
    }

    fn scores(model: &[f32], row: &[f32; FEATURES]) -> [f32; CLASSES] {
        std::array::from_fn(|class| {
            let weights = &model[class * (FEATURES + 1)..][..FEATURES + 1];
            weights[FEATURES] + weights.iter().zip(row).map(|(w, x)| w * x).sum::<f32>()
        })
    }
}

impl Learner for Clouds {
    fn examples(&self, client: usize) -> usize {
        self.parts[client].len()
    }

    fn train(
        &mut self,
        client: usize,
        model: &[f32],
        assignment: &Assignment,
        _seed: u64,
        flips: bool,
    ) -> Result<Trained, FederateError> {
        let mut weights = model.to_vec();
        let mut loss = 0.0;
        for _ in 0..assignment.local_epochs.min(3) {
            loss = 0.0;
            for &row in &self.parts[client] {
                let scores = Self::scores(&weights, &self.rows[row]);
                let most = scores.iter().copied().fold(f32::MIN, f32::max);
                let sum: f32 = scores.iter().map(|score| (score - most).exp()).sum();
                let label = self.labels[row] as usize;
                let label = if flips { CLASSES - 1 - label } else { label };
                for (class, score) in scores.iter().enumerate() {
                    let share = (score - most).exp() / sum;
                    let error = share - f32::from(u8::from(class == label));
                    let line = &mut weights[class * (FEATURES + 1)..][..FEATURES + 1];
                    line[FEATURES] -= 0.02 * error;
                    let pairs = line.iter_mut().zip(&self.rows[row]);
                    pairs.for_each(|(weight, x)| *weight -= 0.02 * error * x);
                    loss -= if class == label { share.max(1e-9).ln() } else { 0.0 };
                }
            }
        }
        let examples = self.parts[client].len();
        Ok(Trained { weights, examples, loss: loss / examples as f32 })
    }

    fn accuracy(&mut self, model: &[f32]) -> Result<f64, FederateError> {
        let right = self.tests.iter().filter(|&&row| {
            let scores = Self::scores(model, &self.rows[row]);
            let best = (0..CLASSES).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
            best == Some(self.labels[row] as usize)
        });
        Ok(right.count() as f64 / self.tests.len() as f64)
    }
}

fn conditions(aggregation: &str) -> Conditions {
    Conditions {
        clients: 20,
        rounds: RoundSettings::default(),
        policy: NativePolicy {
            aggregation: aggregation::Settings::parse(aggregation).unwrap(),
            selection: selection::Settings { ratio: 0.5, ..Default::default() },
        },
        encoding: Encoding::DENSE,
        train_s: 10.0,
        straggling: 1.0,
        drop_out: 0.0,
        attack: None,
        hostile_share: 0.0,
        at_work: 10,
        target: 0.95,
        versions_max: 60,
        seed: 1,
    }
}

fn history(conditions: &Conditions, split: Split) -> History {
    let mut clouds = Clouds::new(conditions.clients, split);
    let shape = vec![CLASSES, FEATURES + 1];
    let schema = Schema::new(vec![SchemaTensor { name: "w".into(), shape }]).unwrap();
    let first = vec![0.0; schema.parameters()];
    run(conditions, &schema, first, &mut clouds).unwrap()
}

#[test]
fn rows_are_divided_whole() {
    let labels: Vec<u32> = (0..600).map(|row| row % 10).collect();
    for split in [Split::Iid, Split::Shards(2), Split::Dirichlet(0.5), Split::Dirichlet(100.0)] {
        let parts = partition(&labels, 20, split, 9);
        assert_eq!(parts, partition(&labels, 20, split, 9));
        let mut rows: Vec<usize> = parts.iter().flatten().copied().collect();
        rows.sort_unstable();
        assert_eq!(rows, (0..600).collect::<Vec<_>>(), "{split:?}");
        if split == Split::Shards(2) {
            for part in &parts {
                let mut classes: Vec<u32> = part.iter().map(|row| labels[*row]).collect();
                classes.sort_unstable();
                classes.dedup();
                assert!(classes.len() <= 2 && part.len() == 30);
            }
        }
    }
}

#[test]
fn every_rule_learns_and_the_same_seed_is_the_same_life() {
    for split in [Split::Iid, Split::Shards(2), Split::Dirichlet(0.5)] {
        let fedavg = history(&conditions(r#"{"policy": "fedavg"}"#), split);
        assert!(fedavg.reached.is_some(), "{split:?} {:?}", fedavg.points.last());
        assert_eq!(fedavg, history(&conditions(r#"{"policy": "fedavg"}"#), split));
        let adam = conditions(r#"{"policy": "fedadam", "learning_rate": 0.1}"#);
        assert!(history(&adam, split).reached.is_some());
    }
}

#[test]
fn who_takes_what_comes_is_sooner_there() {
    let sync = history(&conditions(r#"{"policy": "fedavg"}"#), Split::Iid);
    let mut late = conditions(r#"{"policy": "fedbuff"}"#);
    late.rounds.mode = Mode::Buffered;
    late.straggling = 3.0;
    let mut waiting = conditions(r#"{"policy": "fedavg"}"#);
    waiting.straggling = 3.0;
    waiting.rounds.over_selection = 1.0;
    let (late, waiting) = (history(&late, Split::Iid), history(&waiting, Split::Iid));
    let seconds = |history: &History| history.reached.unwrap().seconds;
    assert!(seconds(&late) < seconds(&waiting), "{late:?} {waiting:?}");
    assert!(seconds(&sync) < seconds(&waiting));
}

#[test]
fn fewer_bytes_are_sent_where_less_is_said() {
    let sent = |encoding: &str| {
        let mut conditions = conditions(r#"{"policy": "fedavg"}"#);
        conditions.encoding = encoding.parse().unwrap();
        let history = history(&conditions, Split::Iid);
        assert!(history.reached.is_some(), "{encoding} {:?}", history.points.last());
        history.bytes / history.accepted
    };
    assert!(sent("top-0.1-f32") < sent("f32"));
    assert!(sent("int8") < sent("f32"));
}

#[test]
fn hostile_clients_are_outvoted_or_refused() {
    let after = |policy: &str, attack: Attack| {
        let mut conditions = conditions(policy);
        conditions.attack = Some(attack);
        conditions.hostile_share = 0.2;
        conditions.policy.selection.ratio = 1.0;
        conditions.drop_out = 0.05;
        (conditions.target, conditions.versions_max) = (1.1, 25);
        let history = history(&conditions, Split::Iid);
        (history.points.last().unwrap().accuracy, history)
    };
    let plain = r#"{"policy": "fedavg"}"#;
    assert!(after(plain, Attack::SignFlip(10.0)).0 < 0.7);
    for attack in [Attack::SignFlip(10.0), Attack::Noise(30.0), Attack::LabelFlip] {
        for rule in ["median", "trimmed-mean", "multi-krum"] {
            let json =
                format!(r#"{{"policy": "{rule}", "trim_share": 0.3, "hostile_share": 0.3}}"#);
            let (accuracy, _) = after(&json, attack);
            assert!(accuracy > 0.93, "{rule} {attack:?} {accuracy}");
        }
    }
    let (accuracy, history) = after(plain, Attack::NotANumber);
    assert!(accuracy > 0.93 && history.refused > 10, "{accuracy} {}", history.refused);
    assert_eq!(history.refusals.values().sum::<u64>(), history.refused);
    assert!(history.given >= history.accepted + history.refused);
}

/// The conditions under which plain and masked rounds ask the same of the same clients.
fn all_waited_for() -> Conditions {
    let mut conditions = conditions(r#"{"policy": "fedavg"}"#);
    (conditions.straggling, conditions.rounds.over_selection) = (0.0, 1.0);
    (conditions.target, conditions.versions_max) = (1.1, 15);
    conditions
}

fn masked(conditions: &Conditions) -> Conditions {
    let mut masked = conditions.clone();
    (masked.rounds.secure, masked.rounds.clients_max) = (Some(SecureSettings::default()), 100);
    masked
}

#[test]
fn a_version_is_of_the_moment_that_made_it() {
    // Nobody is slower than another: each round takes one task's time, each buffer as well.
    let plain = all_waited_for();
    let secure = masked(&plain);
    let mut buffered = plain.clone();
    buffered.policy.aggregation =
        aggregation::Settings::parse(r#"{"policy": "fedbuff", "buffer": 10}"#).unwrap();
    buffered.rounds.mode = Mode::Buffered;
    for (conditions, updates) in [(&plain, 150), (&secure, 150), (&buffered, 150)] {
        let history = history(conditions, Split::Iid);
        for point in &history.points {
            assert_eq!(point.seconds, 10.0 * point.version as f64, "{history:?}");
        }
        // Nothing counts that came after the last version.
        assert_eq!((history.points.len(), history.accepted), (15, updates));
    }
    // Where one is waited for who says nothing, it is the deadline.
    let mut lossy = all_waited_for();
    (lossy.drop_out, lossy.versions_max) = (0.3, 4);
    (lossy.rounds.deadline_s, lossy.rounds.quorum) = (25, 0.1);
    let history = history(&lossy, Split::Iid);
    let seconds: Vec<f64> = history.points.iter().map(|point| point.seconds).collect();
    assert_eq!(seconds, [25.0, 50.0, 75.0, 100.0], "{history:?}");
}

#[test]
fn masked_rounds_learn_what_plain_ones_do() {
    let plain = all_waited_for();
    let secure = masked(&plain);
    secure.rounds.check().unwrap();
    let (plain, masked) = (history(&plain, Split::Iid), history(&secure, Split::Iid));
    assert_eq!((plain.points.len(), masked.points.len()), (15, 15));
    // All clients have as many rows, so that both are the plain mean of the same updates; a sum of
    // whole numbers differs from it by less than 1e-8 for each value, which moves no row of 400.
    for (plain, masked) in plain.points.iter().zip(&masked.points) {
        assert!((plain.accuracy - masked.accuracy).abs() < 0.003, "{plain:?} {masked:?}");
        assert_eq!(plain.version, masked.version);
    }
    assert_eq!((masked.accepted, masked.refused, plain.secure), (150, 0, None));
    let cost = masked.secure.unwrap();
    assert_eq!(cost.dropped, 0);
    // Ten clients of a round: shares for nine others each, of 160 digits.
    assert!(cost.bytes_up > 15 * 10 * 9 * 160 && cost.bytes_down > cost.bytes_up, "{cost:?}");
    assert_eq!(masked, history(&secure, Split::Iid), "the same seed is the same life");
}

#[test]
fn who_drops_out_of_masked_rounds_is_done_without() {
    let mut lossy = all_waited_for();
    (lossy.drop_out, lossy.straggling, lossy.rounds.over_selection) = (0.15, 1.0, 1.3);
    let secure = masked(&lossy);
    let (plain, masked) = (history(&lossy, Split::Iid), history(&secure, Split::Iid));
    let last = |history: &History| history.points.last().unwrap().accuracy;
    assert_eq!(masked.points.len(), 15);
    assert!((last(&plain) - last(&masked)).abs() < 0.03, "{plain:?} {masked:?}");
    // Those who are late count as well: nobody waits for the slowest two.
    let dropped = masked.secure.unwrap().dropped;
    assert!(dropped >= 30, "{dropped}");
    // Where too many are lost the model stays, and the next round begins.
    lossy.drop_out = 0.5;
    lossy.versions_max = 3;
    let few = history(&self::masked(&lossy), Split::Iid);
    assert!(few.kept > 0, "{few:?}");
}

#[test]
fn masks_do_not_keep_privacy_from_being_paid() {
    let json = r#"{"noise_multiplier": 0.01, "clip_norm": 0.3, "sampling_rate": 0.5,
                   "population": 20}"#;
    let mut conditions = masked(&all_waited_for());
    conditions.rounds.privacy = Some(serde_json::from_str(json).unwrap());
    conditions.rounds.check().unwrap();
    let fixed = history(&conditions, Split::Iid);
    assert!(fixed.epsilon.is_some() && fixed.points.len() > 3, "{fixed:?}");
    let first = fixed.points[0].accuracy;
    assert!(fixed.points.last().unwrap().accuracy > first, "{fixed:?}");
    // Where the clip adapts, masked updates say of it what the server reads off plain ones.
    let json = r#"{"noise_multiplier": 0.01, "clip_norm": 0.001, "sampling_rate": 0.5,
                   "population": 20, "clip_quantile": 0.5, "clip_learning_rate": 1.0}"#;
    conditions.rounds.privacy = Some(serde_json::from_str(json).unwrap());
    conditions.rounds.check().unwrap();
    let masked = history(&conditions, Split::Iid);
    conditions.rounds.secure = None;
    let plain = history(&conditions, Split::Iid);
    assert_eq!((masked.points.len(), masked.epsilon), (plain.points.len(), plain.epsilon));
    for (masked, plain) in masked.points.iter().zip(&plain.points) {
        assert!((masked.accuracy - plain.accuracy).abs() < 0.03, "{masked:?} {plain:?}");
    }
}
