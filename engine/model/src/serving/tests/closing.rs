//! The end: everything accepted is answered, or its owner is told by the drop of his reply.

use super::harness::{House, apart, expected, options};
use crate::ModelError;
use crate::serving::{EngineOptions, Refused, WorkerPlace};

#[test]
fn closing_answers_everything_and_accepts_nothing_more() {
    for options in [options(), EngineOptions { batch_max: 1, ..options() }, apart(3)] {
        let house = House::new(&options);
        let model = house.load("m", 1, true);
        let gates: Vec<_> = options.workers.iter().map(|_| house.block(&model)).collect();
        (0..50).for_each(|number| house.ask(&model, number, [number as f32, 1.0]));
        // Closing waits for the workers, so it cannot be waited for before the gates are open.
        house.engine.crew.groups.iter().for_each(crate::serving::group::Group::close);
        let request = house.request(50, [0.5; 2]);
        let payload = request.payload.clone();
        let Refused { error, request } = house.submit(&model, request).unwrap_err();
        assert!(matches!(error, ModelError::Closed));
        assert_eq!((request.payload, model.unanswered()), (payload, 50));
        drop(request.reply);
        gates.iter().for_each(|gate| gate.open());
        let (engine, mut outcomes) = house.close();
        outcomes.sort_by_key(|outcome| outcome.number);
        assert!(outcomes.iter().map(|outcome| outcome.number).eq(0..50));
        for outcome in &outcomes {
            assert_eq!(outcome.told().values, expected(1.0, [outcome.number as f32, 1.0]));
        }
        engine.close().unwrap();
    }
}

#[test]
fn another_worker_of_the_group_takes_over_from_one_that_died() {
    let place = WorkerPlace { core: 0, memory_node: None };
    let house = House::new(&EngineOptions { workers: vec![place; 2], ..options() });
    let model = house.load("m", 1, true);
    house.kill(&model);
    // What comes after this answer is in no batch of the worker that dies.
    house.take(1);
    for number in 0..20 {
        house.ask(&model, number, [number as f32, 1.0]);
        assert_eq!(house.next().told().values, expected(1.0, [number as f32, 1.0]));
    }
    let error = house.engine.close().unwrap_err().to_string();
    assert!(error.contains("the sink dies"), "{error}");
    assert_eq!(model.unanswered(), 0);
}

#[test]
fn behind_the_last_worker_of_a_group_nobody_waits() {
    let house = House::new(&EngineOptions { batch_max: 3, ..options() });
    let model = house.load("m", 1, true);
    let gate = house.block(&model);
    house.kill(&model);
    // Two of them are in the batch that the worker dies of, three stay in the queue.
    (0..5).for_each(|number| house.ask(&model, number, [0.0; 2]));
    gate.open();
    house.take(1);
    let error = house.engine.close().unwrap_err().to_string();
    assert!(error.contains("the sink dies"), "{error}");
    assert_eq!(model.unanswered(), 0);
    let Refused { error, .. } = house.submit(&model, house.request(9, [0.0; 2])).unwrap_err();
    assert!(matches!(error, ModelError::Closed));
    // Closing sees that no reply is left anywhere.
    let (_, outcomes) = house.close();
    assert!(outcomes.is_empty(), "{outcomes:?}");
}
