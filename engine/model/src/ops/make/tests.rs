//! Operators that make tensors, each on a few small ones.

use crate::graph::Attribute;
use crate::ops::support::{Case, ints};
use crate::tensor::Tensor;

#[test]
fn numbers_in_a_row() {
    let range = |start: i64, limit: i64, step: i64| {
        let case = Case::new("Range", 11).input(Tensor::scalar(start));
        case.input(Tensor::scalar(limit)).input(Tensor::scalar(step))
    };
    range(10, 4, -3).gives(&ints(&[10, 7]));
    range(0, 7, 3).gives(&ints(&[0, 3, 6]));
    range(4, 0, 1).gives(&ints(&[]));
    range(0, 4, 0).fails();
    range(i64::MIN, i64::MAX, 1).fails();
    let real = |limit: f32| {
        let case = Case::new("Range", 11).input(Tensor::scalar(0f32)).input(Tensor::scalar(limit));
        case.input(Tensor::scalar(0.5f32))
    };
    real(1.2).gives(&Tensor::of(&[3], vec![0f32, 0.5, 1.0]).unwrap());
    real(f32::INFINITY).fails();
    real(1e30).fails();
}

#[test]
fn shapes_as_values() {
    let tensor = Tensor::of(&[2, 0, 3], Vec::<f32>::new()).unwrap();
    Case::new("Shape", 13).input(tensor.clone()).gives(&ints(&[2, 0, 3]));
    Case::new("Shape", 15).input(tensor.clone()).int("start", -1).gives(&ints(&[3]));
    let range = Case::new("Shape", 15).input(tensor.clone()).int("start", 2);
    range.int("end", i64::MIN).gives(&ints(&[]));
    Case::new("Shape", 14).input(tensor.clone()).int("start", 0).refused();
    Case::new("Size", 13).input(tensor).gives(&Tensor::scalar(0i64));
}

#[test]
fn constants_and_places() {
    Case::new("Constant", 13).ints("value_ints", &[1, 2]).gives(&ints(&[1, 2]));
    Case::new("Constant", 11).ints("value_ints", &[1, 2]).refused();
    let seven = Attribute::Tensor(std::sync::Arc::new(ints(&[7])));
    let filled = Case::new("ConstantOfShape", 9).input(ints(&[2])).with("value", seven);
    filled.gives(&ints(&[7, 7]));
    Case::new("ConstantOfShape", 9).input(ints(&[-1])).fails();
    let eye = Case::new("EyeLike", 9).input(Tensor::of(&[2, 3], vec![0u8; 6]).unwrap()).int("k", 1);
    eye.gives(&Tensor::of(&[2, 3], vec![0u8, 1, 0, 0, 0, 1]).unwrap());
    let hot = Case::new("OneHot", 11).input(ints(&[-1, 0, 5])).input(Tensor::scalar(2f32));
    let hot = hot.input(Tensor::of(&[2], vec![false, true]).unwrap()).int("axis", 0);
    hot.gives(&Tensor::of(&[2, 3], vec![false, true, false, true, false, false]).unwrap());
    let window = Case::new("HannWindow", 17).input(Tensor::scalar(2i64));
    window.gives(&Tensor::of(&[2], vec![0f32, 1.0]).unwrap());
    Case::new("HannWindow", 17).input(Tensor::scalar(1i64)).int("periodic", 0).fails();
}
