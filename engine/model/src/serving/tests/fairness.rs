//! Fairness by what batches cost, apart from threads and time.

use std::sync::Arc;

use super::harness::{House, options};
use crate::serving::queues::{Queues, Wanted};
use crate::serving::request::{Accepted, Queued, Size};
use crate::serving::{InferRequest, LoadedModel, PRIORITY_NORMAL, Payload};

const NOW_US: u64 = 1;

fn accepted(model: &Arc<LoadedModel>) -> Accepted {
    Accepted::of(model).unwrap()
}

fn push(queues: &mut Queues<()>, model: &Arc<LoadedModel>) {
    let payload = Payload::Features(vec![0.0; 2]);
    let size = Size::of(model, &payload).unwrap();
    let (priority, deadline_us, enqueued_us) = (PRIORITY_NORMAL, u64::MAX, NOW_US);
    let request = InferRequest { payload, priority, deadline_us, enqueued_us, reply: () };
    queues.push(Queued { model: accepted(model), request, size, arrived: 0 });
}

/// Serves the next request, which costs what `cost_us` says of its version; returns the version.
fn serve(queues: &mut Queues<()>, cost_us: impl Fn(u32) -> u64) -> u32 {
    let claim = queues.claim(NOW_US, 0).unwrap();
    let (mut batch, mut expired) = (Vec::new(), Vec::new());
    let wanted = Wanted { requests: 1, time_us_max: None, now_us: NOW_US };
    let charge = queues.take(claim, wanted, &mut batch, &mut expired);
    assert_eq!((batch.len(), expired.len()), (1, 0));
    let version = batch[0].model.version().0;
    queues.settle(charge, cost_us(version));
    version
}

#[test]
fn models_share_time_and_not_requests() {
    let house = House::new(&options());
    let models = [house.load("cheap", 1, true), house.load("dear", 2, true)];
    let mut queues = Queues::default();
    for _ in 0..400 {
        models.iter().for_each(|model| push(&mut queues, model));
    }
    let cost_us = |version| if version == 1 { 100 } else { 300 };
    let versions: Vec<u32> = (0..400).map(|_| serve(&mut queues, cost_us)).collect();
    for four in versions.chunks(4) {
        let cheap = four.iter().filter(|version| **version == 1).count();
        assert_eq!(cheap, 3, "{versions:?}");
    }
}

#[test]
fn a_model_that_was_idle_has_saved_nothing_up() {
    let house = House::new(&options());
    let models = [house.load("busy", 1, true), house.load("idle", 2, true)];
    let mut queues = Queues::default();
    (0..200).for_each(|_| push(&mut queues, &models[0]));
    assert!((0..100).all(|_| serve(&mut queues, |_| 100) == 1));
    (0..50).for_each(|_| push(&mut queues, &models[1]));
    let versions: Vec<u32> = (0..100).map(|_| serve(&mut queues, |_| 100)).collect();
    for length in 1..=versions.len() {
        let idle = versions[..length].iter().filter(|version| **version == 2).count();
        assert!((2 * idle).abs_diff(length) <= 2, "{versions:?}");
    }
}

#[test]
fn nothing_is_lost_between_lanes_and_claims() {
    let house = House::new(&options());
    let models = [house.load("a", 1, true), house.load("b", 2, true)];
    let mut queues = Queues::default();
    models.iter().for_each(|model| push(&mut queues, model));
    let first = queues.claim(NOW_US, 3).unwrap();
    assert_eq!((queues.unclaimed(), queues.queued(first)), (1, 1));
    let second = queues.claim(NOW_US, 4).unwrap();
    assert!(queues.claim(NOW_US, 5).is_none());
    // A push into a claimed lane names who has claimed it.
    let payload = Payload::Features(vec![0.0; 2]);
    let size = Size::of(&models[0], &payload).unwrap();
    let (priority, deadline_us, enqueued_us) = (9, u64::MAX, NOW_US);
    let request = InferRequest { payload, priority, deadline_us, enqueued_us, reply: () };
    let model = accepted(&models[0]);
    assert_eq!(queues.push(Queued { model, request, size, arrived: 0 }), Some(3));
    queues.release_all(3);
    queues.release(second);
    assert_eq!(queues.unclaimed(), 3);
    let left = queues.drain();
    assert_eq!((left.unclaimed(), queues.unclaimed()), (3, 0));
    assert!(queues.claim(NOW_US, 0).is_none());
}
