//! What a thread of the caller computes itself, and what it leaves to the workers.

use std::sync::Arc;

use super::harness::{House, Outcome, expected, options};
use crate::ModelError;
use crate::serving::{
    BatchDecision, Batcher, Computes, EngineOptions, LoadedModel, NativeBatcher, Payload,
    QueueView, WorkerPlace,
};
use crate::tensor::Tensor;

/// What answers of the inline worker are named by; the only worker with a thread is 0.
const INLINE: usize = 99;

fn with_inline() -> EngineOptions {
    EngineOptions { inline_cores: vec![0], inline_us: 50, ..options() }
}

/// A model of which every size of batch up to 16 has been measured, so many microseconds a row.
fn measured(house: &House, row_us: u32) -> Arc<LoadedModel> {
    let model = house.load("m", 1, true);
    for rows in [1, 2, 4, 8, 16] {
        model.estimate.observe(rows, rows * row_us);
    }
    model
}

fn from(outcomes: &[Outcome]) -> Vec<(usize, usize, u32)> {
    let one = |outcome: &Outcome| (outcome.worker, outcome.number, outcome.told().batch_size);
    outcomes.iter().map(one).collect()
}

#[test]
fn what_arrived_together_is_one_batch_of_the_thread_that_asked() {
    let house = House::new(&with_inline());
    let mut inline = house.inline(INLINE, NativeBatcher);
    let model = house.load("m", 1, true);
    assert_eq!(house.ask_inline(&model, 0, [1.0, 2.0]), Computes::Worker, "not measured yet");
    let first = house.next();
    assert_eq!((first.worker, &first.told().values), (0, &expected(1.0, [1.0, 2.0])));
    house.await_rest();
    assert!(!inline.run());
    for number in 1..4 {
        let asked = house.ask_inline(&model, number, [number as f32, 2.0]);
        assert_eq!(asked, Computes::Inline);
    }
    assert!(inline.run());
    let outcomes = house.take(3);
    assert_eq!(from(&outcomes), [(INLINE, 1, 3), (INLINE, 2, 3), (INLINE, 3, 3)]);
    for outcome in &outcomes {
        let features = [outcome.number as f32, 2.0];
        assert_eq!(outcome.told().values, expected(1.0, features));
    }
    assert!(!inline.run());
    drop(inline);
    let (engine, left) = house.close();
    assert!(left.is_empty());
    let [stats] = &engine.stats()[..] else { panic!("one worker") };
    assert_eq!((stats.answered, stats.batches, stats.inline, stats.unanswered), (4, 2, 1, 0));
    assert_eq!(model.unanswered(), 0);
}

#[test]
fn a_batch_stops_where_it_would_hold_up_the_thread() {
    let house = House::new(&with_inline());
    let mut inline = house.inline(INLINE, NativeBatcher);
    let model = measured(&house, 40);
    for number in 0..7 {
        assert_eq!(house.ask_inline(&model, number, [0.0; 2]), Computes::Inline);
    }
    assert!(inline.run());
    let sizes: Vec<u32> = house.take(5).iter().map(|outcome| outcome.told().batch_size).collect();
    assert_eq!(sizes, [5; 5], "200 us");
    assert!(inline.run());
    assert_eq!(from(&house.take(2)), [(INLINE, 5, 2), (INLINE, 6, 2)]);
}

#[test]
fn what_takes_long_or_has_a_shadow_is_for_the_workers() {
    let house = House::new(&with_inline());
    let mut inline = house.inline(INLINE, NativeBatcher);
    let long = measured(&house, 51);
    assert_eq!(house.ask_inline(&long, 0, [0.0; 2]), Computes::Worker);
    assert_eq!(house.next().worker, 0);
    let watched = house.load("watched", 1, true);
    watched.estimate.observe(1, 1);
    watched.shadow.store(Some(long));
    assert_eq!(house.ask_inline(&watched, 1, [0.0; 2]), Computes::Worker);
    assert_eq!(house.next().worker, 0);
    assert!(!inline.run());
}

#[test]
fn what_is_no_longer_brief_is_handed_over() {
    let house = House::new(&with_inline());
    let mut inline = house.inline(INLINE, NativeBatcher);
    let model = measured(&house, 1);
    for number in 0..3 {
        assert_eq!(house.ask_inline(&model, number, [0.0; 2]), Computes::Inline);
    }
    (0..100).for_each(|_| model.estimate.observe(1, 400));
    assert!(!inline.run());
    assert_eq!(from(&house.take(3)), [(0, 0, 3), (0, 1, 3), (0, 2, 3)]);
}

#[test]
fn a_long_request_behind_a_late_one_is_not_taken() {
    let house = House::new(&with_inline());
    let mut inline = house.inline(INLINE, NativeBatcher);
    let model = measured(&house, 30);
    let gate = house.block(&model);
    let mut late = house.request(0, [0.0; 2]);
    late.deadline_us = house.now_us() + 50;
    assert!(matches!(house.engine.submit_inline(0, &model, late), Ok(Computes::Inline)));
    let mut long = house.request(1, [0.0; 2]);
    long.payload = Payload::Tensors(vec![Tensor::of(&[16, 2], vec![0.0_f32; 32]).unwrap()]);
    assert!(matches!(house.engine.submit_inline(0, &model, long), Ok(Computes::Worker)));
    house.clock.advance(50);
    assert!(inline.run(), "the late one is told so");
    assert!(matches!(house.next().result, Err(ModelError::Expired { .. })));
    assert!(!inline.run());
    gate.open();
    assert_eq!(from(&house.take(1)), [(0, 1, 1)]);
    drop(inline);
    let stats = &house.close().0.stats()[0];
    assert_eq!((stats.batches, stats.inline), (2, 0));
}

#[test]
fn a_full_group_leaves_brief_requests_to_another() {
    let place = |worker| WorkerPlace { core: worker, memory_node: Some(worker) };
    let workers = (0..2).map(place).collect();
    let house = House::new(&EngineOptions { workers, requests_max: 4, ..with_inline() });
    let model = measured(&house, 1);
    house.await_rest();
    let asked: Vec<Computes> =
        (0..2).map(|number| house.ask_inline(&model, number, [0.0; 2])).collect();
    assert_eq!(asked, [Computes::Inline; 2]);
    assert_eq!(house.ask_inline(&model, 2, [0.0; 2]), Computes::Worker);
    let outcomes = house.take(1);
    assert_eq!((outcomes[0].worker, outcomes[0].number), (1, 2));
}

#[test]
fn what_is_to_wait_is_handed_over() {
    /// Wants more than there is.
    struct Patient;

    impl Batcher for Patient {
        fn decide(&mut self, _: &QueueView) -> Option<BatchDecision> {
            Some(BatchDecision { take: 0, wait_us: 1_000 })
        }
    }

    let house = House::new(&with_inline());
    let mut inline = house.inline(INLINE, Patient);
    let model = measured(&house, 1);
    assert_eq!(house.ask_inline(&model, 0, [0.0; 2]), Computes::Inline);
    assert!(!inline.run());
    assert_eq!(from(&house.take(1)), [(0, 0, 1)]);
}

#[test]
fn an_inline_worker_that_goes_leaves_nothing_behind() {
    let house = House::new(&with_inline());
    let inline = house.inline(INLINE, NativeBatcher);
    let model = measured(&house, 1);
    assert_eq!(house.ask_inline(&model, 0, [0.0; 2]), Computes::Inline);
    drop(inline);
    assert_eq!(from(&house.take(1)), [(0, 0, 1)]);
    // Nor does one that never comes, once the engine closes.
    assert_eq!(house.ask_inline(&model, 1, [0.0; 2]), Computes::Inline);
    let (_, left) = house.close();
    assert_eq!(from(&left), [(0, 1, 1)]);
}

#[test]
fn brief_requests_do_not_wait_for_a_long_batch() {
    let house = House::new(&with_inline());
    let mut inline = house.inline(INLINE, NativeBatcher);
    let model = house.load("m", 1, true);
    let gate = house.block(&model);
    assert_eq!(house.ask_inline(&model, 0, [0.0; 2]), Computes::Inline);
    assert!(inline.run());
    assert_eq!(from(&house.take(1)), [(INLINE, 0, 1)]);
    gate.open();
}

#[test]
fn inline_cores_are_those_of_workers() {
    let options = EngineOptions { inline_cores: vec![7], ..options() };
    match options.validate() {
        Err(ModelError::Options { option: "inline_cores", found: 7, .. }) => {}
        other => panic!("{other:?}"),
    }
    let house = House::new(&with_inline());
    let sink = Box::new(super::harness::Channel { worker: INLINE });
    let refused = house.engine.inline_worker(1, Box::new(NativeBatcher), sink);
    let refused = refused.map(|_| ()).unwrap_err();
    assert!(matches!(refused, ModelError::Options { found: 1, .. }), "{refused}");
}
