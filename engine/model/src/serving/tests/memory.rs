//! The memory that versions may have together: who goes when it is full, and that it comes back.

use truststram_base::ModelVersion;

use super::harness::{House, id, options, small};
use crate::ModelError;
use crate::serving::{EngineOptions, LoadOptions, ModelInfo, ModelState};

/// Bytes of one version of the small model without buffers, of its file, and of its buffers in one
/// worker after one request.
fn sizes() -> [u64; 3] {
    let house = House::new(&options());
    let model = house.load("m", 1, true);
    let bytes = house.engine.memory_bytes();
    house.ask(&model, 0, [0.0; 2]);
    house.take(1);
    let (engine, _) = house.close();
    [bytes, small(1.0).len() as u64, engine.memory_bytes() - bytes]
}

/// Room for so many versions, one of which may still be a file, and for the buffers of two.
fn room_for(versions: u64) -> EngineOptions {
    let [bytes, file, buffers] = sizes();
    assert!(2 * buffers < bytes && bytes < file, "{bytes} {file} {buffers}");
    let memory_bytes_max = Some((versions - 1) * bytes + file + 2 * buffers);
    EngineOptions { memory_bytes_max, loaded_max: 100, ..options() }
}

fn info(house: &House, version: u32) -> ModelInfo {
    let mut infos = house.engine.models().into_iter();
    infos.find(|info| info.version == ModelVersion(version)).unwrap()
}

/// The versions that have been evicted.
fn evicted(house: &House) -> Vec<u32> {
    let infos = house.engine.models().into_iter().filter(|info| info.is_evicted);
    infos.map(|info| info.version.0).collect()
}

/// Loads a version a moment later; nobody keeps a handle of it.
fn load_later(house: &House, version: u32) -> Result<(), ModelError> {
    house.clock.advance(1);
    let is_first = house.engine.models().is_empty();
    let options = LoadOptions { activate: is_first, ..LoadOptions::default() };
    house.load_with("m", version, small(version as f32), &options).map(drop)
}

#[test]
fn whoever_is_needed_stays_and_a_rollback_goes_last() {
    let house = House::new(&room_for(4));
    let (engine, m) = (&house.engine, id("m"));
    (1..=4).for_each(|version| load_later(&house, version).unwrap());
    engine.set_canary(&m, Some((ModelVersion(2), 5))).unwrap();
    engine.set_shadow(&m, Some(ModelVersion(3))).unwrap();
    engine.set_keep_warm(&m, ModelVersion(4), true).unwrap();
    let full = load_later(&house, 5).unwrap_err();
    assert!(matches!(full, ModelError::MemoryFull { .. }), "{full:?}");
    assert_eq!((info(&house, 5).state, evicted(&house)), (ModelState::Failed, vec![]));
    assert!(info(&house, 5).failure.unwrap().contains("bytes"));

    engine.set_canary(&m, None).unwrap();
    load_later(&house, 5).unwrap();
    assert_eq!(evicted(&house), [2]);
    assert_eq!(info(&house, 2).state, ModelState::Retired);
    let gone = engine.route(&m, Some(ModelVersion(2)), None);
    assert!(matches!(gone, Err(ModelError::Evicted { version: ModelVersion(2), .. })));

    // The version before the active one is the oldest, and yet it goes last.
    engine.activate(&m, ModelVersion(5)).unwrap();
    engine.set_shadow(&m, None).unwrap();
    load_later(&house, 6).unwrap();
    assert_eq!(evicted(&house), [2, 3]);
    load_later(&house, 7).unwrap();
    assert_eq!(evicted(&house), [2, 3, 6]);
    engine.set_keep_warm(&m, ModelVersion(7), true).unwrap();
    load_later(&house, 8).unwrap();
    assert_eq!(evicted(&house), [1, 2, 3, 6]);
    let gone = engine.roll_back(&m);
    assert!(matches!(gone, Err(ModelError::Evicted { version: ModelVersion(1), .. })), "{gone:?}");
    assert_eq!(engine.route(&m, None, None).unwrap().version(), ModelVersion(5));
    load_later(&house, 1).unwrap();
    assert_eq!(evicted(&house), [2, 3, 6, 8]);
    assert_eq!(engine.roll_back(&m).unwrap(), ModelVersion(1));
}

#[test]
fn the_version_that_nobody_asked_for_the_longest_time_goes_first() {
    let house = House::new(&room_for(3));
    (1..=3).for_each(|version| load_later(&house, version).unwrap());
    let model = |version| house.engine.route(&id("m"), Some(ModelVersion(version)), None).unwrap();
    house.clock.advance(10);
    house.ask(&model(2), 0, [0.0; 2]);
    // The only worker lets the second version go before it answers of the first one.
    house.ask(&model(1), 1, [0.0; 2]);
    house.take(2);
    load_later(&house, 4).unwrap();
    assert_eq!(evicted(&house), [3]);
    // Whoever holds a handle may still ask, so its version frees nothing and stays.
    let held = model(2);
    load_later(&house, 5).unwrap();
    assert_eq!(evicted(&house), [3, 4]);
    drop(held);
    load_later(&house, 6).unwrap();
    assert_eq!(evicted(&house), [2, 3, 4]);
}

#[test]
fn what_is_larger_than_all_memory_evicts_nobody() {
    let house = House::new(&room_for(2));
    (1..=2).for_each(|version| load_later(&house, version).unwrap());
    let large = vec![0; 1 << 20];
    let refused = house.load_with("large", 1, large, &LoadOptions::default());
    assert!(matches!(refused, Err(ModelError::MemoryFull { bytes: 1_048_576, .. })));
    assert!(evicted(&house).is_empty());
}

#[test]
fn all_memory_comes_back_with_the_buffers() {
    let house = House::new(&options());
    let [bytes, _, buffers] = sizes();
    for version in 1..=5 {
        let model = house.load("m", version, true);
        (0..10).for_each(|number| house.ask(&model, number, [0.0; 2]));
        house.take(10);
        let retired = (version > 1).then(|| ModelVersion(version - 1));
        retired.map_or(Ok(()), |old| house.engine.retire(&id("m"), old)).unwrap();
    }
    let (engine, _) = house.close();
    let info = engine.models().pop().unwrap();
    assert_eq!((info.version, info.memory.bytes()), (ModelVersion(5), bytes));
    assert!(info.session_bytes >= buffers);
    assert_eq!(engine.memory_bytes(), bytes + info.session_bytes);
    engine.retire(&id("m"), ModelVersion(5)).unwrap();
    assert_eq!(engine.memory_bytes(), 0);
}
