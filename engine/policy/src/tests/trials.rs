//! Components on trial, and recorded decisions that are asked again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use truststram_base::ManualClock;
use truststram_decide::batching::{Decision, Moment};
use truststram_decide::routing::{HEALTHY, Table};

use super::{VIEW, WAIT, builtin, file, golden, root, spec};
use crate::{
    Batcher, DecisionLog, Host, Instance, Plugin, PluginSource, Refusal, Router, RouterAnswer,
    RouterQuestion, Run, Stage,
};

const GREEDY: Decision = Decision { take: 5, wait_us: 0 };
const DEADLINE: Decision = Decision { take: 0, wait_us: 4_990 };

fn host() -> Host {
    Host::new(Arc::new(ManualClock::at(0))).unwrap()
}

/// Asks until the component on trial has its instance.
fn until_tried(plugin: &Plugin<Batcher>, instance: &mut Instance<Batcher>) {
    let begun = std::time::Instant::now();
    let tried = |plugin: &Plugin<Batcher>| plugin.trial().unwrap().plugin().stats().calls.get();
    while tried(plugin) == 0 {
        assert!(instance.decide(&VIEW).is_ok(), "it is answered at every moment");
        assert!(begun.elapsed() < WAIT);
    }
}

#[test]
fn a_shadow_is_asked_the_same_and_decides_nothing() {
    let host = host();
    let plugin = host.load::<Batcher>(&spec(builtin("greedy"), "{}")).unwrap();
    let mut instance = plugin.instance();
    assert!(!plugin.promote() && !plugin.end_trial(), "there is none yet");
    host.try_out(&plugin, &spec(builtin("deadline"), "{}"), Stage::Shadow).unwrap();
    until_tried(&plugin, &mut instance);
    for _ in 0..10 {
        assert_eq!(instance.decide(&VIEW), Ok(GREEDY));
        // An old request is not held back: here both agree.
        assert_eq!(instance.decide(&Moment { oldest_us: 9_000, ..VIEW }), Ok(GREEDY));
    }
    let trial = plugin.trial().unwrap();
    assert!(trial.differed.get() >= 10 && trial.agreed.get() == 10);
    let difference = trial.last_difference().unwrap();
    assert!(difference.contains("take: 5") && difference.contains("wait_us: 4990"), "{difference}");
    assert_eq!(plugin.stats().versions.get(), 2);
    drop(trial);
    assert!(plugin.end_trial());
    assert_eq!(instance.decide(&VIEW), Ok(GREEDY));
    assert_eq!(plugin.stats().versions.get(), 1, "it is gone");
}

#[test]
fn a_canary_decides_its_share_until_it_is_promoted() {
    let host = host();
    let plugin = host.load::<Batcher>(&spec(builtin("greedy"), "{}")).unwrap();
    let mut instance = plugin.instance();
    host.try_out(&plugin, &spec(builtin("deadline"), "{}"), Stage::Canary(0.25)).unwrap();
    until_tried(&plugin, &mut instance);
    let answers: Vec<_> = (0..100).map(|_| instance.decide(&VIEW).unwrap()).collect();
    assert_eq!(answers.iter().filter(|&&answer| answer == DEADLINE).count(), 25);
    assert_eq!(answers.iter().filter(|&&answer| answer == GREEDY).count(), 75);
    assert!(plugin.promote());
    assert!(plugin.trial().is_none());
    assert!(instance.wait_ready(WAIT));
    assert_eq!(instance.decide(&VIEW), Ok(DEADLINE));
    assert!(plugin.roll_back());
    assert!(instance.wait_ready(WAIT));
    assert_eq!(instance.decide(&VIEW), Ok(GREEDY), "what was before can come back");
    assert_eq!(plugin.stats().versions.get(), 2);
}

#[test]
fn a_component_on_trial_that_fails_takes_no_decision_away() {
    let host = host();
    let dir = tempfile::tempdir().unwrap();
    for stage in [Stage::Shadow, Stage::Canary(1.0)] {
        for name in ["trap.wat", "loop.wat", "memory.wat", "nonsense.wat"] {
            let plugin = host.load::<Batcher>(&spec(builtin("greedy"), "{}")).unwrap();
            let mut instance = plugin.instance();
            let hostile = file(&dir, &golden::hostile(&root(), name));
            host.try_out(&plugin, &spec(hostile, "{}"), stage).unwrap();
            until_tried(&plugin, &mut instance);
            assert_eq!(instance.decide(&VIEW), Ok(GREEDY), "{name} {stage:?}");
            let trial = plugin.trial().unwrap();
            let failures: u64 =
                trial.plugin().stats().failures().iter().map(|(_, count)| count).sum();
            assert_eq!(failures, 1, "{name}: then it rests");
            assert_eq!(plugin.stats().failures().map(|(_, count)| count), [0; 6]);
        }
    }
}

/// Keeps runs in memory.
#[derive(Default)]
struct Kept(Mutex<Vec<Vec<u8>>>);

impl DecisionLog for Kept {
    fn keep(&self, plugin: &str, run: Vec<u8>) -> bool {
        assert_eq!(plugin, "tested");
        self.0.lock().unwrap().push(run);
        true
    }
}

fn table(weights: [u32; 3]) -> Table {
    Table {
        now_ms: 1,
        ids: vec![1, 2, 3],
        weights: weights.to_vec(),
        in_flight: vec![0; 3],
        capacities: vec![0; 3],
        latency_us: vec![f32::NAN; 3],
        error_shares: vec![0.0; 3],
        cost_per_hour: vec![0.0; 3],
        states: vec![HEALTHY; 3],
    }
}

#[test]
fn recorded_decisions_are_answered_alike_when_they_are_asked_again() {
    let host = host();
    let kept = Arc::new(Kept::default());
    let plugin = host.load::<Router>(&spec(builtin("weighted"), "{}")).unwrap();
    plugin.record(kept.clone(), Duration::ZERO);
    let mut instance = plugin.instance();
    for weights in [[5, 1, 1], [1, 1, 1], [1, 2, 3], [5, 1, 1]] {
        instance.observe(&mut table(weights)).unwrap();
        for key in 0..40 {
            instance.pick(key, 1, 0, 3).unwrap();
        }
    }
    drop(instance);
    let runs: Vec<Run<Router>> =
        kept.0.lock().unwrap().iter().map(|run| Run::decode(run).unwrap()).collect();
    // 64 questions are one run; what follows a pick is left out, because a run begins with a table.
    assert_eq!(runs.iter().map(|run| run.decisions.len()).collect::<Vec<_>>(), [64, 64]);
    assert!(runs[0].state.is_empty() && !runs[1].state.is_empty(), "turns that were taken");
    assert!(Run::<Batcher>::decode(&kept.0.lock().unwrap()[0]).is_none());
    let run = &runs[0];
    assert_eq!(run.sha256, plugin.sha256());
    assert!(matches!(run.decisions[0].question, RouterQuestion::Observe(_)));
    assert!(matches!(run.decisions[1].answer, Ok(RouterAnswer::Picked(Some(0)))));
    let differences = |run: &Run<Router>, policy: &str| {
        let other = host.load::<Router>(&spec(builtin(policy), "{}")).unwrap();
        let mut instance = other.instance_from(&run.state, run.seed).unwrap();
        let differs = |decided: &crate::Decided<Router>| {
            <Router as crate::Kind>::ask(&mut instance, &decided.question) != decided.answer
        };
        run.decisions.iter().map(differs).filter(|differs| *differs).count()
    };
    assert_eq!(runs.iter().map(|run| differences(run, "weighted")).sum::<usize>(), 0);
    assert!(differences(run, "round-robin") > 10);
}

#[test]
fn a_run_ends_with_a_failure_and_with_the_component() {
    let host = host();
    let kept = Arc::new(Kept::default());
    let dir = tempfile::tempdir().unwrap();
    let trap = file(&dir, &golden::hostile(&root(), "trap.wat"));
    let plugin = host.load::<Batcher>(&spec(trap, "{}")).unwrap();
    plugin.record(kept.clone(), Duration::ZERO);
    let mut instance = plugin.instance();
    assert_eq!(instance.decide(&VIEW), Err(Refusal::Trap));
    let decode = |at: usize| Run::<Batcher>::decode(&kept.0.lock().unwrap()[at]).unwrap();
    assert_eq!(decode(0).decisions[0].answer, Err(Refusal::Trap));
    host.replace(&plugin, &spec(builtin("greedy"), "{}")).unwrap();
    let _ = instance.decide(&VIEW);
    assert!(instance.wait_ready(WAIT));
    for _ in 0..3 {
        instance.decide(&VIEW).unwrap();
    }
    host.replace(&plugin, &spec(builtin("deadline"), "{}")).unwrap();
    let _ = instance.decide(&VIEW);
    assert!(instance.wait_ready(WAIT));
    // The one that traps may have been asked once more before it was replaced.
    let count = kept.0.lock().unwrap().len();
    let runs: Vec<_> = (0..count).map(decode).collect();
    let run = runs.iter().find(|run| run.settings_json.contains("greedy")).unwrap();
    assert!(run.decisions.len() >= 3, "{run:?}");
    assert!(run.decisions.iter().all(|decided| decided.answer == Ok(GREEDY)), "{run:?}");
}

/// A batcher that answers well and traps when it is asked for a snapshot.
#[test]
fn a_snapshot_that_fails_stops_the_recording_and_nothing_else() {
    let frame = std::fs::read_to_string(root().join("tests/golden/plugins/hostile/frame.wat"));
    let trapping = frame
        .unwrap()
        .replace("snapshot\") (result i32) (i32.const 64)", "snapshot\") (result i32) unreachable")
        .replace(";; DECIDE", "(i32.store (i32.const 128) (i32.const 1)) (i32.const 128)");
    let component = golden::component(&root(), &trapping);
    let clock = Arc::new(ManualClock::at(0));
    let host = Host::new(clock.clone()).unwrap();
    let bytes = PluginSource::Bytes(component.into());
    let plugin = host.load::<Batcher>(&spec(bytes, "{}")).unwrap();
    let kept = Arc::new(Kept::default());
    plugin.record(kept.clone(), Duration::ZERO);
    let mut instance = plugin.instance();
    assert_eq!(instance.decide(&VIEW), Err(Refusal::Unavailable));
    assert!(instance.wait_ready(WAIT));
    clock.advance(60_000_000);
    assert_eq!(instance.decide(&VIEW), Ok(Decision { take: 1, wait_us: 0 }));
    assert!(kept.0.lock().unwrap().is_empty());
}
