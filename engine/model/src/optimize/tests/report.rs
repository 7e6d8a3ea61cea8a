//! What the report says: accuracy against labels, the limit, and that it survives JSON.

use super::small::{answer, dense, imported, none, rows};
use crate::error::ModelError;
use crate::optimize::{
    DataRows, DataSet, Int8, OptimizeOptions, Report, StepName, data_set_of_csv, optimize,
};

/// The rows with the classes that the model gives them, but for the first ones.
fn labelled(count: usize, wrong: usize) -> DataSet {
    let mut data = rows(count, 64);
    let answers = answer(&imported(), &data);
    let label = |(row, probabilities): (usize, &[f32])| {
        let most = probabilities.iter().copied().fold(0.0, f32::max);
        let class = probabilities.iter().position(|value| *value == most).unwrap() as u32;
        if row < wrong { (class + 1) % 4 } else { class }
    };
    data.labels = Some(answers.chunks(4).enumerate().map(label).collect());
    data
}

#[test]
fn accuracy_is_that_of_the_labels() {
    let fuse = OptimizeOptions { fuse: true, accuracy_loss_max: Some(0.0), ..none() };
    let (_, report) = optimize(&imported(), &fuse, Some(&labelled(40, 10))).unwrap();
    let quality = report.quality.clone().unwrap();
    assert_eq!((quality.accuracy_before, quality.accuracy_after), (Some(0.75), Some(0.75)));
    assert_eq!((quality.agreement, quality.accuracy_loss), (Some(1.0), Some(0.0)));
    assert_eq!(report.is_within_limit, Some(true));
    report.ensure_within_limit().unwrap();
    assert_eq!(report.before.row_us_batch_1.map(|time| time > 0.0), Some(true));
    assert!(report.after().row_us_batch_32.is_some());
}

#[test]
fn a_loss_above_the_limit_is_refused_by_name() {
    // Without weights every row has the class of the largest bias.
    let prune =
        |max| OptimizeOptions { prune_l1: Some(1.0), accuracy_loss_max: Some(max), ..none() };
    let data = labelled(40, 0);
    let (made, report) = optimize(&imported(), &prune(0.01), Some(&data)).unwrap();
    assert_eq!(report.after().zero_share, 1.0);
    assert_eq!(report.is_within_limit, Some(false));
    let quality = report.quality.as_ref().unwrap();
    assert_eq!(quality.accuracy_before, Some(1.0));
    let lost = quality.accuracy_loss.unwrap();
    assert!(lost > 0.01 && quality.agreement.unwrap() < 1.0, "{quality:?}");
    let refused = report.ensure_within_limit().unwrap_err();
    let ModelError::AccuracyLoss { loss, limit } = &refused else { panic!("{refused}") };
    assert_eq!((*loss, *limit), (lost, 0.01));
    assert!(refused.to_string().contains("the limit is 0.01"), "{refused}");
    assert!(made.validate().is_ok());
    // The loss is within itself; without labels it is the share of other classes.
    let (_, report) = optimize(&imported(), &prune(lost), Some(&data)).unwrap();
    assert_eq!(report.is_within_limit, Some(true));
    let data = rows(40, 64);
    let (_, report) = optimize(&imported(), &prune(0.01), Some(&data)).unwrap();
    let quality = report.quality.unwrap();
    assert_eq!(quality.accuracy_before, None);
    assert_eq!(quality.accuracy_loss, quality.agreement.map(|kept| 1.0 - kept));
    assert_eq!(report.is_within_limit, Some(false));
}

#[test]
fn a_report_survives_json() {
    let check = |report: &Report| {
        let text = serde_json::to_string(report).unwrap();
        let mut read: Report = serde_json::from_str(&text).unwrap();
        // The last bit of a long fraction may differ.
        if let (Some(read), Some(quality)) = (&mut read.quality, &report.quality) {
            assert!((read.difference_max - quality.difference_max).abs() < 1e-12);
            assert!((read.difference_mean - quality.difference_mean).abs() < 1e-12);
            *read = quality.clone();
        }
        assert_eq!(&read, report);
    };
    let options = OptimizeOptions { int8: Some(Int8::Dynamic), ..none() };
    let (_, report) = optimize(&imported(), &options, Some(&labelled(20, 3))).unwrap();
    assert_eq!(report.steps[0].name, StepName::Fuse);
    check(&report);
    let (_, report) = optimize(&dense(&[64, 32, 2]), &options, None).unwrap();
    assert_eq!((report.quality.clone(), report.is_within_limit), (None, None));
    check(&report);
}

#[test]
fn csv_becomes_rows_and_labels() {
    let mut signature = dense(&[2, 3, 3]).signature;
    let crate::artifact::Task::Classify { classes, .. } = &mut signature.task else { panic!() };
    *classes = ["low", "mid", "7"].map(str::to_owned).into();
    let read = |text: &str| data_set_of_csv(text, &signature);
    let check = |text: &str, labels: Option<&[u32]>| {
        let data = read(text).unwrap();
        let rows = vec![vec![1.0, 2.5], vec![-3.0, 4e2]];
        assert_eq!(data.rows, DataRows::Features(rows), "{text}");
        assert_eq!(data.labels.as_deref(), labels, "{text}");
    };
    check("1,2.5\n-3,4e2\n", None);
    check("1, 2.5, mid\n\n-3, 4e2, low\n", Some(&[1, 0]));
    check("1,2.5,2\n-3,4e2,0\n", Some(&[2, 0]));
    check("1,2.5,7\n-3,4e2,7\n", Some(&[2, 2]));
    check("a,b,label\n1,2.5,mid\n-3,4e2,7\n", Some(&[1, 2]));
    check("2,2,mid,low\n1,2.5,0\n-3,4e2,1\n", Some(&[1, 0]));
    let refused = |text: &str, expected: &str| {
        let found = read(text).unwrap_err().to_string();
        assert!(found.contains(expected), "{found:?} does not say {expected:?}");
    };
    refused("1,2\n1,x\n", "line 2: `x` is not a number");
    refused("1,2\n1,inf\n", "line 2: `inf` is not a number");
    refused("1,2,mid\n1,2\n", "line 2: a label in some rows");
    refused("1,2\n1,2,mid\n", "line 2: a label in some rows");
    refused("1,3,mid,4\n", "line 1: 4 columns, expected 2 features");
    refused("1,2,mid\n1,2,high\n", "line 2: `high` is no class");
    refused("1,2,mid\n1,2,0\n", "others are indices");
    refused("2,2,mid,high\n1,2,1\n", "line 2: `1` is no class");
    refused("a,b\n1\n", "line 2: 1 columns");
    refused("a,b\n", "no rows");
    refused("1\n1,2\n", "line 1: 1 columns");
    refused("1,x\n1,2\n", "line 1: `x` is not a number");
}
