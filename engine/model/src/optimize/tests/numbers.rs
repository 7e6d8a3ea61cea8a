//! Layers in fewer bits: near those in f32, the same after their file, and smaller.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::small::{answer, dense, encoder, imported, none, rows, texts};
use crate::artifact::Artifact;
use crate::graph::Attribute;
use crate::optimize::{DataSet, Int8, OptimizeOptions, Ranges, Report, optimize};
use crate::program::{BuildOptions, Program};
use crate::serving::validate;
use crate::tensor::DType;

fn int8(kind: Int8) -> OptimizeOptions {
    OptimizeOptions { int8: Some(kind), ..none() }
}

/// The precisions of the linear layers, in order.
fn precisions(report: &Report) -> Vec<&str> {
    report.layers.iter().map(|layer| layer.precision.as_str()).collect()
}

/// Optimises, sends the result through its file, and asserts that its answers keep their bits there
/// and differ from those before by at most `bound`.
#[track_caller]
fn check(
    before: &Artifact,
    options: &OptimizeOptions,
    data: &DataSet,
    bound: f32,
) -> (Artifact, Report) {
    let (after, report) = optimize(before, options, Some(data)).unwrap();
    let bytes = after.to_bytes().unwrap();
    assert_eq!(report.after().file_bytes, bytes.len() as u64);
    let read = Artifact::parse(&bytes).unwrap();
    assert_eq!(read.to_bytes().unwrap(), bytes);
    assert_eq!(read.dense, before.dense);
    assert_eq!(read.tokenizer, before.tokenizer);
    // As a load does before the version is used.
    let program = Arc::new(Program::build(&read.graph, &BuildOptions::default()).unwrap());
    let until = Instant::now() + Duration::from_secs(60);
    validate(&program, &read.signature, &read.samples, until).unwrap();
    let found = answer(&read, data);
    assert_eq!(found, answer(&after, data));
    let expected = answer(before, data);
    assert_eq!(found.len(), expected.len());
    let mut worst = 0.0_f32;
    for (found, expected) in found.iter().zip(&expected) {
        worst = worst.max((found - expected).abs());
    }
    assert!(worst <= bound, "{worst} is more than {bound}");
    let quality = report.quality.as_ref().unwrap();
    assert_eq!(quality.row_count, data.row_count());
    assert!((quality.difference_max - f64::from(worst)).abs() <= 1e-6, "{quality:?} {worst}");
    assert!(quality.difference_mean <= quality.difference_max);
    (after, report)
}

#[test]
fn int8_rows_by_themselves_are_near() {
    let before = dense(&[64, 128, 40, 10]);
    let (after, report) = check(&before, &int8(Int8::Dynamic), &rows(200, 64), 0.02);
    assert_eq!(precisions(&report), ["int8", "int8", "f32"]);
    assert!(report.quality.as_ref().unwrap().agreement.unwrap() >= 0.97);
    // 13,312 weights of one byte instead of four.
    let saved = report.before.file_bytes - report.after().file_bytes;
    assert!(saved > 13_312 * 3 - 2_000, "{saved}");
    assert!(report.after().memory_bytes < report.before.memory_bytes / 2);
    let weight = after.graph.nodes[1].inputs[1].unwrap();
    assert_eq!(after.graph.constant(weight).unwrap().dtype(), DType::I8);
    // The same as quantising when the program is built.
    let mut late = before.clone();
    for index in [1, 2] {
        let precision = Attribute::String("int8".to_owned());
        late.graph.nodes[index].attributes.insert("precision".to_owned(), precision);
    }
    let data = rows(200, 64);
    assert_eq!(answer(&late, &data), answer(&after, &data));
}

#[test]
fn int8_rows_all_alike_are_near() {
    let before = dense(&[64, 128, 40, 10]);
    for ranges in [Ranges::MinMax, Ranges::Percentile(99.99)] {
        let options = int8(Int8::Static(ranges));
        let (after, report) = check(&before, &options, &rows(200, 64), 0.03);
        assert_eq!(precisions(&report), ["int8", "int8", "f32"]);
        let scales: Vec<bool> =
            report.layers.iter().map(|layer| layer.input_scale.is_some()).collect();
        assert_eq!(scales, [true, true, false]);
        // Behind a ReLU nothing is below 0.
        let zero_point = after.graph.nodes[2].attributes.get("input_zero_point");
        assert_eq!(zero_point, Some(&Attribute::Int(0)));
    }
}

#[test]
fn bf16_halves_the_file() {
    let before = dense(&[64, 128, 40, 10]);
    let options = OptimizeOptions { bf16: true, ..none() };
    let data = rows(100, 64);
    let (after, report) = check(&before, &options, &data, 0.02);
    assert_eq!(precisions(&report), ["bf16"; 3]);
    // 13,712 weights of two bytes instead of four.
    let saved = report.before.file_bytes - report.after().file_bytes;
    assert!(saved > 13_712 * 2 - 500, "{saved}");
    let mut late = before.clone();
    for index in [1, 2, 3] {
        let precision = Attribute::String("bf16".to_owned());
        late.graph.nodes[index].attributes.insert("precision".to_owned(), precision);
    }
    assert_eq!(answer(&late, &data), answer(&after, &data));
}

#[test]
fn steps_follow_each_other() {
    let before = dense(&[64, 128, 40, 10]);
    let options = OptimizeOptions {
        fuse: true,
        prune_l1: Some(0.1),
        int8: Some(Int8::Dynamic),
        bf16: true,
        accuracy_loss_max: None,
    };
    let (_, report) = check(&before, &options, &rows(100, 64), 0.1);
    let names: Vec<&str> = report.steps.iter().map(|step| step.name.name()).collect();
    assert_eq!(names, ["fuse", "prune_l1", "int8", "bf16"]);
    assert_eq!(precisions(&report), ["int8", "int8", "bf16"]);
    // Small weights become zero in 8-bit numbers too.
    assert!(report.after().zero_share >= report.steps[1].after.zero_share);
    assert_eq!(report.steps[1].after.zero_share, 1371.0 / 13_712.0);
}

#[test]
fn imports_are_fused_first() {
    let before = imported();
    let fuse = OptimizeOptions { fuse: true, ..none() };
    let (after, report) = check(&before, &fuse, &rows(50, 64), 1e-6);
    assert_eq!(report.operators, "Linear, Softmax");
    assert_eq!(after.graph.nodes.len(), 3);
    let (after, report) = check(&before, &int8(Int8::Dynamic), &rows(50, 64), 0.03);
    assert_eq!(precisions(&report), ["int8", "f32"]);
    assert_eq!(after.graph.nodes.len(), 3);
    let options = int8(Int8::Static(Ranges::MinMax));
    let (_, report) = check(&before, &options, &rows(50, 64), 0.05);
    assert_eq!(precisions(&report), ["int8", "f32"]);
}

#[test]
fn the_layers_of_an_encoder_are_quantised() {
    let before = encoder();
    let data = texts(40);
    let size = answer(&before, &data).iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    for (options, precision) in [
        (int8(Int8::Dynamic), "int8"),
        (int8(Int8::Static(Ranges::MinMax)), "int8"),
        (int8(Int8::Static(Ranges::Percentile(99.99))), "int8"),
        (OptimizeOptions { bf16: true, ..none() }, "bf16"),
    ] {
        let (_, report) = check(&before, &options, &data, 0.03 * size);
        assert_eq!(precisions(&report), [precision; 4], "{options:?}");
        let quality = report.quality.unwrap();
        assert_eq!((quality.accuracy_after, quality.agreement), (None, None));
        assert!(quality.similarity.unwrap() > 0.999, "{quality:?}");
        assert_eq!(quality.accuracy_loss, Some(1.0 - quality.similarity.unwrap()));
    }
}
