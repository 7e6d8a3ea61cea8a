//! Plans against values computed by hand, and the bounds of every plan on random rounds.

use super::*;

fn settings(json: &str) -> Settings {
    Settings::parse(json).unwrap()
}

fn updates(samples: &[u64], staleness: &[u32]) -> Updates {
    let n = samples.len();
    Updates {
        clients: (0..n as u32).collect(),
        staleness: staleness.to_vec(),
        samples: samples.to_vec(),
        l2_norms: vec![1.0; n],
        train_losses: vec![f32::NAN; n],
        cosines: Vec::new(),
        squared_distances: Vec::new(),
    }
}

fn plan(json: &str, updates: &Updates) -> Plan {
    match make_plan(&settings(json), updates).unwrap() {
        Outcome::Aggregate(plan) => plan,
        Outcome::KeepModel(reason) => panic!("{json}: {reason}"),
    }
}

fn kept(json: &str, updates: &Updates, expected: &str) {
    match make_plan(&settings(json), updates).unwrap() {
        Outcome::KeepModel(reason) => assert!(reason.contains(expected), "{reason}"),
        Outcome::Aggregate(plan) => panic!("{json}: {plan:?}"),
    }
}

#[test]
fn weights_and_optimisers() {
    let three = updates(&[100, 300, 600], &[0, 0, 0]);
    let check = |json: &str, optimizer: ServerOptimizer, learning_rate: f32| {
        let plan = plan(json, &three);
        assert_eq!(plan.weights, [0.1, 0.3, 0.6], "{json}");
        assert_eq!((plan.reducer, plan.optimizer), (Reducer::Linear, optimizer));
        assert_eq!(plan.learning_rate, learning_rate);
    };
    let adaptive = Adaptive { beta1: 0.9, beta2: 0.99, tau: 1e-3 };
    check("{}", ServerOptimizer::None, 1.0);
    check(r#"{"policy": "fedavgm"}"#, ServerOptimizer::Momentum(0.9), 1.0);
    check(r#"{"policy": "fedadam"}"#, ServerOptimizer::Adam(adaptive), 0.01);
    check(r#"{"policy": "fedyogi", "learning_rate": 0.1}"#, ServerOptimizer::Yogi(adaptive), 0.1);
}

#[test]
fn fedbuff_damps_by_staleness() {
    let plan = plan(r#"{"policy": "fedbuff"}"#, &updates(&[9, 1, 5], &[0, 3, 8]));
    // 1, 1/2 and 1/3 over their sum 11/6; the mean of the three is 11/18.
    let expected = [6.0 / 11.0, 3.0 / 11.0, 2.0 / 11.0];
    for (found, expected) in plan.weights.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    assert!((plan.learning_rate - 11.0 / 18.0).abs() < 1e-6);
}

#[test]
fn robust_rules() {
    let five = updates(&[1; 5], &[0; 5]);
    let median = plan(r#"{"policy": "median"}"#, &five);
    assert_eq!(median.reducer, Reducer::Median);
    let trimmed = plan(r#"{"policy": "trimmed-mean", "trim_share": 0.01}"#, &five);
    assert_eq!(trimmed.reducer, Reducer::TrimmedMean(0.2), "one of five is cut, not none");
    kept(r#"{"policy": "median"}"#, &updates(&[1, 1], &[0, 0]), "fewer than 3");
    kept(r#"{"policy": "multi-krum"}"#, &updates(&[1; 2], &[0; 2]), "fewer than 3");

    // Updates on a line at 0, 1, 2, 3 and 100: the last is left out.
    let at: [f32; 5] = [0.0, 1.0, 2.0, 3.0, 100.0];
    let distances = at.iter().flat_map(|a| at.iter().map(move |b| (a - b) * (a - b)));
    let line = Updates { squared_distances: distances.collect(), ..five.clone() };
    let krum = plan(r#"{"policy": "multi-krum"}"#, &line);
    assert_eq!(krum.weights, [0.25, 0.25, 0.25, 0.25, 0.0]);
    assert_eq!(krum.refused.len(), 1);
    assert_eq!(krum.refused[0].index, 4);
    let error = make_plan(&settings(r#"{"policy": "multi-krum"}"#), &five).unwrap_err();
    assert!(error.contains("needs the distances"));
}

#[test]
fn what_cannot_count_is_refused() {
    let mut four = updates(&[10, 0, 10, 20], &[0; 4]);
    four.l2_norms[2] = f32::NAN;
    let plan = plan("{}", &four);
    assert_eq!(plan.weights, [10.0 / 30.0, 0.0, 0.0, 20.0 / 30.0]);
    let refused: Vec<u32> = plan.refused.iter().map(|refusal| refusal.index).collect();
    assert_eq!(refused, [1, 2]);
    kept(r#"{"updates_min": 3}"#, &four, "2 usable updates, fewer than 3");
    kept("{}", &Updates::default(), "0 usable updates");
    four.samples.pop();
    assert!(make_plan(&settings("{}"), &four).is_err());
}

#[test]
fn admission() {
    let check = |json: &str, buffered: u32, update: Update, expected: &str| {
        let round = Round { clients_asked: 3, buffered, ..Round::default() };
        let found = format!("{:?}", admit(&settings(json), &round, &update));
        assert!(found.starts_with(expected), "{json} {update:?}: {found}");
    };
    let good = Update { samples: 5, l2_norm: 1.0, ..Update::default() };
    check("{}", 0, good, "Accept");
    check("{}", 2, good, "AcceptAndAggregate");
    check("{}", 0, Update { staleness: 1, ..good }, "Refuse(\"1 rounds old, more than 0");
    check("{}", 0, Update { l2_norm: f32::INFINITY, ..good }, "Refuse(\"the update is not");
    check("{}", 0, Update { samples: 0, ..good }, "Refuse(\"trained on no");
    let buffered = r#"{"policy": "fedbuff"}"#;
    check(buffered, 2, Update { staleness: 5, ..good }, "Accept");
    check(buffered, 4, Update { staleness: 5, ..good }, "AcceptAndAggregate");
    check(buffered, 4, Update { staleness: 6, ..good }, "Refuse(\"6 rounds old, more than 5");
}

#[test]
fn settings_out_of_range() {
    let check = |json: &str, expected: &str| {
        let message = Settings::parse(json).unwrap_err();
        assert!(message.contains(expected), "{json}: {message}");
    };
    check(r#"{"policy": "fedsgd"}"#, "unknown variant");
    check(r#"{"buffer": 0}"#, "`buffer`");
    check(r#"{"trim_share": 0.5}"#, "`trim_share`");
    check(r#"{"hostile_share": 0.5}"#, "`hostile_share`");
    check(r#"{"learning_rate": 0}"#, "`learning_rate`");
    check(r#"{"beta2": 1}"#, "`beta2`");
    check(r#"{"tau": 0}"#, "`tau`");
    check(r#"{"noise_multiplier": 1}"#, "needs a `clip_norm`");
}

#[test]
fn every_plan_keeps_its_bounds() {
    let mut state = 1_u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    };
    let policies = [
        "fedavg",
        "fedbuff",
        "fedadam",
        "fedyogi",
        "fedavgm",
        "median",
        "trimmed-mean",
        "multi-krum",
    ];
    for _ in 0..500 {
        let n = random(12) as usize;
        let samples: Vec<u64> = (0..n).map(|_| random(1 << 33)).collect();
        let staleness: Vec<u32> = (0..n).map(|_| random(9) as u32).collect();
        let mut round = updates(&samples, &staleness);
        round.squared_distances = (0..n * n).map(|_| random(1_000) as f32).collect();
        for policy in policies {
            let settings = settings(&format!("{{\"policy\": \"{policy}\"}}"));
            let Outcome::Aggregate(plan) = make_plan(&settings, &round).unwrap() else { continue };
            let sum: f32 = plan.weights.iter().sum();
            assert!((sum - 1.0).abs() < 1e-3, "{policy}: {sum}");
            assert!(plan.weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0));
            assert!(plan.refused.iter().all(|refusal| plan.weights[refusal.index as usize] == 0.0));
            assert!(plan.learning_rate > 0.0);
        }
    }
}
