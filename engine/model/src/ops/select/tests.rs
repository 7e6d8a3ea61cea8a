//! Operators whose results depend on values, on a few of them.

use crate::ops::support::{Case, ints};
use crate::tensor::Tensor;

fn tensor(dims: &[usize], values: &[f32]) -> Tensor {
    Tensor::of(dims, values.to_vec()).unwrap()
}

#[test]
fn the_largest_come_first() {
    let top = |values: &[f32], largest: i64| {
        let case = Case::new("TopK", 11).input(tensor(&[values.len()], values)).input(ints(&[2]));
        case.int("largest", largest).outputs(2).run().unwrap().remove(1)
    };
    assert_eq!(top(&[1.0, 3.0, 3.0, 2.0], 1), ints(&[1, 2]));
    assert_eq!(top(&[1.0, 3.0, 1.0, 2.0], 0), ints(&[0, 2]));
    assert_eq!(top(&[1.0, f32::NAN, 3.0], 1), ints(&[1, 2]));
    Case::new("TopK", 11).input(ints(&[1])).input(ints(&[2])).outputs(2).fails();
    let columns = Case::new("TopK", 9).input(tensor(&[2, 2], &[1.0, 4.0, 3.0, 2.0]));
    columns.int("axis", 0).int("k", 1).outputs(2).gives(&tensor(&[1, 2], &[3.0, 4.0]));
}

#[test]
fn each_value_once() {
    let unique = |sorted: i64| {
        let case = Case::new("Unique", 11).input(ints(&[2, 1, 1, 3])).int("sorted", sorted);
        case.outputs(4).run().unwrap()
    };
    let of = |lists: [&[i64]; 4]| lists.map(ints).to_vec();
    assert_eq!(unique(1), of([&[1, 2, 3], &[1, 0, 3], &[1, 0, 0, 2], &[2, 1, 1]]));
    assert_eq!(unique(0), of([&[2, 1, 3], &[0, 1, 3], &[0, 1, 1, 2], &[1, 2, 1]]));
    let rows = Tensor::of(&[3, 2], vec![1i64, 0, 0, 5, 1, 0]).unwrap();
    let rows = Case::new("Unique", 11).input(rows).int("axis", 0).outputs(4);
    assert_eq!(rows.run().unwrap()[0], Tensor::of(&[2, 2], vec![0i64, 5, 1, 0]).unwrap());
}

#[test]
fn places_of_values() {
    let found = Tensor::of(&[2, 2], vec![0i64, 1, 1, 0]).unwrap();
    Case::new("NonZero", 13).input(tensor(&[2, 2], &[0.0, 1.0, f32::NAN, -0.0])).gives(&found);
    let boxes = tensor(&[1, 3, 4], &[0.0, 0.0, 1.0, 1.0, 0.0, 0.1, 1.0, 1.1, 5.0, 5.0, 6.0, 6.0]);
    let case = Case::new("NonMaxSuppression", 11).input(boxes);
    let case = case.input(tensor(&[1, 1, 3], &[0.5, 0.9, 0.7])).input(ints(&[9]));
    let kept = Tensor::of(&[2, 3], vec![0i64, 0, 1, 0, 0, 2]).unwrap();
    case.input(tensor(&[1], &[0.5])).gives(&kept);
}
