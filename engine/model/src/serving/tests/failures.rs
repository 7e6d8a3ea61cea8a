//! Models that lie or break: refused before anybody is answered by them, and in a run the harm of
//! one request alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use truststram_base::ModelVersion;

use super::harness::{House, expected, id, options, small};
use crate::ModelError;
use crate::artifact::Artifact;
use crate::graph::{Attribute, Dim};
use crate::serving::{LoadOptions, ModelState, Payload};
use crate::tensor::Tensor;
use crate::testing::{FAILS_AT, PANICS_AT, one_node, small_model};

/// A dense network one of whose weights is no number.
fn with_a_nan() -> Artifact {
    let mut artifact = Artifact::of_dense(small_model(0.0));
    let values = &mut artifact.graph.values;
    let weight = values.iter_mut().find(|value| value.name == "layers.1.weight").unwrap();
    let mut tensor = Tensor::clone(weight.constant.as_ref().unwrap());
    tensor.values_mut::<f32>().unwrap()[5] = f32::NAN;
    weight.constant = Some(Arc::new(tensor));
    artifact
}

/// An artifact that says of its output what its graph does not do.
fn with_wrong_width() -> Artifact {
    let mut artifact = one_node("", "Identity");
    artifact.graph.outputs[0].dims = Some(vec![Dim::Any, Dim::Any]);
    artifact.signature.outputs[0].dims = vec![-1, 3];
    artifact
}

/// Says that rows can be computed together, where each depends on the others.
fn with_mixed_rows() -> Artifact {
    let mut artifact = one_node("", "Softmax");
    artifact.graph.nodes[0].attributes.insert("axis".to_owned(), Attribute::Int(0));
    artifact
}

fn with_sample(value: f32) -> Artifact {
    let mut artifact = one_node("truststram", "Trap");
    artifact.samples = vec![Tensor::of(&[1, 2], vec![value, 1.0]).unwrap()];
    artifact
}

#[test]
fn a_version_that_is_not_as_it_says_never_becomes_active() {
    let house = House::new(&options());
    let first = house.load("m", 1, true);
    let mut version = 1;
    let mut check = |file: Vec<u8>, validation_ms: u64, text: &str| {
        version += 1;
        let options = LoadOptions { validation_ms, ..LoadOptions::default() };
        let error = house.load_with("m", version, file, &options).unwrap_err().to_string();
        assert!(error.contains(text), "{error:?} does not say {text:?}");
        let info = house.engine.models().remove(version as usize - 1);
        assert_eq!((info.version, info.state), (ModelVersion(version), ModelState::Failed));
        assert_eq!(info.failure.as_deref(), Some(error.as_str()));
        let route = |version| house.engine.route(&id("m"), version, None);
        assert!(Arc::ptr_eq(&route(None).unwrap(), &first));
        assert!(route(Some(ModelVersion(version))).is_err());
        house.ask(&first, 0, [1.0, 2.0]);
        assert_eq!(house.next().told().values, expected(1.0, [1.0, 2.0]));
    };
    let file = |artifact: Artifact| artifact.to_bytes().unwrap();
    check(file(with_a_nan()), 10_000, "NaN");
    check(file(with_wrong_width()), 10_000, "[1, 2]");
    check(file(with_mixed_rows()), 10_000, "not batchable");
    check(file(with_sample(PANICS_AT)), 10_000, "the trap");
    check(file(with_sample(FAILS_AT)), 10_000, "expected another number");
    check(file(one_node("", "NoSuchOperator")), 10_000, "NoSuchOperator");
    check(small(0.0), 0, "longer than its limit");
    check(small(0.0)[..100].to_vec(), 10_000, "model file");
    check(Vec::new(), 10_000, "model file");
    // Nothing of the failed ones is left.
    let (engine, _) = house.close();
    engine.retire(&id("m"), ModelVersion(1)).unwrap();
    drop(first);
    assert_eq!(engine.memory_bytes(), 0);
}

/// Bytes that panic when they are looked at for the second time: on the loading thread.
struct Unreadable(AtomicUsize);

impl AsRef<[u8]> for Unreadable {
    fn as_ref(&self) -> &[u8] {
        assert_eq!(self.0.fetch_add(1, Ordering::SeqCst), 0, "unreadable");
        &[]
    }
}

#[test]
fn a_panic_while_loading_is_an_error_and_the_version_can_be_loaded_again() {
    let house = House::new(&options());
    let bytes = Arc::new(Unreadable(AtomicUsize::new(0)));
    let options = LoadOptions::default();
    let failed = house.engine.load(&id("m"), ModelVersion(1), bytes, &options).unwrap_err();
    assert!(matches!(failed, ModelError::Panicked { .. }), "{failed:?}");
    assert_eq!(house.engine.models()[0].state, ModelState::Failed);
    house.engine.forget(&id("m"), ModelVersion(1));
    assert!(house.engine.models().is_empty());
    assert_eq!(house.load("m", 1, true).state(), ModelState::Active);
    assert_eq!(house.engine.models()[0].failure, None);
    // What is loaded is not forgotten.
    house.engine.forget(&id("m"), ModelVersion(1));
    assert_eq!(house.engine.models().len(), 1);
}

#[test]
fn a_request_that_breaks_its_batch_alone_is_told_so() {
    let house = House::new(&options());
    let file = one_node("truststram", "Trap").to_bytes().unwrap();
    let model = house.load_with("m", 1, file, &LoadOptions::default()).unwrap();
    for bad in [FAILS_AT, PANICS_AT] {
        let gate = house.block(&model);
        for number in 0..5 {
            house.ask(&model, number, [if number == 2 { bad } else { number as f32 }, 1.0]);
        }
        gate.open();
        for (number, outcome) in house.take(5).iter().enumerate() {
            assert_eq!(outcome.number, number);
            match (number, &outcome.result) {
                (2, Err(ModelError::Run { .. })) if bad == FAILS_AT => {}
                (2, Err(ModelError::Panicked { .. })) if bad == PANICS_AT => {}
                (2, other) => panic!("{other:?}"),
                (_, Ok(told)) => assert_eq!(told.values, [number as f32, 1.0]),
                (_, Err(error)) => panic!("{number}: {error}"),
            }
        }
    }
    let (engine, _) = house.close();
    let stats = &engine.stats()[0];
    assert_eq!((stats.failed, stats.answered), (2, 2 + 2 * 4));
}

#[test]
fn an_answer_that_is_no_number_is_refused_to_its_own_request_alone() {
    let house = House::new(&options());
    let file = one_node("", "Identity").to_bytes().unwrap();
    let model = house.load_with("m", 1, file, &LoadOptions::default()).unwrap();
    let gate = house.block(&model);
    for (number, value) in [1.0, f32::NAN, f32::INFINITY, 2.0].into_iter().enumerate() {
        house.ask(&model, number, [value, 0.5]);
    }
    gate.open();
    let outcomes = house.take(4);
    let finite = |index: usize| outcomes[index].told().values[0];
    assert_eq!((finite(0), finite(3)), (1.0, 2.0));
    for outcome in &outcomes[1..3] {
        assert!(matches!(outcome.result, Err(ModelError::NotFinite)), "{outcome:?}");
    }
}

#[test]
fn inputs_that_do_not_fit_come_back_at_once() {
    let house = House::new(&options());
    let model = house.load("m", 1, true);
    let check = |payload: Payload, text: &str| {
        let mut request = house.request(7, [0.0; 2]);
        request.payload = payload.clone();
        let refused = house.submit(&model, request).unwrap_err();
        let error = refused.error.to_string();
        assert!(error.contains(text), "{error:?} does not say {text:?}");
        assert_eq!(refused.request.payload, payload);
    };
    check(Payload::Features(vec![1.0]), "1 features, the model expects 2");
    check(Payload::Tensors(Vec::new()), "0 tensors");
    check(Payload::Tokens { ids: vec![1], types: Vec::new() }, "a text");
    let rows = |rows: usize| Tensor::of(&[rows, 2], vec![0.0f32; 2 * rows]).unwrap();
    check(Payload::Tensors(vec![rows(0)]), "0 rows");
    check(Payload::Tensors(vec![rows(17)]), "17 rows");
    check(Payload::Tensors(vec![Tensor::of(&[2], vec![0.0f32; 2]).unwrap()]), "[2]");
    check(Payload::Tensors(vec![Tensor::of(&[1, 2], vec![0.0f64; 2]).unwrap()]), "f64");
    assert_eq!(model.unanswered(), 0);
}
