//! Federations on a virtual clock and a disk that crashes: no accepted update is lost, none counts
//! twice, and no version is seen before it is whole.

mod disk;
mod machine;
mod private;
mod secure;

use truststram_base::Kind as Cause;
use truststram_decide::aggregation::{Policy as Aggregator, Settings};

use super::*;
use crate::error::FederateError;
use disk::SharedDisk;
use machine::{Machine, body, policy};

const SECOND: i64 = 1_000_000;

fn settings(mode: Mode) -> RoundSettings {
    RoundSettings { mode, clients_min: 3, ..RoundSettings::default() }
}

/// A round of ten clients, eight of whom are asked, for six answers.
fn ten(json: &str) -> Machine {
    let mut machine = Machine::new(settings(Mode::Sync), policy(json, 0.8), SharedDisk::default());
    machine.enrol(10).unwrap();
    machine.advance().unwrap();
    machine
}

#[test]
fn a_round_waits_for_some_of_those_it_asks() {
    let mut machine = ten(r#"{"policy": "fedavg"}"#);
    let open = machine.open_tasks();
    assert_eq!(open.len(), 8);
    for (index, task) in open.iter().enumerate() {
        let answer = machine.upload(task.client, task.id);
        if index < 6 {
            assert_eq!(answer.unwrap(), Receipt::Accepted);
        }
        machine.advance().unwrap();
    }
    let state = machine.state();
    assert_eq!((state.job.version, state.job.round, state.job.totals.accepted), (1, 2, 6));
    // The last two come late; what was merged may be sent again and changes nothing.
    let late = machine.upload(open[7].client, open[7].id).unwrap_err();
    assert_eq!(late.kind(), Cause::Gone);
    assert_eq!(machine.upload(open[0].client, open[0].id).unwrap(), Receipt::Again);
    machine.check();
}

#[test]
fn at_the_deadline_a_quorum_counts_and_fewer_keep_the_model() {
    let mut machine = ten(r#"{"policy": "fedavg"}"#);
    let open = machine.open_tasks();
    for task in &open[..2] {
        machine.upload(task.client, task.id).unwrap();
    }
    machine.pass(299);
    machine.advance().unwrap();
    assert_eq!(machine.state().job.round, 1);
    machine.pass(2);
    machine.advance().unwrap();
    let job = machine.state().job.clone();
    assert_eq!((job.version, job.round, job.totals.kept), (0, 2, 1));
    assert!(job.last.contains("too few updates"), "{}", job.last);
    // The two are not lost: with one more the next round has its quorum of three.
    machine.all_are_heard();
    machine.advance().unwrap();
    let task = machine.open_tasks()[0].clone();
    machine.upload(task.client, task.id).unwrap();
    machine.pass(301);
    machine.advance().unwrap();
    assert_eq!(machine.state().job.version, 1);
    let merged = machine
        .state()
        .tasks
        .values()
        .filter(|task| task.state == TaskState::Merged { version: 1 });
    assert_eq!(merged.count(), 3);
    machine.check();
}

#[test]
fn bad_updates_are_refused_one_by_one_and_the_round_goes_on() {
    let mut machine = ten(r#"{"policy": "fedavg"}"#);
    let open = machine.open_tasks();
    let (client, task) = (open[0].client, open[0].id);
    let good = body(task, 0, 1.0);
    let mut check = |client, task, body: Vec<u8>, examples: f64, cause, expected: &str| {
        let error = machine.send(client, task, body, examples).unwrap_err();
        assert_eq!(error.kind(), cause, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(client, task, body(task, 0, f32::NAN), 100.0, Cause::Invalid, "NaN");
    check(client, task, body(task, 0, f32::INFINITY), 100.0, Cause::Invalid, "inf at index");
    for weight in [-99.0, 0.0, 1e15, f64::NAN, 1.5, f64::INFINITY] {
        check(client, task, good.clone(), weight, Cause::Invalid, "number of examples");
    }
    check(client, task, body(task, 3, 1.0), 100.0, Cause::Invalid, "base is 3, expected 0");
    check(client, task, vec![0; 100_000], 100.0, Cause::TooLarge, "limit for this model");
    check(open[1].client, task, good.clone(), 100.0, Cause::NotFound, "no task");
    check(999, task, good.clone(), 100.0, Cause::NotFound, "no client");
    check(client, 12_345, good.clone(), 100.0, Cause::NotFound, "no task");
    machine.send(client, task, good.clone(), 100.0).unwrap();
    assert_eq!(machine.send(client, task, good, 100.0).unwrap(), Receipt::Again);
    let other = machine.send(client, task, body(task, 0, 2.0), 100.0).unwrap_err();
    assert_eq!(other.kind(), Cause::Conflict);
    let totals = machine.state().job.totals;
    assert_eq!((totals.accepted, totals.refused), (1, 10));
    for task in &open[1..6] {
        machine.upload(task.client, task.id).unwrap();
    }
    machine.advance().unwrap();
    assert_eq!(machine.state().job.version, 1);
    machine.check();
}

#[test]
fn buffered_rounds_take_whoever_comes_and_weigh_the_late() {
    let chosen = policy(r#"{"policy": "fedbuff"}"#, 1.0);
    let mut machine = Machine::new(settings(Mode::Buffered), chosen, SharedDisk::default());
    machine.enrol(12).unwrap();
    let slow = machine.task_of(12).unwrap().unwrap();
    let slowest = machine.task_of(11).unwrap().unwrap();
    for round in 0..8_u64 {
        for client in 1..=5 {
            if round == 2 && client == 5 {
                machine.upload(12, slow.id).unwrap();
                continue;
            }
            let task = machine.task_of(client).unwrap().unwrap();
            assert_eq!(task.base, round);
            machine.upload(client, task.id).unwrap();
        }
        machine.advance().unwrap();
        assert_eq!(machine.state().job.version, round + 1);
        if round == 2 {
            let late = machine.state().tasks[&slow.id].update.as_ref().unwrap().staleness;
            assert_eq!(late, 2);
            // Its part of the five: 1 / sqrt(1 + 2) of a fifth.
            let part = machine.model().values[machine::place(slow.id)];
            assert!((part - 0.2 / 3_f32.sqrt()).abs() < 1e-6, "{part}");
        }
        machine.check();
    }
    // It may have another one in its place.
    let fresh = machine.task_of(11).unwrap().unwrap();
    assert_eq!((fresh.base, fresh.id != slowest.id), (8, true));
    assert_eq!(machine.task_of(11).unwrap().unwrap().id, fresh.id);
    let error = machine.upload(11, slowest.id).unwrap_err();
    assert_eq!(error.kind(), Cause::Gone);
    assert!(error.to_string().contains("over"), "{error}");
    machine.pass(301);
    machine.advance().unwrap();
    assert!(machine.open_tasks().is_empty(), "late clients are given up");
}

#[test]
fn a_plan_that_cannot_be_carried_out_keeps_the_last_good_model() {
    let noisy = r#"{"policy": "fedavg", "clip_norm": 1.0, "noise_multiplier": 1.0}"#;
    let mut machine = ten(noisy);
    for task in &machine.open_tasks()[..6] {
        machine.upload(task.client, task.id).unwrap();
    }
    machine.advance().unwrap();
    let job = machine.state().job.clone();
    assert!(job.version == 0 && job.last.contains("noise"), "{}", job.last);
    assert_eq!(machine.state().accepted().count(), 6);
    let mut far = ten(r#"{"policy": "fedavg", "learning_rate": 3e38}"#);
    for task in &far.open_tasks()[..6] {
        let large = body(task.id, 0, 1e18);
        far.send(task.client, task.id, large, 100.0).unwrap();
    }
    far.advance().unwrap();
    let state = far.state();
    assert!(state.job.last.contains("new model"), "{}", state.job.last);
    assert_eq!((state.job.version, state.accepted().count()), (0, 0));
    assert!(far.model().values.iter().all(|value| value.is_finite()));
}

#[test]
fn updates_do_not_pile_up_where_no_model_comes() {
    let noisy = r#"{"policy": "fedavg", "clip_norm": 1.0, "noise_multiplier": 1.0}"#;
    let few = RoundSettings { clients_max: 8, ..settings(Mode::Sync) };
    let mut machine = Machine::new(few, policy(noisy, 0.8), SharedDisk::default());
    machine.enrol(10).unwrap();
    for _ in 0..20 {
        machine.advance().unwrap();
        let task = machine.open_tasks()[0].clone();
        machine.upload(task.client, task.id).unwrap();
        machine.check();
    }
    machine.pass(301);
    machine.advance().unwrap();
    let state = machine.state();
    assert!(state.accepted().count() <= 8, "{}", state.accepted().count());
    let reasons = state.tasks.values().filter_map(|task| match &task.state {
        TaskState::LeftOut { reason } => Some(reason),
        _ => None,
    });
    assert!(reasons.into_iter().any(|reason| reason.contains("more updates wait")));
    assert_eq!(machine.disk.0.borrow().body_count(), state.accepted().count());
}

#[test]
fn a_shorter_staleness_takes_no_model_away_that_an_update_needs() {
    let chosen = policy(r#"{"policy": "fedbuff", "buffer": 2}"#, 1.0);
    let mut machine = Machine::new(settings(Mode::Buffered), chosen, SharedDisk::default());
    machine.enrol(4).unwrap();
    let slow = machine.task_of(4).unwrap().unwrap();
    let base = machine.model().values;
    for _ in 0..2 {
        for client in 1..=2 {
            let task = machine.task_of(client).unwrap().unwrap();
            machine.upload(client, task.id).unwrap();
        }
        machine.advance().unwrap();
        machine.check();
    }
    let late = machine::weights(slow.id, slow.base, &base);
    machine.send(4, slow.id, late, 100.0).unwrap();
    machine.restart_with(RoundSettings { staleness_max: 0, ..settings(Mode::Buffered) });
    let task = machine.task_of(3).unwrap().unwrap();
    machine.upload(3, task.id).unwrap();
    machine.advance().unwrap();
    assert_eq!(machine.state().job.version, 3);
    machine.check();
}

#[test]
fn updates_that_cannot_be_read_now_are_not_lost() {
    let mut machine = ten(r#"{"policy": "fedavg"}"#);
    for task in &machine.open_tasks()[..6] {
        machine.upload(task.client, task.id).unwrap();
    }
    machine.disk.0.borrow_mut().reads_fail = true;
    let error = machine.advance().unwrap_err();
    assert!(matches!(error, FederateError::Io(_)), "{error}");
    machine.disk.0.borrow_mut().reads_fail = false;
    machine.restart();
    assert_eq!(machine.state().accepted().count(), 6);
    machine.advance().unwrap();
    assert_eq!(machine.state().job.version, 1);
    machine.check();
}

#[test]
fn an_update_whose_file_is_gone_is_left_out() {
    let mut machine = ten(r#"{"policy": "fedavg"}"#);
    let open = machine.open_tasks();
    for task in &open[..5] {
        machine.upload(task.client, task.id).unwrap();
    }
    machine.disk.0.borrow_mut().lose_body(open[0].id);
    machine.restart();
    let lost = &machine.state().tasks[&open[0].id].state;
    assert!(matches!(lost, TaskState::LeftOut { reason } if reason.contains("file is gone")));
    for task in &open[5..7] {
        machine.upload(task.client, task.id).unwrap();
    }
    machine.advance().unwrap();
    assert_eq!(machine.state().job.version, 1);
}

#[test]
fn weights_count_as_what_they_changed() {
    let mut machine = ten(r#"{"policy": "fedavg"}"#);
    for _ in 0..2 {
        for task in machine.open_tasks().iter().take(6) {
            let base = machine.model().values;
            let bytes = machine::weights(task.id, task.base, &base);
            machine.send(task.client, task.id, bytes, 100.0).unwrap();
        }
        machine.advance().unwrap();
        machine.check();
    }
    assert_eq!(machine.state().job.version, 2);
}

#[test]
fn a_crash_at_every_step_costs_nothing_that_was_accepted() {
    for mode in [Mode::Sync, Mode::Buffered] {
        let (steps, version) = machine::life(mode, 5, SharedDisk::default());
        assert!(steps > 60 && version > 1, "{steps} {version}");
        for crash in 0..steps {
            for outcome in 0..3 {
                let disk = SharedDisk::default();
                disk.crash_at(crash, outcome);
                machine::life(mode, 5, disk);
            }
        }
    }
}

#[test]
fn random_lives_with_many_crashes() {
    let mut versions = 0;
    for seed in 100..220 {
        let mode = if seed % 2 == 0 { Mode::Sync } else { Mode::Buffered };
        let disk = SharedDisk::default();
        disk.crash_often(seed);
        let (_, version) = machine::life(mode, seed, disk);
        versions += version;
    }
    assert!(versions > 200, "{versions}");
}

#[test]
fn what_cannot_be_opened_says_so() {
    let disk = SharedDisk::default();
    let mut wrong = settings(Mode::Sync);
    wrong.quorum = 0.0;
    let policy = NativePolicy::default();
    let open = |settings, schema| {
        Federation::open(settings, schema, disk.clone(), disk.clone(), policy).map(|_| ())
    };
    let error = open(wrong, machine::schema()).unwrap_err().to_string();
    assert!(error.contains("`quorum`"), "{error}");
    let schema = crate::codec::SchemaTensor { name: "x".into(), shape: vec![3] };
    let other = crate::codec::Schema::new(vec![schema]).unwrap();
    let error = open(settings(Mode::Sync), other).unwrap_err();
    assert!(matches!(error, FederateError::Schema { .. }), "{error}");
    assert_eq!(Settings::default().policy, Aggregator::Fedavg);
}
