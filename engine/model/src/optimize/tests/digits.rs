//! A network trained on the digits: what each way to optimise it costs on rows it has not seen.

use std::fs;
use std::path::Path;

use super::small::none;
use crate::artifact::Artifact;
use crate::optimize::{DataSet, Int8, OptimizeOptions, Ranges, data_set_of_csv, optimize};

fn digits() -> (Artifact, DataSet) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/optimize");
    let artifact = Artifact::parse(&fs::read(folder.join("digits.safetensors")).unwrap()).unwrap();
    let text = fs::read_to_string(folder.join("digits.csv")).unwrap();
    let data = data_set_of_csv(&text, &artifact.signature).unwrap();
    (artifact, data)
}

#[test]
fn the_digits_keep_their_accuracy() {
    let (artifact, data) = digits();
    assert_eq!(data.row_count(), 450);
    let int8 = |kind| OptimizeOptions { int8: Some(kind), ..none() };
    for (options, difference_max) in [
        (OptimizeOptions { fuse: true, ..none() }, 0.0),
        (OptimizeOptions { bf16: true, ..none() }, 0.05),
        (int8(Int8::Dynamic), 0.1),
        (int8(Int8::Static(Ranges::MinMax)), 0.3),
        // A row far outside of the range is held at its end, and may get another class.
        (int8(Int8::Static(Ranges::Percentile(99.99))), 1.0),
        (OptimizeOptions { prune_l1: Some(0.2), ..none() }, 0.3),
        (OptimizeOptions { prune_l1: Some(0.2), bf16: true, ..int8(Int8::Dynamic) }, 0.3),
    ] {
        let options = OptimizeOptions { accuracy_loss_max: Some(0.005), ..options };
        let (made, report) = optimize(&artifact, &options, Some(&data)).unwrap();
        report.ensure_within_limit().unwrap();
        let quality = report.quality.unwrap();
        assert!(quality.accuracy_before.unwrap() > 0.97, "{quality:?}");
        assert!(quality.agreement.unwrap() >= 0.99, "{options:?} {quality:?}");
        assert!(quality.difference_max <= difference_max, "{options:?} {quality:?}");
        assert_eq!(made.dense, artifact.dense);
    }
}

#[test]
fn a_network_pruned_too_far_is_refused() {
    let (artifact, data) = digits();
    let options = OptimizeOptions { prune_l1: Some(0.95), accuracy_loss_max: Some(0.01), ..none() };
    let (_, report) = optimize(&artifact, &options, Some(&data)).unwrap();
    let refused = report.ensure_within_limit().unwrap_err().to_string();
    assert!(refused.contains("the limit is 0.01"), "{refused}");
}
