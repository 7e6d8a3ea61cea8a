//! Operators along axes, at the ends of their types.

use crate::ops::support::{Case, ints};
use crate::tensor::Tensor;

const NAN: f32 = f32::NAN;
const INF: f32 = f32::INFINITY;

fn row(values: &[f32]) -> Tensor {
    Tensor::of(&[values.len()], values.to_vec()).unwrap()
}

/// Asserts that a case gives these numbers, NaN where NaN is.
fn numbers(case: Case, wanted: &[f32]) {
    let found = case.run().unwrap();
    let found = found[0].values::<f32>().unwrap();
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        let same = found == wanted || (found.is_nan() && wanted.is_nan());
        assert!(same, "{found}, expected {wanted}");
    }
}

#[test]
fn what_is_no_number_stays_in_reductions() {
    let all = |operator: &str, values: &[f32]| {
        Case::new(operator, 18).input(row(values)).int("keepdims", 0)
    };
    for operator in ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp"] {
        let operator = format!("Reduce{operator}");
        for values in [[NAN, 1.0, 2.0], [1.0, NAN, 2.0], [1.0, INF, NAN], [NAN, -INF, 0.0]] {
            numbers(all(&operator, &values), &[NAN]);
        }
    }
    numbers(all("ReduceLogSumExp", &[-INF, -INF]), &[-INF]);
    numbers(all("ReduceLogSumExp", &[-INF, 3.0]), &[3.0]);
    numbers(all("ReduceLogSumExp", &[INF, 3.0, -INF]), &[INF]);
}

#[test]
fn what_is_no_number_is_the_most() {
    let place = |operator: &str, last: i64, wanted: i64| {
        let case = Case::new(operator, 13).input(row(&[1.0, NAN, 3.0, NAN, -4.0]));
        case.int("select_last_index", last).gives(&ints(&[wanted]));
    };
    for operator in ["ArgMax", "ArgMin"] {
        place(operator, 0, 1);
        place(operator, 1, 3);
    }
    numbers(Case::new("Hardmax", 13).input(row(&[1.0, NAN, 3.0])), &[0.0, 1.0, 0.0]);
}

#[test]
fn shares_of_no_numbers_are_none() {
    for operator in ["Softmax", "LogSoftmax"] {
        for values in [[1.0, NAN, 2.0], [1.0, INF, 2.0], [-INF; 3]] {
            numbers(Case::new(operator, 13).input(row(&values)), &[NAN; 3]);
        }
    }
    let shares = Case::new("Softmax", 13).input(row(&[0.0, -INF, 0.0]));
    numbers(shares, &[0.5, 0.0, 0.5]);
}

#[test]
fn statistics_are_in_32_bits() {
    let case = |operator: &str, opset: u32, stash: i64| {
        let x = Tensor::of(&[1, 2, 1], vec![1f32, 1.0]).unwrap();
        let case = Case::new(operator, opset).input(x).int("stash_type", stash);
        match operator {
            "GroupNormalization" => {
                case.input(row(&[1.0; 2])).input(row(&[0.0; 2])).int("num_groups", 1)
            }
            _ => case.input(row(&[1.0])),
        }
    };
    for (operator, opset) in
        [("LayerNormalization", 17), ("RMSNormalization", 23), ("GroupNormalization", 21)]
    {
        assert!(case(operator, opset, 1).run().is_ok(), "{operator}");
        case(operator, opset, 10).refused();
    }
}
