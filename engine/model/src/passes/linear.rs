//! Owns the fusion of products with constant weights, their bias and their activation into
//! `truststram.Linear`.
//!
//! Refuses weights of other types than `f32` and biases that would change the dimensions.
//! Bound: a bias may be copied to lose a dimension of 1.
//!
//! `Linear` takes `x` of `[.., inputs]`, weights of `[outputs, inputs]`, or of `[inputs, outputs]`
//! where `transposed` is 1, and optionally a bias of `[outputs]`; `activation` names what is
//! applied to the sums, `rank` says how many dimensions `x` must have.

use super::gelu;
use super::matcher::{Matcher, both_ways, float_or, int_or, output, pair, single};
use crate::graph::{Attribute, Node, ValueId};
use crate::ops;
use crate::tensor::Tensor;

const LINEAR: &str = "Linear";
const ACTIVATION: &str = "activation";
const TRANSPOSED: &str = "transposed";
const RANK: &str = "rank";

/// A product with constant weights.
pub(super) fn of_mat_mul(matcher: &mut Matcher<'_>, index: usize) -> Option<Node> {
    let node = matcher.is(index, "MatMul")?;
    let (x, weights) = pair(node)?;
    linear(matcher, [Some(x), Some(weights), None], output(node)?, true)
}

/// `Gemm` with constant weights and bias.
pub(super) fn of_gemm(matcher: &mut Matcher<'_>, index: usize) -> Option<Node> {
    let node = matcher.is(index, "Gemm")?.clone();
    if float_or(&node, "alpha", 1.0)? != 1.0 || int_or(&node, "transA", 0)? != 0 {
        return None;
    }
    let transposed = int_or(&node, "transB", 0)? == 0;
    let (x, weights) = (node.inputs.first().copied()??, node.inputs.get(1).copied()??);
    let mut bias = node.inputs.get(2).copied().flatten();
    if let Some(id) = bias {
        if float_or(&node, "beta", 1.0)? != 1.0 {
            return None;
        }
        let count = output_count(matcher, weights, transposed)?;
        let values = matcher.floats(id)?;
        bias = Some(match **matcher.constant(id)?.shape() {
            [found] if found == count => id,
            // The result has two dimensions whatever the bias has.
            [1, found] if found == count => {
                let tensor = Tensor::of(&[count], values.to_vec())?;
                matcher.add_constant("bias", tensor)
            }
            _ => return None,
        });
    }
    let layer = linear(matcher, [Some(x), Some(weights), bias], output(&node)?, transposed)?;
    // `Gemm` takes no vectors and no stacks of matrices.
    Some(layer.with(RANK, Attribute::Int(2)))
}

fn linear(
    matcher: &Matcher<'_>,
    inputs: [Option<ValueId>; 3],
    output: ValueId,
    transposed: bool,
) -> Option<Node> {
    ops::find(Node::OWN_DOMAIN, LINEAR)?;
    let [Some(x), Some(weights), _] = inputs else { return None };
    if matcher.constant(x).is_some() {
        return None;
    }
    output_count(matcher, weights, transposed)?;
    let count = if inputs[2].is_some() { 3 } else { 2 };
    let node = Node::own(LINEAR, inputs[..count].to_vec(), vec![output]);
    Some(node.with(TRANSPOSED, Attribute::Int(transposed.into())))
}

/// How many results a layer has, if its weights are constants of `f32` in two dimensions.
fn output_count(matcher: &Matcher<'_>, weights: ValueId, transposed: bool) -> Option<usize> {
    matcher.floats(weights)?;
    match **matcher.constant(weights)?.shape() {
        [rows, columns] if rows > 0 && columns > 0 => Some(if transposed { columns } else { rows }),
        _ => None,
    }
}

/// The layer that makes a value for so many readers, if it has no activation yet.
fn bare<'m>(matcher: &'m Matcher<'_>, id: ValueId, reads: u32) -> Option<&'m Node> {
    let node = matcher.made_by_own(id, LINEAR, reads)?;
    (!node.attributes.contains_key(ACTIVATION)).then_some(node)
}

/// A layer without a bias, and the addition of one.
pub(super) fn with_bias(matcher: &mut Matcher<'_>, index: usize) -> Option<Node> {
    let node = matcher.is(index, "Add")?;
    both_ways(node).find_map(|(sums, bias)| {
        let layer = bare(matcher, sums, 1)?;
        let [_, Some(weights)] = layer.inputs[..] else { return None };
        let transposed = int_or(layer, TRANSPOSED, 0)? != 0;
        let count = output_count(matcher, weights, transposed)?;
        matcher.floats(bias)?;
        if **matcher.constant(bias)?.shape() != [count] {
            return None;
        }
        let mut layer = layer.clone();
        layer.inputs.push(Some(bias));
        layer.outputs = vec![Some(output(node)?)];
        Some(layer)
    })
}

/// A layer and a function of each of its results.
pub(super) fn with_activation(matcher: &mut Matcher<'_>, index: usize) -> Option<Node> {
    let node = matcher.node(index);
    let name = match (node.operator.as_str(), node.attributes.get("approximate")) {
        ("Relu", None) => "relu",
        ("Sigmoid", None) => "sigmoid",
        ("Tanh", None) => "tanh",
        ("Gelu", None) => "gelu",
        ("Gelu", Some(Attribute::String(kind))) if kind == "none" => "gelu",
        ("Gelu", Some(Attribute::String(kind))) if kind == "tanh" => "gelu_tanh",
        _ => return None,
    };
    let node = matcher.is(index, &node.operator)?;
    activated(bare(matcher, single(node)?, 1)?, name, node)
}

/// A layer and each of its results times its sigmoid.
pub(super) fn with_silu(matcher: &mut Matcher<'_>, index: usize) -> Option<Node> {
    let node = matcher.is(index, "Mul")?;
    both_ways(node).find_map(|(sums, factor)| {
        let sigmoid = matcher.made_by(factor, "Sigmoid", 1)?;
        if single(sigmoid)? != sums {
            return None;
        }
        activated(bare(matcher, sums, 2)?, "silu", node)
    })
}

/// A layer and GELU, written out.
pub(super) fn with_gelu(matcher: &mut Matcher<'_>, index: usize) -> Option<Node> {
    // The results of a layer have a dimension, so that a constant of one dimension adds none.
    let sums = gelu::argument(matcher, index, 1)?;
    activated(bare(matcher, sums, 2)?, "gelu", matcher.node(index))
}

/// The layer with an activation, making what `last` makes.
fn activated(layer: &Node, name: &str, last: &Node) -> Option<Node> {
    let mut layer = layer.clone().with(ACTIVATION, Attribute::String(name.to_owned()));
    layer.outputs = vec![Some(output(last)?)];
    Some(layer)
}
