//! The tuners: what they propose, what they learn, and what they leave alone.

use super::*;

fn integer(name: &str, scope: Scope, current: i64, (low, high): (i64, i64)) -> Parameter {
    Parameter {
        name: name.to_owned(),
        scope,
        current: Value::Integer(current),
        original: Value::Integer(current),
        domain: Domain::Integers((low, high)),
        step_max: 0.0,
        applies: Applies::AtOnce,
    }
}

fn words(name: &str, current: &str, domain: &[&str]) -> Parameter {
    Parameter {
        current: Value::Text(current.to_owned()),
        original: Value::Text(current.to_owned()),
        domain: Domain::Words(domain.iter().map(|&word| word.to_owned()).collect()),
        ..integer(name, Scope::Machine, 0, (0, 0))
    }
}

fn window(now_ms: u64, objective: f64) -> Observation {
    let metric =
        Metric { name: "latency_us".to_owned(), p50: 1.0, p99: 2.0, mean: 1.0, count: 1_000 };
    Observation { now_ms, window_ms: 1_000, objective, metrics: vec![metric], trial: None }
}

fn windows(from: u64, objectives: &[f64]) -> Vec<Observation> {
    (from..).zip(objectives).map(|(now_ms, &objective)| window(now_ms, objective)).collect()
}

fn host_facts() -> Vec<Fact> {
    let fact = |name: &str, value| Fact { name: name.to_owned(), value: Value::Integer(value) };
    vec![fact("cores", 8), fact("memory_bytes", 32 << 30)]
}

fn ask_host(state: &mut State, now_ms: u64, parameters: &[Parameter]) -> Option<Proposal> {
    let history = [window(now_ms, 100.0)];
    propose(&Settings::default(), state, &host_facts(), parameters, &history).unwrap()
}

fn changes(proposal: &Proposal) -> Vec<(&str, &Value)> {
    proposal.changes.iter().map(|change| (change.parameter.as_str(), &change.to)).collect()
}

#[test]
fn the_guides_host_settings_go_group_by_group() {
    let mut parameters = [
        integer("net.core.somaxconn", Scope::Network, 128, (16, 1 << 20)),
        integer("vm.swappiness", Scope::Machine, 60, (0, 200)),
        words("/sys/kernel/mm/transparent_hugepage/enabled", "always", &["always", "madvise"]),
    ];
    let mut state = State::default();
    let first = ask_host(&mut state, 1, &parameters).unwrap();
    assert_eq!(changes(&first), [("net.core.somaxconn", &Value::Integer(8_192))]);
    assert!(ask_host(&mut state, 1, &parameters).is_none(), "nothing was measured since");
    conclude(&mut state, 1, 100.0, 100.0, true);
    parameters[0].current = Value::Integer(8_192);
    let second = ask_host(&mut state, 2, &parameters).unwrap();
    assert_eq!(changes(&second), [("vm.swappiness", &Value::Integer(10))]);
    // The trial is taken back: the setting rests, and the next group has its turn.
    conclude(&mut state, 2, 100.0, 50.0, false);
    let third = ask_host(&mut state, 3, &parameters).unwrap();
    assert_eq!(changes(&third)[0].1, &Value::Text("madvise".to_owned()));
    conclude(&mut state, 3, 100.0, 101.0, true);
    // What was set once is left to whoever sets it to something else later.
    parameters[0].current = Value::Integer(128);
    parameters[2].current = Value::Text("always".to_owned());
    assert!(ask_host(&mut state, 4, &parameters).is_none());
}

#[test]
fn a_failed_trial_rests_longer_each_time() {
    let parameters = [integer("vm.swappiness", Scope::Machine, 60, (0, 200))];
    let mut state = State::default();
    let mut rounds = Vec::new();
    for now_ms in 1..100 {
        if ask_host(&mut state, now_ms, &parameters).is_some() {
            rounds.push(now_ms);
            conclude(&mut state, now_ms, 100.0, 50.0, false);
        }
    }
    let rests: Vec<u64> = rounds.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(rests, [5, 9, 17, 33]);
}

#[test]
fn host_settings_that_are_left_alone() {
    let mut state = State::default();
    let fine = integer("vm.swappiness", Scope::Machine, 5, (0, 200));
    let unknown = integer("kernel.panic", Scope::Machine, 0, (0, 60));
    let later = Parameter {
        applies: Applies::OnRestart,
        ..integer("vm.swappiness", Scope::Machine, 60, (0, 200))
    };
    let outside = integer("vm.swappiness", Scope::Machine, 300, (0, 200));
    for parameter in [fine, unknown, later, outside] {
        assert_eq!(ask_host(&mut state, 1, &[parameter]), None);
    }
    let short = integer("vm.swappiness", Scope::Machine, 60, (20, 200));
    let near = Parameter { step_max: 15.0, ..short };
    let proposal = ask_host(&mut state, 2, std::slice::from_ref(&near)).unwrap();
    assert_eq!(changes(&proposal)[0].1, &Value::Integer(45), "one step of at most 15");
    let twice = [near.clone(), near];
    let settings = Settings::default();
    assert!(propose(&settings, &mut State::default(), &[], &twice, &[]).is_err());
}

fn runtime() -> Settings {
    Settings { policy: Policy::GuideRuntime, ..Settings::default() }
}

/// A host that makes each trial and measures `objective` of the setting; returns where it ends.
fn climb(rounds: u64, start: i64, objective: fn(i64) -> f64) -> i64 {
    let settings = runtime();
    let mut state = State::default();
    let mut parameter = integer("inference.batch_max", Scope::Runtime, start, (1, 257));
    let mut current = start;
    for round in 0..rounds {
        let before = objective(current);
        // It scatters by 1 %, as measured by three windows.
        let history = windows(1 + 10 * round, &[before * 0.99, before, before * 1.01]);
        parameter.current = Value::Integer(current);
        let parameters = [parameter.clone()];
        let Some(proposal) = propose(&settings, &mut state, &[], &parameters, &history).unwrap()
        else {
            continue;
        };
        let Value::Integer(to) = proposal.changes[0].to else { panic!("{proposal:?}") };
        assert!((1..=257).contains(&to) && to != current, "{to}");
        let after = objective(to);
        let is_kept = after >= before * (1.0 - proposal.loss_max);
        conclude(&mut state, round, before, after, is_kept);
        current = if is_kept { to } else { current };
    }
    current
}

#[test]
fn hill_climbing_finds_the_top() {
    let hill = |center: i64| {
        move |at: i64| 1_000.0 - ((at - center) as f64 / 4.0) * ((at - center) as f64 / 4.0)
    };
    let reached = climb(400, 1, |at| {
        let off = (at - 64) as f64 / 4.0;
        1_000.0 - off * off
    });
    assert!(hill(64)(reached) > 950.0, "{reached}");
    let reached = climb(400, 257, |at| 10.0 * (at as f64).sqrt());
    assert!(reached > 240, "it stays at the end where it is best: {reached}");
}

#[test]
fn too_little_was_measured_to_change_anything() {
    let parameters = [integer("inference.batch_max", Scope::Runtime, 32, (1, 256))];
    let ask = |history: &[Observation]| {
        propose(&runtime(), &mut State::default(), &[], &parameters, history).unwrap()
    };
    assert!(ask(&windows(1, &[100.0, 101.0, 99.0])).is_some());
    assert!(ask(&windows(1, &[100.0, 101.0])).is_none(), "too few windows");
    assert!(ask(&windows(1, &[100.0, 300.0, 20.0])).is_none(), "too much scatter");
    assert!(ask(&windows(1, &[f64::NAN, 100.0, 100.0])).is_none());
    let mut history = windows(1, &[100.0, 101.0, 99.0]);
    history[1].metrics[0].count = 3;
    assert!(ask(&history).is_none(), "too few values");
    let mut history = windows(1, &[100.0, 101.0, 99.0, 100.0]);
    history[1].trial = Some(1);
    assert!(ask(&history).is_none(), "too few windows since the latest trial");
    history[3].trial = Some(2);
    assert!(ask(&history).is_none(), "a trial runs");
    assert!(ask(&[]).is_none());
}

#[test]
fn what_was_learnt_is_carried_over() {
    let parameters = [integer("vm.swappiness", Scope::Machine, 60, (0, 200))];
    let mut state = State::default();
    assert!(ask_host(&mut state, 1, &parameters).is_some());
    let mut restored = State::restore(&state.snapshot()).unwrap();
    conclude(&mut restored, 7, 100.0, 40.0, false);
    assert!(ask_host(&mut restored, 2, &parameters).is_none(), "it rests");
    assert_eq!(State::restore(&[]), Ok(State::default()));
    assert!(State::restore(b"{").is_err());
    assert!(State::restore(br#"{"more": 1}"#).is_err());
    assert!(State::restore(&vec![b' '; STATE_BYTES_MAX + 1]).unwrap_err().contains("bytes"));
    assert!(State::restore("{\"lessons\": {\"a\u{1b}\": {}}}".as_bytes()).is_err());
}

#[test]
fn steps_stay_within_domain_and_reach() {
    let decimal = |current, domain, step_max| Parameter {
        current: Value::Decimal(current),
        domain: Domain::Decimals(domain),
        step_max,
        ..integer("a", Scope::Runtime, 0, (0, 0))
    };
    let to = |parameter: &Parameter, target| {
        step::toward(parameter, &target).map(|step| (step.to, step.is_final))
    };
    let half = decimal(0.5, (0.0, 1.0), 0.1);
    assert_eq!(to(&half, Value::Decimal(9.0)), Some((Value::Decimal(0.6), false)));
    assert_eq!(to(&half, Value::Decimal(0.5)), None);
    assert_eq!(to(&half, Value::Decimal(f64::NAN)), None);
    let ends = integer("a", Scope::Runtime, i64::MIN, (i64::MIN, i64::MAX));
    let all = Some((Value::Integer(i64::MAX), true));
    assert_eq!(to(&ends, Value::Integer(i64::MAX)), all);
    for broken in [
        decimal(f64::NAN, (0.0, 1.0), 0.1),
        decimal(0.5, (1.0, 0.0), 0.1),
        decimal(0.5, (0.0, 1.0), f64::NAN),
        decimal(0.5, (f64::NAN, 1.0), 0.1),
        integer("a", Scope::Runtime, 5, (9, 1)),
    ] {
        assert_eq!(to(&broken, Value::Decimal(0.7)), None, "{broken:?}");
        assert_eq!(to(&broken, Value::Integer(7)), None, "{broken:?}");
    }
    let small = integer("a", Scope::Runtime, 5, (1, 10));
    assert_eq!(step::by_share(&small, 0.001, true).unwrap().to, Value::Integer(4));
}

#[test]
fn settings_that_are_refused() {
    let check = |json: &str, expected: &str| {
        let message = Settings::parse(json).unwrap_err();
        assert!(message.contains(expected), "{json}: {message}");
    };
    check(r#"{"trial_ms": 99}"#, "`trial_ms`");
    check(r#"{"loss_max": 2}"#, "`loss_max`");
    check(r#"{"rest_rounds": 0}"#, "`rest_rounds`");
    check(r#"{"windows_min": 2}"#, "`windows_min`");
    check(r#"{"spread_max": 0}"#, "`spread_max`");
    check(r#"{"step_share": 0.6}"#, "`step_share`");
    check(r#"{"policy": "guide"}"#, "unknown variant");
}
