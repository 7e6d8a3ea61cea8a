//! Private rounds: what one client can change, what is charged and when, and how they end.

use truststram_decide::{aggregation, selection};

use super::disk::SharedDisk;
use super::machine::{Machine, PARAMETERS, body, place, policy, weights};
use crate::privacy::{Accountant, PrivacySettings, Spent};
use crate::round::{Mode, NativePolicy, RoundSettings, TaskState};

const FEDAVG: &str = r#"{"policy": "fedavg"}"#;

fn privacy() -> PrivacySettings {
    let json = r#"{"noise_multiplier": 1.0, "clip_norm": 0.5, "population": 10}"#;
    serde_json::from_str(json).unwrap()
}

fn settings(privacy: PrivacySettings) -> RoundSettings {
    RoundSettings {
        clients_min: 3,
        over_selection: 1.0,
        privacy: Some(privacy),
        ..RoundSettings::default()
    }
}

/// Ten clients, all of whom take part unless the privacy says otherwise.
fn ten(privacy: PrivacySettings) -> Machine {
    let mut machine = Machine::new(settings(privacy), policy(FEDAVG, 1.0), SharedDisk::default());
    machine.enrol(10).unwrap();
    machine.advance().unwrap();
    machine
}

/// Has all who were asked send an update of this size and claim.
fn answer(machine: &mut Machine, size: f32, examples: f64) {
    for task in machine.open_tasks() {
        machine.send(task.client, task.id, body(task.id, task.base, size), examples).unwrap();
    }
    machine.advance().unwrap();
}

#[test]
fn a_client_moves_the_model_by_no_more_than_its_share() {
    // Noise of next to nothing shows the sum itself.
    let quiet = PrivacySettings { noise_multiplier: 1e-9, ..privacy() };
    let mut machine = ten(quiet);
    let tasks = machine.open_tasks();
    assert_eq!(tasks.len(), 10);
    for (index, task) in tasks.iter().enumerate() {
        // One is far too long, one says it has twice the examples, one sends weights.
        let size = if index == 0 { 1e6 } else { 0.25 };
        let examples = if index == 1 { 200.0 } else { 1.0 };
        let bytes = match index {
            2 => weights(task.id, task.base, &vec![0.0; PARAMETERS]),
            _ => body(task.id, task.base, size),
        };
        machine.send(task.client, task.id, bytes, examples).unwrap();
    }
    machine.advance().unwrap();
    assert_eq!(machine.state().job.version, 1);
    let model = machine.model().values;
    for (index, task) in tasks.iter().enumerate() {
        let expected = if index == 0 || index == 2 { 0.05 } else { 0.025 };
        let found = model[place(task.id)];
        assert!((found - expected).abs() < 1e-6, "{index}: {found}");
        assert!(index != 0 || found <= 0.05, "it may not be longer than the clip");
    }
}

#[test]
fn sums_are_divided_by_what_was_fixed_and_the_noise_is_as_stated() {
    let mut machine = ten(privacy());
    answer(&mut machine, 0.1, 1.0);
    let tasks: Vec<u64> = machine.state().tasks.keys().copied().collect();
    let model = machine.model().values;
    let places: Vec<usize> = tasks.iter().map(|task| place(*task)).collect();
    let others = (0..PARAMETERS).filter(|at| !places.contains(at)).map(|at| f64::from(model[at]));
    let others: Vec<f64> = others.collect();
    let square = others.iter().map(|value| value * value).sum::<f64>() / others.len() as f64;
    // 1.0 times the clip of 0.5, over ten.
    assert!((square.sqrt() - 0.05).abs() < 0.005, "{}", square.sqrt());
    // At the deadline three of ten are divided by ten still; a quorum of 0.3 is met.
    let few = RoundSettings {
        quorum: 0.3,
        ..settings(PrivacySettings { noise_multiplier: 1e-9, ..privacy() })
    };
    let mut machine = Machine::new(few, policy(FEDAVG, 1.0), SharedDisk::default());
    machine.enrol(10).unwrap();
    machine.advance().unwrap();
    let tasks = machine.open_tasks();
    for task in &tasks[..3] {
        machine.send(task.client, task.id, body(task.id, 0, 0.25), 1.0).unwrap();
    }
    machine.pass(301);
    machine.advance().unwrap();
    let found = machine.model().values[place(tasks[0].id)];
    assert!((found - 0.025).abs() < 1e-6, "{found}");
}

#[test]
fn each_round_is_charged_and_the_budget_ends_the_federation() {
    let settings = privacy();
    let spent = |rounds: u64| Spent(vec![(settings.mechanism(), rounds)]);
    let epsilon = |rounds| Accountant::default().epsilon(&spent(rounds), settings.delta);
    let budget = f64::midpoint(epsilon(3), epsilon(4));
    let mut machine = ten(PrivacySettings { epsilon_max: Some(budget), ..settings });
    for round in 1..=3 {
        assert_eq!(machine.running.over(), None);
        answer(&mut machine, 0.1, 1.0);
        let standing = machine.running.privacy().unwrap();
        assert_eq!((machine.state().job.version, standing.rounds), (round, round));
        assert_eq!(standing.epsilon, epsilon(round));
        assert_eq!(standing.epsilon_next, epsilon(round + 1));
    }
    let reason = machine.running.over().unwrap();
    assert!(reason.contains("budget is spent"), "{reason}");
    machine.all_are_heard();
    machine.advance().unwrap();
    assert!(machine.open_tasks().is_empty(), "nobody works for nothing");
    // A start anew knows it, and a larger budget goes on from there.
    machine.restart();
    assert!(machine.running.over().is_some());
    let more = PrivacySettings { epsilon_max: Some(budget + 1.0), ..settings };
    machine.restart_with(self::settings(more));
    assert_eq!(machine.running.over(), None);
    assert_eq!(machine.running.privacy().unwrap().rounds, 3);
}

#[test]
fn an_update_counts_in_its_own_round_alone() {
    let mut machine = ten(privacy());
    let first = machine.open_tasks();
    for task in &first[..2] {
        machine.send(task.client, task.id, body(task.id, 0, 0.1), 1.0).unwrap();
    }
    machine.pass(301);
    machine.advance().unwrap();
    let state = machine.state();
    assert_eq!((state.job.version, state.job.totals.kept, state.accepted().count()), (0, 1, 0));
    let left_out = &state.tasks[&first[0].id].state;
    assert!(matches!(left_out, TaskState::LeftOut { reason } if reason.contains("too few")));
    assert_eq!(machine.running.privacy().unwrap().rounds, 0);
}

#[test]
fn who_takes_part_is_a_matter_of_chance() {
    let rare = PrivacySettings { sampling_rate: 0.3, ..privacy() };
    let mut counts = [0_u32; 11];
    let mut total = 0;
    let mut machine = ten(rare);
    for _ in 0..400 {
        machine.all_are_heard();
        machine.advance().unwrap();
        for task in machine.open_tasks() {
            counts[task.client as usize] += 1;
            total += 1;
        }
        machine.pass(301);
        machine.advance().unwrap();
    }
    // Rounds with nobody are drawn again: 0.3 / (1 - 0.7^10) of them.
    assert!((1_100..1_400).contains(&total), "{total}");
    assert!(counts[1..].iter().all(|count| (90..160).contains(count)), "{counts:?}");
}

#[test]
fn the_clip_follows_the_updates_and_survives() {
    let adaptive = PrivacySettings {
        noise_multiplier: 0.1,
        clip_quantile: Some(0.5),
        clip_norm: 1.0,
        ..privacy()
    };
    let mut machine = ten(adaptive);
    for _ in 0..5 {
        answer(&mut machine, 0.01, 1.0);
        machine.all_are_heard();
        machine.advance().unwrap();
    }
    let clip = machine.running.privacy().unwrap().clip_norm;
    // Each round takes about a factor of exp(-0.2 * (1 - 0.5)).
    assert!((0.5..0.75).contains(&clip), "{clip}");
    machine.restart();
    assert_eq!(machine.running.privacy().unwrap().clip_norm, clip);
}

#[test]
fn a_crash_at_every_step_publishes_nothing_that_was_not_charged() {
    let life = |crash: Option<(u64, u64)>| {
        let disk = SharedDisk::default();
        let policy = policy(FEDAVG, 1.0);
        let mut machine = Machine::new(settings(privacy()), policy, disk.clone());
        machine.enrol(10).unwrap();
        let before = disk.steps();
        if let Some((step, outcome)) = crash {
            disk.crash_at(before + step, outcome);
        }
        let mut least = 0;
        for _ in 0..60 {
            machine.all_are_heard();
            let done = machine.advance().and_then(|()| match machine.open_tasks().first() {
                Some(task) => {
                    let sent = body(task.id, task.base, 0.1);
                    machine.send(task.client, task.id, sent, 1.0).map(|_| ())
                }
                None => Ok(()),
            });
            if done.is_err() || disk.0.borrow().is_down {
                machine.restart();
            }
            let standing = machine.running.privacy().unwrap();
            assert!(standing.rounds >= machine.state().job.version, "{crash:?}");
            assert!(standing.rounds >= least, "{crash:?}: what was spent is forgotten");
            least = standing.rounds;
        }
        (disk.steps() - before, machine.state().job.version, least)
    };
    let (steps, version, charged) = life(None);
    assert!(version >= 3 && charged == version, "{version} {charged}");
    for step in 0..steps {
        for outcome in 0..3 {
            let (_, version, charged) = life(Some((step, outcome)));
            assert!(version >= 3 && charged <= version + 1, "{step} {outcome}: {charged}");
        }
    }
}

#[test]
fn what_protects_nobody_is_refused_with_the_reason() {
    let check = |settings: RoundSettings, json: &str, expected: &str| {
        let policy = NativePolicy {
            aggregation: aggregation::Settings::parse(json).unwrap(),
            selection: selection::Settings::default(),
        };
        let error = settings.check().and_then(|()| settings.check_policy(&policy)).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    let good = settings(privacy());
    good.check().unwrap();
    check(RoundSettings { mode: Mode::Buffered, ..good }, FEDAVG, "no sampling rate");
    check(RoundSettings { over_selection: 1.3, ..good }, FEDAVG, "`over_selection`");
    check(RoundSettings { clients_max: 5, ..good }, FEDAVG, "`clients_max`");
    for rule in ["median", "trimmed-mean", "multi-krum", "fedbuff"] {
        check(good, &format!(r#"{{"policy": "{rule}"}}"#), "does not go with");
    }
    check(good, r#"{"clip_norm": 1.0}"#, "`rounds.privacy.clip_norm`");
    let noisy = r#"{"clip_norm": 1.0, "noise_multiplier": 1.0}"#;
    check(RoundSettings::default(), noisy, "no account");
}
