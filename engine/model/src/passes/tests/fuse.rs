//! Neighbours that become one operator, and those that must not.

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

use super::small::Small;
use crate::error::ModelError;
use crate::graph::{Attribute, ValueId};
use crate::program::{BuildOptions, evaluate};
use crate::tensor::Tensor;

fn float(name: &str, value: f32) -> (&str, Attribute) {
    (name, Attribute::Float(value))
}

fn int(name: &str, value: i64) -> (&str, Attribute) {
    (name, Attribute::Int(value))
}

#[test]
fn a_product_takes_its_bias_and_its_activation() {
    for activation in [None, Some("Relu"), Some("Sigmoid"), Some("Tanh")] {
        for bias_first in [false, true] {
            let mut small = Small::new(17);
            let x = small.input(&[0, 0, 5]);
            let (weights, bias) = (small.weights(&[5, 3]), small.weights(&[3]));
            let product = small.node("MatMul", &[x, weights]);
            let pair = if bias_first { [bias, product] } else { [product, bias] };
            let mut y = small.node("Add", &pair);
            if let Some(activation) = activation {
                y = small.node(activation, &[y]);
            }
            let left = small.check(y, &[&[2, 4, 5]], &["Linear"]);
            let name = activation.map(|name| Attribute::String(name.to_lowercase()));
            assert_eq!(left.nodes[0].attributes.get("activation"), name.as_ref());
            assert_eq!(left.nodes[0].inputs.len(), 3);
        }
    }
}

#[test]
fn what_somebody_else_reads_is_left() {
    let mut small = Small::new(17);
    let x = small.input(&[0, 5]);
    let (weights, bias) = (small.weights(&[5, 3]), small.weights(&[3]));
    let product = small.node("MatMul", &[x, weights]);
    let sum = small.node("Add", &[product, bias]);
    small.output(product);
    small.check(sum, &[&[2, 5]], &["Linear", "Add"]);
}

#[test]
fn products_that_are_no_layer_are_left() {
    // Weights that are not constant, not two-dimensional, or on the left.
    let mut small = Small::new(17);
    let (x, other) = (small.input(&[0, 5]), small.input(&[5, 0]));
    let y = small.node("MatMul", &[x, other]);
    small.check(y, &[&[2, 5], &[5, 3]], &["MatMul"]);
    for (weight_dims, input_dims, is_left) in
        [(&[2, 5, 3][..], &[2, 4, 5][..], false), (&[5], &[4, 5], false), (&[3, 5], &[5, 2], true)]
    {
        let mut small = Small::new(17);
        let x = small.input(&vec![0; input_dims.len()]);
        let weights = small.weights(weight_dims);
        let pair = if is_left { [weights, x] } else { [x, weights] };
        let y = small.node("MatMul", &pair);
        small.check(y, &[input_dims], &["MatMul"]);
    }
    // A bias that would change the dimensions.
    for bias_dims in [&[2, 1, 3][..], &[1], &[4, 1], &[4, 3]] {
        let mut small = Small::new(17);
        let x = small.input(&[0, 5]);
        let (weights, bias) = (small.weights(&[5, 3]), small.weights(bias_dims));
        let product = small.node("MatMul", &[x, weights]);
        let y = small.node("Add", &[product, bias]);
        small.check(y, &[&[4, 5]], &["Linear", "Add"]);
    }
}

#[test]
fn gemm_is_a_layer_where_it_multiplies_by_one() {
    for (settings, weight_dims, bias_dims, left) in [
        (vec![], &[5, 3], Some(&[3][..]), "Linear"),
        (vec![int("transB", 1)], &[3, 5], Some(&[1, 3]), "Linear"),
        (vec![int("transB", 1)], &[3, 5], None, "Linear"),
        (vec![float("alpha", 1.0), float("beta", 1.0)], &[5, 3], Some(&[3]), "Linear"),
        (vec![float("alpha", 0.5)], &[5, 3], Some(&[3]), "Gemm"),
        (vec![float("beta", 0.5)], &[5, 3], Some(&[3]), "Gemm"),
        (vec![], &[5, 3], Some(&[4, 1]), "Gemm"),
        (vec![], &[5, 3], Some(&[]), "Gemm"),
    ] {
        let mut small = Small::new(17);
        let x = small.input(&[0, 5]);
        let mut inputs = vec![x, small.weights(weight_dims)];
        inputs.extend(bias_dims.map(|dims| small.weights(dims)));
        let y = small.node_with("Gemm", &inputs, &settings);
        let fused = small.check(y, &[&[4, 5]], &[left]);
        // `Gemm` is of matrices only, however it is computed.
        let cube = Tensor::of(&[1, 4, 5], vec![0f32; 20]).unwrap();
        let refused = evaluate(&fused, &BuildOptions::default(), vec![cube]);
        assert!(matches!(refused, Err(ModelError::Run { .. })), "{left}: {refused:?}");
    }
    let mut small = Small::new(17);
    let x = small.input(&[5, 0]);
    let weights = small.weights(&[5, 3]);
    let y = small.node_with("Gemm", &[x, weights], &[int("transA", 1)]);
    small.check(y, &[&[5, 4]], &["Gemm"]);
}

/// A layer of `[4, 5]` to `[4, 3]`, then what `more` makes of its sums.
fn after_layer(opset: u32, more: impl FnOnce(&mut Small, ValueId) -> ValueId, left: &[&str]) {
    let mut small = Small::new(opset);
    let x = small.input(&[0, 5]);
    let weights = small.weights(&[5, 3]);
    let sums = small.node("MatMul", &[x, weights]);
    let y = more(&mut small, sums);
    small.check(y, &[&[4, 5]], left);
}

/// GELU written out, in one of three orders.
fn gelu(small: &mut Small, x: ValueId, order: usize, root: f32, dims: &[usize]) -> ValueId {
    let constant = |small: &mut Small, value: f32| small.constant(dims, vec![value]);
    let scaled = match order {
        0 => {
            let by = constant(small, root);
            small.node("Div", &[x, by])
        }
        _ => {
            let by = constant(small, 1.0 / root);
            small.node("Mul", &[by, x])
        }
    };
    let erf = small.node("Erf", &[scaled]);
    let (one, half) = (constant(small, 1.0), constant(small, 0.5));
    let sum = small.node("Add", &[erf, one]);
    let (left, right, last) = match order {
        0 => (x, sum, half),
        1 => (x, half, sum),
        _ => (sum, half, x),
    };
    let product = small.node("Mul", &[left, right]);
    small.node("Mul", &[product, last])
}

#[test]
fn gelu_is_known_in_every_order() {
    for order in 0..3 {
        after_layer(17, |small, x| gelu(small, x, order, SQRT_2, &[]), &["Linear"]);
        after_layer(17, |small, x| gelu(small, x, order, 1.0 / FRAC_1_SQRT_2, &[1]), &["Linear"]);
        let mut small = Small::new(17);
        let x = small.input(&[0]);
        let y = gelu(&mut small, x, order, SQRT_2, &[]);
        small.check(y, &[&[7]], &["Gelu"]);
    }
    let kinds = ["none", "tanh"].map(|kind| ("approximate", Attribute::String(kind.to_owned())));
    for kind in kinds {
        after_layer(20, |small, x| small.node_with("Gelu", &[x], &[kind]), &["Linear"]);
    }
    // Another root, or constants with a dimension that would be the result's.
    let whole = ["Div", "Erf", "Add", "Mul", "Mul"];
    for (root, dims) in [(1.5, &[][..]), (SQRT_2, &[1, 1])] {
        let mut small = Small::new(17);
        let x = small.input(&[0]);
        let y = gelu(&mut small, x, 0, root, dims);
        small.check(y, &[&[7]], &whole);
    }
}

#[test]
fn silu_is_known() {
    after_layer(
        17,
        |small, x| {
            let sigmoid = small.node("Sigmoid", &[x]);
            small.node("Mul", &[sigmoid, x])
        },
        &["Linear"],
    );
}

/// Layer normalization written out.
fn layer_norm(small: &mut Small, x: ValueId, opset: u32, axis: i64, twice: bool) -> ValueId {
    let mean = |small: &mut Small, x: ValueId| match opset < 18 {
        true => small.node_with("ReduceMean", &[x], &[("axes", Attribute::Ints(vec![axis]))]),
        false => {
            let axes = small.constant(&[1], vec![axis]);
            small.node("ReduceMean", &[x, axes])
        }
    };
    let average = mean(small, x);
    let centred = small.node("Sub", &[x, average]);
    let squares = match twice {
        true => {
            let again = small.node("Sub", &[x, average]);
            small.node("Mul", &[again, again])
        }
        false => {
            let two = small.constant(&[], vec![2f32]);
            small.node("Pow", &[centred, two])
        }
    };
    let variance = mean(small, squares);
    let epsilon = small.constant(&[], vec![1e-3f32]);
    let sum = small.node("Add", &[variance, epsilon]);
    let deviation = small.node("Sqrt", &[sum]);
    let normal = small.node("Div", &[centred, deviation]);
    let (scale, bias) = (small.weights(&[6]), small.weights(&[6]));
    let scaled = small.node("Mul", &[normal, scale]);
    small.node("Add", &[bias, scaled])
}

#[test]
fn layer_normalization_is_known() {
    for (opset, twice) in [(14, false), (14, true), (18, false), (18, true)] {
        let mut small = Small::new(opset);
        let x = small.input(&[0, 0]);
        let y = layer_norm(&mut small, x, opset, -1, twice);
        small.check(y, &[&[4, 6]], &["LayerNormalization"]);
    }
    // Over another axis it is another function.
    let mut small = Small::new(14);
    let x = small.input(&[0, 0]);
    let y = layer_norm(&mut small, x, 14, 0, false);
    let left = ["ReduceMean", "Sub", "Pow", "ReduceMean", "Add", "Sqrt", "Div", "Mul", "Add"];
    small.check(y, &[&[4, 6]], &left);
}

/// Batch normalization of three channels.
fn batch_norm(small: &mut Small, x: ValueId, settings: &[(&str, Attribute)]) -> ValueId {
    let variance = small.constant(&[3], vec![0.5f32, 2.0, 0.01]);
    let (scale, shift, mean) = (small.weights(&[3]), small.weights(&[3]), small.weights(&[3]));
    small.node_with("BatchNormalization", &[x, scale, shift, mean, variance], settings)
}

#[test]
fn batch_normalization_goes_into_the_weights() {
    for bias in [false, true] {
        for epsilon in [1e-5, 1e-3] {
            let mut small = Small::new(17);
            let x = small.input(&[0, 2, 0, 0]);
            let mut inputs = vec![x, small.weights(&[3, 2, 3, 3])];
            if bias {
                inputs.push(small.weights(&[3]));
            }
            let made = small.node("Conv", &inputs);
            let y = batch_norm(&mut small, made, &[float("epsilon", epsilon)]);
            small.check(y, &[&[2, 2, 5, 4]], &["Conv"]);

            let mut small = Small::new(17);
            let x = small.input(&[0, 5]);
            let weight_dims = if bias { [5, 3] } else { [3, 5] };
            let mut inputs = vec![x, small.weights(&weight_dims)];
            if bias {
                inputs.push(small.weights(&[3]));
            }
            let made = small.node_with("Gemm", &inputs, &[int("transB", (!bias).into())]);
            let y = batch_norm(&mut small, made, &[float("epsilon", epsilon)]);
            small.check(y, &[&[4, 5]], &["Linear"]);
        }
    }
    // After a product of any rank the channels may be another axis than the weights'.
    let mut small = Small::new(17);
    let x = small.input(&[0, 3, 5]);
    let weights = small.weights(&[5, 3]);
    let made = small.node("MatMul", &[x, weights]);
    let y = batch_norm(&mut small, made, &[]);
    small.check(y, &[&[2, 3, 5]], &["Linear", "BatchNormalization"]);
}

#[test]
fn a_layer_of_gemm_takes_matrices_only() {
    let mut small = Small::new(17);
    // The file does not say how many dimensions come.
    let x = small.input(&[0, 5]);
    small.0.inputs[0].dims = None;
    let (weights, bias) = (small.weights(&[5, 3]), small.weights(&[3]));
    let y = small.node("Gemm", &[x, weights, bias]);
    let y = small.node("Relu", &[y]);
    let left = small.check(y, &[&[2, 5]], &["Linear"]);
    assert_eq!(left.nodes[0].attributes.get("rank"), Some(&Attribute::Int(2)));
    for dims in [&[5][..], &[2, 2, 5]] {
        let x = Tensor::of(dims, vec![1.0_f32; dims.iter().product()]).unwrap();
        let refused = evaluate(&left, &BuildOptions::default(), vec![x]).unwrap_err();
        assert!(refused.to_string().contains("2 dimensions"), "{refused}");
    }
}
