//! Which request is next, which is too late, and who computes it.

use truststram_base::ModelVersion;

use super::harness::{House, Outcome, apart, id, options};
use crate::ModelError;
use crate::serving::{EngineOptions, LoadOptions};

/// Requests are answered one by one, so that the order shows.
fn one_by_one() -> EngineOptions {
    EngineOptions { batch_max: 1, ..options() }
}

fn numbers(outcomes: &[Outcome]) -> Vec<usize> {
    outcomes.iter().map(|outcome| outcome.number).collect()
}

#[test]
fn late_requests_are_not_computed() {
    let house = House::new(&options());
    let model = house.load("m", 1, true);
    let gate = house.block(&model);
    let now_us = house.now_us();
    for (number, deadline_us) in [now_us + 99, now_us + 100, now_us + 101].into_iter().enumerate() {
        let mut request = house.request(number, [0.0; 2]);
        request.deadline_us = deadline_us;
        assert!(house.submit(&model, request).is_ok());
    }
    house.clock.advance(100);
    gate.open();
    for outcome in house.take(3) {
        let late_us = match &outcome.result {
            Ok(told) => {
                assert_eq!((outcome.number, told.batch_size), (2, 1));
                continue;
            }
            Err(ModelError::Expired { late_us }) => *late_us,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(late_us, 1 - outcome.number as u64);
    }
    let (engine, _) = house.close();
    let stats = &engine.stats()[0];
    assert_eq!((stats.expired, stats.answered, stats.batches), (2, 2, 2));
}

#[test]
fn what_cannot_be_answered_in_time_is_not_computed() {
    let house = House::new(&options());
    let model = house.load("m", 1, true);
    let gate = house.block(&model);
    (0..100).for_each(|_| model.estimate.observe(1, 500));
    let time_us = model.estimate.time_us(1);
    assert!(time_us > 400, "{time_us}");
    for (number, left_us) in [time_us - 1, time_us].into_iter().enumerate() {
        let mut request = house.request(number, [0.0; 2]);
        request.deadline_us = house.now_us() + left_us;
        assert!(house.submit(&model, request).is_ok());
    }
    gate.open();
    let outcomes = house.take(2);
    assert!(matches!(outcomes[0].result, Err(ModelError::Expired { late_us: 1 })));
    assert_eq!(outcomes[1].told().batch_size, 1);
}

#[test]
fn long_requests_are_computed_together_only_as_far_as_it_pays() {
    let first_batch = |queued: usize, each_us: u32| {
        let house = House::new(&options());
        let model = house.load("m", 1, true);
        let gate = house.block(&model);
        // The request at the gate took no time, by a clock that stands.
        for rows in [1, 2, 4, 8, 16].repeat(100) {
            model.estimate.observe(rows, each_us / 10 + each_us * rows);
        }
        (0..queued).for_each(|number| house.ask(&model, number, [0.0; 2]));
        gate.open();
        house.take(queued)[0].told().batch_size
    };
    assert_eq!([1, 2, 3, 5].map(|queued| first_batch(queued, 3_000)), [1, 2, 2, 2]);
    // Behind many the last one gains, and nobody waits long for what is short.
    assert_eq!(first_batch(12, 3_000), 4);
    assert_eq!(first_batch(12, 100), 12);
}

#[test]
fn urgent_requests_are_first_and_old_ones_become_urgent() {
    let house = House::new(&one_by_one());
    let model = house.load("m", 1, true);
    let submit = |number, priority| {
        let mut request = house.request(number, [0.0; 2]);
        request.priority = priority;
        assert!(house.submit(&model, request).is_ok());
    };
    let gate = house.block(&model);
    for (number, priority) in [3, 1, 200, 0, 2, 0, 1].into_iter().enumerate() {
        submit(number, priority);
    }
    gate.open();
    assert_eq!(numbers(&house.take(7)), [3, 5, 1, 6, 4, 0, 2]);

    let gate = house.block(&model);
    submit(0, 2);
    house.clock.advance(99_999);
    submit(1, 1);
    house.clock.advance(1);
    submit(2, 1);
    submit(3, 0);
    gate.open();
    assert_eq!(numbers(&house.take(4)), [3, 0, 1, 2]);
}

#[test]
fn models_take_turns_however_much_one_of_them_is_asked() {
    let house = House::new(&one_by_one());
    let (busy, rare) = (house.load("busy", 1, true), house.load("rare", 2, true));
    let gate = house.block(&busy);
    (0..40).for_each(|number| house.ask(&busy, number, [0.0; 2]));
    (40..50).for_each(|number| house.ask(&rare, number, [0.0; 2]));
    gate.open();
    let answered = numbers(&house.take(50));
    // Until the rare model has no more requests every second answer is its.
    for length in 1..=20 {
        let rare = answered[..length].iter().filter(|number| **number >= 40).count();
        assert!(rare.abs_diff(length - rare) <= 1, "{answered:?}");
    }
    assert!(answered.iter().filter(|number| **number < 40).is_sorted());
}

#[test]
fn a_worker_takes_from_others_only_when_it_has_nothing() {
    let house = House::new(&EngineOptions { batch_max: 1, ..apart(2) });
    let model = house.load("m", 1, true);
    let gates = [house.block(&model), house.block(&model)];
    let groups = &house.engine.crew.groups;
    let mut of_group = [Vec::new(), Vec::new()];
    for number in 0..20 {
        let before = groups[0].unanswered();
        house.ask(&model, number, [0.0; 2]);
        of_group[usize::from(groups[0].unanswered() == before)].push(number);
    }
    assert_eq!(of_group.each_ref().map(Vec::len), [10, 10]);
    // Which worker stands before which gate is theirs to decide; one of them is set free.
    gates[0].open();
    let outcomes = house.take(20);
    let free = outcomes[0].worker;
    assert!(outcomes.iter().all(|outcome| outcome.worker == free));
    let [own, other] = [&of_group[free], &of_group[1 - free]];
    assert_eq!(numbers(&outcomes), [own.as_slice(), other].concat());
    gates[1].open();
    let (engine, _) = house.close();
    let stolen = |worker: usize| engine.stats()[worker].stolen;
    assert_eq!((stolen(free), stolen(1 - free)), (10, 0));
}

#[test]
fn what_does_not_fit_the_queue_comes_back_whole() {
    let house = House::new(&EngineOptions { requests_max: 4, ..options() });
    let model = house.load("m", 1, true);
    let gate = house.block(&model);
    (0..4).for_each(|number| house.ask(&model, number, [number as f32, 0.0]));
    let refused = house.submit(&model, house.request(4, [4.0, 0.0])).unwrap_err();
    assert!(matches!(refused.error, ModelError::QueueFull { requests_max: 4 }));
    assert_eq!(refused.request.payload, house.request(4, [4.0, 0.0]).payload);
    assert_eq!(model.unanswered(), 4);
    gate.open();
    house.take(4);
    house.ask(&model, 4, [4.0, 0.0]);
    house.take(1);
}

#[test]
fn a_version_has_its_own_limit_and_leaves_room_for_others() {
    let house = House::new(&options());
    let limited = LoadOptions { requests_max: Some(2), ..LoadOptions::default() };
    let model = house.load_with("m", 1, super::harness::small(1.0), &limited).unwrap();
    let other = house.load("other", 2, true);
    let gate = house.block(&other);
    (0..2).for_each(|number| house.ask(&model, number, [0.0; 2]));
    let refused = house.submit(&model, house.request(2, [0.0; 2])).unwrap_err();
    assert!(matches!(refused.error, ModelError::QueueFull { requests_max: 2 }));
    house.ask(&other, 3, [0.0; 2]);
    gate.open();
    let versions: Vec<_> = house.take(3).iter().map(|outcome| outcome.told().version).collect();
    assert_eq!(versions.iter().filter(|version| **version == ModelVersion(2)).count(), 1);
    assert_eq!(house.engine.model(&id("m"), None).unwrap().unanswered(), 0);
}
