//! Operators along axes, at the ends of their types.

use std::slice;

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

fn ramp(dims: &[usize]) -> Tensor {
    let count: usize = dims.iter().product();
    Tensor::of(dims, (0..count).map(|value| value as f32).collect()).unwrap()
}

fn einsum(equation: &str, inputs: &[Tensor]) -> Case {
    let case = Case::new("Einsum", 12).text("equation", equation);
    inputs.iter().fold(case, |case, input| case.input(input.clone()))
}

#[test]
fn sums_over_named_dimensions() {
    let gives = |equation: &str, inputs: &[&[usize]], dims: &[usize], wanted: &[f32]| {
        let inputs: Vec<Tensor> = inputs.iter().map(|dims| ramp(dims)).collect();
        let wanted = Tensor::of(dims, wanted.to_vec()).unwrap();
        einsum(equation, &inputs).gives(&wanted);
        let wholes: Vec<Tensor> = inputs
            .iter()
            .map(|input| {
                let values = input.values::<f32>().unwrap().iter().map(|value| *value as i64);
                Tensor::of(input.shape(), values.collect()).unwrap()
            })
            .collect();
        let values = wanted.values::<f32>().unwrap().iter().map(|value| *value as i64);
        einsum(equation, &wholes).gives(&Tensor::of(dims, values.collect()).unwrap());
    };
    gives("ij,jk->ik", &[&[2, 2], &[2, 2]], &[2, 2], &[2.0, 3.0, 6.0, 11.0]);
    gives("ij,jk->ki", &[&[2, 2], &[2, 2]], &[2, 2], &[2.0, 6.0, 3.0, 11.0]);
    gives("i j , j k", &[&[2, 2], &[2, 2]], &[2, 2], &[2.0, 3.0, 6.0, 11.0]);
    gives("ba", &[&[2, 2]], &[2, 2], &[0.0, 2.0, 1.0, 3.0]);
    gives("ij->", &[&[2, 3]], &[], &[15.0]);
    gives("ii->i", &[&[3, 3]], &[3], &[0.0, 4.0, 8.0]);
    gives("ii", &[&[3, 3]], &[], &[12.0]);
    gives("...ii->...i", &[&[1, 2, 2]], &[1, 2], &[0.0, 3.0]);
    gives("i,j->ij", &[&[2], &[3]], &[2, 3], &[0.0, 0.0, 0.0, 0.0, 1.0, 2.0]);
    gives("i,i,i->", &[&[3], &[3], &[3]], &[], &[9.0]);
    gives("ij,k->i", &[&[2, 2], &[3]], &[2], &[3.0, 15.0]);
    gives("ii,ij->j", &[&[2, 2], &[2, 2]], &[2], &[6.0, 9.0]);
    gives("...ij,...jk->...ik", &[&[2, 1, 2], &[1, 2, 1]], &[2, 1, 1], &[1.0, 3.0]);
    gives("bhwc,hkc->bhwk", &[&[1, 1, 1, 2], &[1, 2, 2]], &[1, 1, 1, 2], &[1.0, 3.0]);
    gives("ij,ij->ij", &[&[2, 2], &[2, 2]], &[2, 2], &[0.0, 1.0, 4.0, 9.0]);
    gives("ij,jk->ik", &[&[1, 0], &[0, 2]], &[1, 2], &[0.0, 0.0]);
}

#[test]
fn equations_that_are_none() {
    let square = ramp(&[2, 2]);
    for equation in ["ij,jk->ik", "ij->ik", "ij->ii", "i1->i", "......", "...j->j", "i..j"] {
        einsum(equation, slice::from_ref(&square)).refused();
    }
    einsum("i->i", slice::from_ref(&square)).fails();
    einsum("ijk->i", slice::from_ref(&square)).fails();
    einsum("ij,jk->ik", &[square, ramp(&[3, 1])]).fails();
}

#[test]
fn determinants_and_deviations() {
    let det = |dims: &[usize], values: &[f32], wanted: Tensor| {
        Case::new("Det", 22).input(Tensor::of(dims, values.to_vec()).unwrap()).gives(&wanted);
    };
    det(&[2, 2], &[0.0, 2.0, 3.0, 1.0], Tensor::scalar(-6f32));
    det(&[2, 2], &[0.0, 2.0, 0.0, 1.0], Tensor::scalar(0f32));
    det(&[1, 1, 1], &[5.0], row(&[5.0]));
    Case::new("Det", 22).input(ramp(&[2, 3])).fails();
    let values = Tensor::of(&[2, 1, 1, 2], vec![1f32, 3.0, 1.0, 3.0]).unwrap();
    let wanted = Tensor::of(&[2, 1, 1, 2], vec![-1f32, 1.0, -1.0, 1.0]).unwrap();
    Case::new("MeanVarianceNormalization", 13).input(values).gives(&wanted);
}

#[test]
fn losses_of_what_is_no_class() {
    let loss = |target: i64| {
        let scores = Tensor::of(&[1, 2], vec![-1f32, -2.0]).unwrap();
        let case = Case::new("NegativeLogLikelihoodLoss", 13).input(scores);
        case.input(ints(&[target])).int("ignore_index", -7)
    };
    loss(1).gives(&Tensor::scalar(2f32));
    loss(2).fails();
    loss(-1).fails();
    numbers(loss(-7), &[NAN]);
    loss(-7).text("reduction", "sum").gives(&Tensor::scalar(0f32));
}
