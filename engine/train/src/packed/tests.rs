//! Rows in a file are trained on as rows in memory are, to the bit.

use super::*;
use crate::data::{DIGITS_HELD_OUT_SHARE, DIGITS_SEED, digits};
use crate::fit::{Checkpoints, Go, Outcome, train};
use crate::spec::{EarlyStop, TrainSpec};

fn packed(folder: &Path, data: &Dataset, is_of_classes: bool, ring: RingMode) -> Dataset {
    let mut packer = Packer::create(&folder.join("rows"), is_of_classes, ring).unwrap();
    for row in 0..data.rows() {
        let target = match is_of_classes {
            true => data.classes[data.labels[row] as usize].clone(),
            false => data.labels[row].to_string(),
        };
        packer.add(data.row(row), &target).unwrap();
    }
    packer.finish().unwrap()
}

#[test]
fn rows_in_a_file_give_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let memory = digits().unwrap();
    let file = packed(folder.path(), &memory, true, RingMode::Auto);
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "the file has no name");
    assert_eq!((&file.labels, &file.classes), (&memory.labels, &memory.classes));
    let plain = packed(folder.path(), &memory, true, RingMode::Off);
    let stop = Some(EarlyStop { patience: 3, gain_min: 0.0 });
    let split = |data: &Dataset| data.split(DIGITS_HELD_OUT_SHARE, DIGITS_SEED);
    for (accumulate, standardise) in [(1, true), (3, false)] {
        let spec = TrainSpec {
            epochs: 2,
            batch_size: 24,
            accumulate,
            standardise,
            early_stop: stop,
            ..TrainSpec::default()
        };
        let run = |data: &Dataset| -> Outcome {
            train(&split(data), &spec, &[], None, &mut |_| Go::On).unwrap().unwrap()
        };
        let (a, b) = (run(&memory), run(&file));
        assert!(run(&plain).model.to_bytes().unwrap() == b.model.to_bytes().unwrap());
        assert!(a.model.to_bytes().unwrap() == b.model.to_bytes().unwrap());
        assert_eq!(a.held_out, b.held_out);
    }
    // A checkpoint of the one is one of the other, whatever sizes the parts have by then.
    let files = Checkpoints { path: folder.path().join("checkpoint"), every_steps: 1_000 };
    let spec = TrainSpec { epochs: 2, ..TrainSpec::default() };
    let run = |data: &Dataset, files: Option<&Checkpoints>, last: u64| {
        let mut note = |step: &crate::fit::Step| match step.step {
            7 => Go::Shrink,
            step if step == last => Go::Stop,
            _ => Go::On,
        };
        let outcome = train(&split(data), &spec, &[], files, &mut note).unwrap();
        outcome.map(|outcome| outcome.model.to_bytes().unwrap())
    };
    assert!(run(&file, Some(&files), 50).is_none());
    assert!(run(&memory, Some(&files), 0) == run(&file, None, 0));
}

#[test]
fn numbers_are_packed_and_what_is_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let memory = digits().unwrap();
    let numbers = packed(folder.path(), &memory, false, RingMode::Off);
    assert!(numbers.classes.is_empty() && numbers.labels.is_empty());
    assert_eq!(numbers.values[..3], [0.0, 1.0, 2.0]);
    let check = |rows: &[(&[f32], &str)], is_of_classes: bool, expected: &str| {
        let mut packer =
            Packer::create(&folder.path().join("rows"), is_of_classes, RingMode::Off).unwrap();
        let added = rows.iter().try_for_each(|(features, target)| packer.add(features, target));
        let error = added.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(&[(&[], "a")], true, "different lengths");
    check(&[(&[1.0], "a"), (&[1.0, 2.0], "a")], true, "different lengths");
    check(&[(&[f32::NAN], "a")], true, "not finite");
    check(&[(&[1.0], "a")], false, "not numbers");
    assert!(Packer::create(&folder.path().join("none/rows"), true, RingMode::Auto).is_err());
}
