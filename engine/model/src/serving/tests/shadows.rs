//! Shadows: asked after the answer, compared row by row, never in the way.

use truststram_base::ModelVersion;

use super::harness::{House, Reply, expected, id, options};
use crate::ModelError;
use crate::serving::answer::largest;
use crate::serving::{Engine, LoadOptions, Payload, ShadowSnapshot};
use crate::tensor::Tensor;
use crate::testing::{FAILS_AT, PANICS_AT, one_node};

const V2: ModelVersion = ModelVersion(2);

fn counts(engine: &Engine<Reply>, version: usize) -> ShadowSnapshot {
    engine.models()[version - 1].shadow
}

#[test]
fn disagreements_are_counted_row_by_row() {
    let house = House::new(&options());
    let model = house.load("m", 1, true);
    house.load("m", 2, false);
    house.engine.set_shadow(&id("m"), Some(V2)).unwrap();
    let rows: Vec<[f32; 2]> =
        (0..16).map(|row| [row as f32 * 0.7 - 5.0, 9.0 - row as f32]).collect();
    let class = |shift, row: &[f32; 2]| largest(&expected(shift, *row));
    let differ = rows.iter().filter(|row| class(1.0, row) != class(2.0, row)).count();
    assert!((1..rows.len()).contains(&differ), "the rows prove nothing: {differ}");
    let mut request = house.request(0, [0.0; 2]);
    request.payload = Payload::Tensors(vec![Tensor::of(&[16, 2], rows.concat()).unwrap()]);
    assert!(house.submit(&model, request).is_ok());
    let told = house.next().told().clone();
    let wanted: Vec<f32> = rows.iter().flat_map(|row| expected(1.0, *row)).collect();
    assert_eq!(told.values, wanted);
    let (engine, _) = house.close();
    let counts = counts(&engine, 2);
    assert_eq!((counts.compared, counts.disagreed), (16, differ as u64));
    assert_eq!((counts.dropped, counts.failed), (0, 0));
}

#[test]
fn a_shadow_is_left_out_while_requests_wait() {
    let house = House::new(&options());
    let model = house.load("m", 1, true);
    house.load("m", 2, false);
    house.engine.set_shadow(&id("m"), Some(V2)).unwrap();
    let gate = house.block(&model);
    house.ask(&model, 0, [1.0, 1.0]);
    gate.open();
    house.take(1);
    let (engine, _) = house.close();
    let counts = counts(&engine, 2);
    assert_eq!((counts.compared, counts.dropped), (1, 1));
}

#[test]
fn a_shadow_that_fails_or_panics_changes_no_answer() {
    for bad in [FAILS_AT, PANICS_AT] {
        let house = House::new(&options());
        let load = |version, artifact: crate::artifact::Artifact, activate| {
            let options = LoadOptions { activate, ..LoadOptions::default() };
            house.load_with("m", version, artifact.to_bytes().unwrap(), &options).unwrap()
        };
        let model = load(1, one_node("", "Identity"), true);
        load(2, one_node("truststram", "Trap"), false);
        house.engine.set_shadow(&id("m"), Some(V2)).unwrap();
        house.ask(&model, 0, [bad, 1.0]);
        assert_eq!(house.next().told().values, [bad, 1.0]);
        let (engine, _) = house.close();
        let counts = counts(&engine, 2);
        assert_eq!((counts.compared, counts.failed), (0, 1), "{bad}");
    }
}

#[test]
fn only_what_can_be_compared_is_a_shadow() {
    let house = House::new(&options());
    house.load("m", 1, true);
    let other = one_node("", "Identity").to_bytes().unwrap();
    let options = LoadOptions { activate: false, ..LoadOptions::default() };
    house.load_with("m", 2, other, &options).unwrap();
    let set = |version| house.engine.set_shadow(&id("m"), Some(ModelVersion(version)));
    assert!(matches!(set(1), Err(ModelError::Active { .. })));
    assert!(matches!(set(2), Err(ModelError::Incomparable { .. })));
    assert!(matches!(set(3), Err(ModelError::NotLoaded { .. })));
    house.load("m", 3, false);
    set(3).unwrap();
    assert!(house.engine.models()[2].is_shadow);
    house.engine.set_shadow(&id("m"), None).unwrap();
    assert!(!house.engine.models()[2].is_shadow);
}
