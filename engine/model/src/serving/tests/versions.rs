//! Versions: which one answers, before, during and after a switch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use truststram_base::ModelVersion;
use truststram_machine::{ThreadSpec, spawn};

use super::harness::{House, Outcome, apart, expected, id, options};
use crate::ModelError;
use crate::serving::{EngineOptions, InferRequest, ModelState, Payload, Refused};

const V1: ModelVersion = ModelVersion(1);
const V2: ModelVersion = ModelVersion(2);

/// The features of a request's number; the same for every run.
fn features(number: usize) -> [f32; 2] {
    let part = |salt: usize| {
        let mixed = (number * 2 + salt).wrapping_mul(0x9e37_79b9) >> 7;
        (mixed % 1_000) as f32 * 0.01 - 5.0
    };
    [part(0), part(1)]
}

fn active(house: &House, name: &str) -> u32 {
    house.engine.route(&id(name), None, None).unwrap().version().0
}

/// Each of some outcomes is right for the version that it names.
fn check_answers(outcomes: &[Outcome], routed: impl Fn(usize) -> Option<u32>) {
    for outcome in outcomes {
        let told = outcome.told();
        let features = features(outcome.number);
        assert_eq!(outcome.payload, Payload::Features(features.to_vec()));
        let version = told.version.0;
        assert_eq!(told.values, expected(version as f32, features), "{outcome:?}");
        assert!(routed(outcome.number).is_none_or(|routed| routed == version), "{outcome:?}");
    }
}

/// Threads ask, each answer is of one version and right for it, and none is lost, while another
/// thread switches all the time.
fn switches_under_load(options: &EngineOptions) {
    const THREADS: usize = 3;
    const EACH: usize = 400;
    let house = House::new(options);
    house.load("m", 1, true);
    house.load("m", 2, false);
    let ended = Arc::new(AtomicBool::new(false));
    let asking = (0..THREADS).map(|thread| {
        let requests: Vec<InferRequest<_>> = (thread * EACH..(thread + 1) * EACH)
            .map(|number| house.request(number, features(number)))
            .collect();
        let engine = Arc::clone(&house.engine);
        let body = move |_| {
            let submit = |request| {
                let model = engine.route(&id("m"), None, None).unwrap();
                let submitted = engine.submit(&model, request);
                submitted.map_err(|Refused { error, .. }| error).unwrap();
                model.version().0
            };
            requests.into_iter().map(submit).collect::<Vec<_>>()
        };
        spawn(ThreadSpec { name: format!("asks-{thread}"), ..ThreadSpec::default() }, body).unwrap()
    });
    let asking: Vec<_> = asking.collect();
    let (engine, stops) = (Arc::clone(&house.engine), Arc::clone(&ended));
    let switching = spawn(ThreadSpec::default(), move |_| {
        while !stops.load(Ordering::SeqCst) {
            engine.activate(&id("m"), V2).unwrap();
            assert_eq!(engine.route(&id("m"), None, None).unwrap().version(), V2);
            assert_eq!(engine.roll_back(&id("m")).unwrap(), V1);
            assert_eq!(engine.route(&id("m"), None, None).unwrap().version(), V1);
        }
    });
    let outcomes = house.take(THREADS * EACH);
    ended.store(true, Ordering::SeqCst);
    let routed: Vec<u32> = asking.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    switching.unwrap().join().unwrap();
    check_answers(&outcomes, |number| Some(routed[number]));
    let mut numbers: Vec<_> = outcomes.iter().map(|outcome| outcome.number).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..THREADS * EACH));
    let left = house.close().1;
    assert!(left.is_empty(), "answered twice: {left:?}");
}

#[test]
fn a_switch_under_load_loses_and_mixes_nothing() {
    switches_under_load(&options());
    switches_under_load(&EngineOptions { batch_max: 1, ..options() });
    switches_under_load(&apart(2));
}

#[test]
fn nothing_is_active_until_it_is_asked_for() {
    let house = House::new(&options());
    let loaded = house.load("m", 1, false);
    assert_eq!(loaded.state(), ModelState::Ready);
    let none = house.engine.route(&id("m"), None, None);
    assert!(matches!(none, Err(ModelError::NotLoaded { version: ModelVersion(0), .. })));
    assert_eq!(house.engine.route(&id("m"), Some(V1), None).unwrap().version(), V1);
    house.engine.activate(&id("m"), V1).unwrap();
    assert_eq!((active(&house, "m"), loaded.state()), (1, ModelState::Active));
    let missing = house.engine.activate(&id("m"), V2);
    assert!(matches!(missing, Err(ModelError::NotLoaded { version: V2, .. })), "{missing:?}");
    let other = house.engine.route(&id("other"), None, None);
    assert!(matches!(other, Err(ModelError::NotLoaded { .. })));
}

#[test]
fn a_rollback_is_instant_and_can_be_undone() {
    let house = House::new(&options());
    house.load("m", 1, true);
    assert!(matches!(house.engine.roll_back(&id("m")), Err(ModelError::NoPrevious { .. })));
    let second = house.load("m", 2, true);
    let gate = house.block(&second);
    house.ask(&second, 0, features(0));
    assert_eq!(house.engine.roll_back(&id("m")).unwrap(), V1);
    // Nothing has been computed meanwhile, and the next question goes to the old version.
    assert_eq!((active(&house, "m"), second.state()), (1, ModelState::Ready));
    house.ask(&house.engine.route(&id("m"), None, None).unwrap(), 1, features(1));
    gate.open();
    let outcomes = house.take(2);
    check_answers(&outcomes, |number| Some([2, 1][number]));
    assert_eq!(house.engine.roll_back(&id("m")).unwrap(), V2);
    assert_eq!(active(&house, "m"), 2);
    house.engine.retire(&id("m"), V1).unwrap();
    assert!(matches!(house.engine.roll_back(&id("m")), Err(ModelError::NoPrevious { .. })));
}

#[test]
fn versions_of_one_batch_are_never_mixed() {
    let house = House::new(&options());
    let models = [house.load("m", 1, true), house.load("m", 2, false)];
    let gate = house.block(&models[0]);
    for number in 0..10 {
        house.ask(&models[number % 2], number, features(number));
    }
    gate.open();
    let outcomes = house.take(10);
    check_answers(&outcomes, |number| Some(number as u32 % 2 + 1));
    assert!(outcomes.iter().all(|outcome| outcome.told().batch_size == 5));
}

#[test]
fn a_version_is_loaded_once_and_their_number_is_limited() {
    let house = House::new(&EngineOptions { loaded_max: 2, ..options() });
    house.load("m", 1, true);
    let load = |name: &str, version| {
        house.load_with(name, version, super::harness::small(0.0), &Default::default())
    };
    assert!(matches!(load("m", 1), Err(ModelError::AlreadyLoaded { version: V1, .. })));
    load("other", 1).unwrap();
    assert!(matches!(load("m", 2), Err(ModelError::TooManyLoaded { loaded_max: 2 })));
    house.engine.retire(&id("other"), V1).unwrap();
    load("m", 2).unwrap();
    assert_eq!(active(&house, "m"), 2);
}

#[test]
fn a_retired_version_answers_what_it_has_accepted() {
    let house = House::new(&options());
    let (old, new) = (house.load("m", 1, true), house.load("m", 2, true));
    let before = house.engine.memory_bytes();
    let gate = house.block(&new);
    (0..3).for_each(|number| house.ask(&old, number, features(number)));
    let active = house.engine.retire(&id("m"), V2);
    assert!(matches!(active, Err(ModelError::Active { version: V2, .. })), "{active:?}");
    house.engine.retire(&id("m"), V1).unwrap();
    assert_eq!((old.state(), old.unanswered()), (ModelState::Draining, 3));
    assert!(house.engine.model(&id("m"), Some(V1)).is_none());
    let gone = house.engine.route(&id("m"), Some(V1), None);
    assert!(matches!(gone, Err(ModelError::NotLoaded { version: V1, .. })));
    assert_eq!(house.engine.memory_bytes(), before);
    drop(old);
    gate.open();
    check_answers(&house.take(3), |_| Some(1));
    let (engine, _) = house.close();
    let state = |version: usize| engine.models()[version].state;
    assert_eq!([state(0), state(1)], [ModelState::Retired, ModelState::Active]);
    assert!(engine.memory_bytes() < before);
    engine.retire(&id("m"), V2).unwrap();
    drop(new);
    assert_eq!(engine.memory_bytes(), 0);
}
