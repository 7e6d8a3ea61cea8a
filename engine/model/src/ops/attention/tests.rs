//! Attention and angles on few numbers.

use crate::ops::support::{Case, ints};
use crate::tensor::Tensor;

fn tensor(dims: &[usize], values: &[f32]) -> Tensor {
    Tensor::of(dims, values.to_vec()).unwrap()
}

fn attention(keys: usize) -> Case {
    let values: Vec<f32> = (0..keys).map(|value| value as f32).collect();
    let query = tensor(&[1, 1, 1, 1], &[1.0]);
    let case = Case::new("Attention", 24).input(query);
    let case = case.input(tensor(&[1, 1, keys, 1], &vec![0.0; keys]));
    case.input(tensor(&[1, 1, keys, 1], &values))
}

#[test]
fn a_mask_hides_positions() {
    let one = |value: f32| tensor(&[1, 1, 1, 1], &[value]);
    attention(3).gives(&one(1.0));
    let mask = |allowed: &[bool]| Tensor::of(&[1, allowed.len()], allowed.to_vec()).unwrap();
    attention(3).input(mask(&[false, true, true])).gives(&one(1.5));
    // A short mask hides what it does not know, and what sees nothing gets nothing.
    attention(3).input(mask(&[true, true])).gives(&one(0.5));
    attention(3).input(mask(&[false; 3])).gives(&one(0.0));
    attention(3).input(mask(&[true; 4])).fails();
    attention(3).int("is_causal", 1).gives(&one(0.0));
    let lengths = |length: i64| attention(3).absent().absent().absent().input(ints(&[length]));
    lengths(2).gives(&one(0.5));
    lengths(2).int("is_causal", 1).gives(&one(0.5));
}

#[test]
fn a_cache_comes_first() {
    let one = |value: f32| tensor(&[1, 1, 1, 1], &[value]);
    let case = attention(1).absent().input(one(0.0)).input(one(4.0)).outputs(3);
    let outputs = case.run().unwrap();
    assert_eq!(outputs[0], one(2.0));
    assert_eq!(outputs[2], tensor(&[1, 1, 2, 1], &[4.0, 0.0]));
    attention(1).absent().input(one(0.0)).refused();
}

#[test]
fn caches_of_angles_fit() {
    let x = tensor(&[1, 1, 1, 2], &[1.0, 2.0]);
    let rotary = |cache: &[usize]| {
        let case = Case::new("RotaryEmbedding", 23).input(x.clone());
        case.input(tensor(cache, &[0.0])).input(tensor(cache, &[1.0]))
    };
    rotary(&[1, 1, 1]).gives(&tensor(&[1, 1, 1, 2], &[-2.0, 1.0]));
    rotary(&[1, 1]).fails();
    rotary(&[1, 1])
        .input(Tensor::of(&[1, 1], vec![0i64]).unwrap())
        .gives(&tensor(&[1, 1, 1, 2], &[-2.0, 1.0]));
    rotary(&[1, 1]).input(Tensor::of(&[1, 1], vec![1i64]).unwrap()).fails();
}
