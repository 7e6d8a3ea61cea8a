//! A report of a training, and of names that want to be more than text.

use super::*;
use crate::data::{DIGITS_HELD_OUT_SHARE, DIGITS_SEED, digits};
use crate::fit::{Go, train};

#[test]
fn a_report_shows_what_the_training_did() {
    let split = digits().unwrap().split(DIGITS_HELD_OUT_SHARE, DIGITS_SEED);
    let spec = TrainSpec { epochs: 2, ..TrainSpec::default() };
    let mut curve = Curve::default();
    let outcome = train(&split, &spec, &[], None, &mut |step| {
        curve.add(step);
        Go::On
    });
    let outcome = outcome.unwrap().unwrap();
    let mut report = Report::new("digits", &spec, &outcome, curve);
    report.say("Model", Some("digits, version 3".to_owned()));
    report.say("Nothing", None);
    let text = serde_json::to_string(&report).unwrap();
    let read = serde_json::from_str::<Report>(&text).unwrap();
    assert_eq!((&read.card, &read.confusion), (&report.card, &report.confusion));
    assert_eq!(read.curve.steps.points.len(), report.curve.steps.points.len());
    let page = report.page();
    assert_eq!(page.matches("<svg").count(), 2);
    assert_eq!(page.matches("<polyline").count(), 3);
    let accuracy = outcome.held_out.accuracy.unwrap();
    assert!(page.contains(&format!("{:.2} %", accuracy * 100.0)), "{page}");
    assert!(page.contains("digits, version 3") && !page.contains("Nothing"));
    assert_eq!(page.matches("class=\"right\"").count(), 10);
    let rows: u64 = (0..10).map(|class| report.figures(class).rows).sum();
    assert_eq!(rows, split.held_out.rows() as u64);
}

#[test]
fn figures_of_classes_are_those_of_the_matrix() {
    let report = Report {
        classes: ["a", "b", "c"].map(str::to_owned).into(),
        confusion: vec![vec![8, 2, 0], vec![4, 6, 0], vec![0, 0, 0]],
        ..Report::default()
    };
    let check = |class: usize, rows: u64, expected: [Option<f64>; 3]| {
        let found = report.figures(class);
        assert_eq!(found.rows, rows);
        for (found, expected) in [found.precision, found.recall, found.f1].iter().zip(expected) {
            let is_near = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() < 1e-12,
                (found, expected) => *found == expected,
            };
            assert!(is_near, "{class}: {found:?} is not {expected:?}");
        }
    };
    check(0, 10, [Some(8.0 / 12.0), Some(0.8), Some(16.0 / 22.0)]);
    check(1, 10, [Some(6.0 / 8.0), Some(0.6), Some(12.0 / 18.0)]);
    check(2, 0, [None, None, None]);
    assert!(report.page().contains("–"));
}

#[test]
fn names_are_text_whatever_they_hold() {
    let evil = "</style><script>alert(\"1\" + '2' & 3)</script>";
    let report = Report {
        title: evil.to_owned(),
        card: vec![(evil.to_owned(), evil.to_owned())],
        spec: evil.to_owned(),
        classes: vec![evil.to_owned(); 60],
        confusion: vec![vec![1; 60]; 60],
        ..Report::default()
    };
    let page = report.page();
    assert!(!page.contains("<script") && !page.contains("alert(\"1\""), "{page}");
    assert_eq!(page.matches("</style>").count(), 1);
    assert!(page.contains("The 40 largest of 60 classes"));
}
