//! Owns the recognition of layer normalization written out: the mean over the last axis taken
//! away, divided by the root of the variance, times a scale, plus a bias.
//!
//! Refuses other axes, and scales of more than one dimension. Bound: nine nodes.

use super::matcher::{Matcher, both_ways, int_or, output, pair, single};
use crate::graph::{Attribute, Node, ValueId};

/// The whole of it, as `LayerNormalization`.
pub(super) fn whole(matcher: &mut Matcher<'_>, index: usize) -> Option<Node> {
    let last = matcher.is(index, "Add")?;
    let output = output(last)?;
    let (scaled, bias) = either(last, |id| is_vector(matcher, id))?;
    let product = matcher.made_by(scaled, "Mul", 1)?;
    let (normal, scale) = either(product, |id| is_vector(matcher, id))?;
    if matcher.constant(scale)?.shape() != matcher.constant(bias)?.shape() {
        return None;
    }
    let (centred, deviation) = pair(matcher.made_by(normal, "Div", 1)?)?;
    let (x, epsilon) = argument(matcher, centred, deviation)?;
    let node = Node {
        operator: "LayerNormalization".to_owned(),
        inputs: vec![Some(x), Some(scale), Some(bias)],
        outputs: vec![Some(output)],
        ..Node::default()
    };
    let node = node.with("axis", Attribute::Int(-1)).with("epsilon", Attribute::Float(epsilon));
    matcher.can_run(&node).then_some(node)
}

/// What is normalized and what is added to its variance.
fn argument(matcher: &Matcher<'_>, centred: ValueId, deviation: ValueId) -> Option<(ValueId, f32)> {
    let sum = single(matcher.made_by(deviation, "Sqrt", 1)?)?;
    let sum = matcher.made_by(sum, "Add", 1)?;
    let (variance, epsilon) = either(sum, |id| matcher.number(id).is_some())?;
    let squares = mean_of(matcher, variance, 1)?;
    // The same difference is squared and divided, or computed once for each.
    let squared = match matcher.made_by(squares, "Pow", 1) {
        Some(power) => {
            let (squared, two) = pair(power)?;
            matcher.is_number(two, 2.0, 1).then_some(squared)?
        }
        None => {
            let (left, right) = pair(matcher.made_by(squares, "Mul", 1)?)?;
            (left == right).then_some(left)?
        }
    };
    let power_reads = matcher.made_by(squares, "Pow", 1).map_or(2, |_| 1);
    let x = match squared == centred {
        true => difference(matcher, centred, power_reads + 1, 1)?,
        false => {
            let (mean, mean_again) = (subtrahend(matcher, centred)?, subtrahend(matcher, squared)?);
            let reads = if mean == mean_again { 2 } else { 1 };
            let x = difference(matcher, centred, 1, reads)?;
            (difference(matcher, squared, power_reads, reads)? == x).then_some(x)?
        }
    };
    Some((x, matcher.number(epsilon)?))
}

/// The `x` of `x - mean(x)`, for so many readers of the difference and of the mean.
fn difference(matcher: &Matcher<'_>, id: ValueId, reads: u32, mean_reads: u32) -> Option<ValueId> {
    let (x, mean) = pair(matcher.made_by(id, "Sub", reads)?)?;
    (mean_of(matcher, mean, mean_reads)? == x).then_some(x)
}

fn subtrahend(matcher: &Matcher<'_>, id: ValueId) -> Option<ValueId> {
    let of = |reads| matcher.made_by(id, "Sub", reads).and_then(pair);
    of(1).or_else(|| of(2)).map(|(_, mean)| mean)
}

/// What the mean over the last axis is taken of, the axis being kept with one element.
fn mean_of(matcher: &Matcher<'_>, id: ValueId, reads: u32) -> Option<ValueId> {
    let node = matcher.made_by(id, "ReduceMean", reads)?;
    let is_last = match (node.attributes.get("axes"), &node.inputs[..]) {
        (Some(Attribute::Ints(axes)), [_]) => *axes == [-1],
        (None, [_, Some(axes)]) => matcher.constant(*axes)?.values::<i64>()? == [-1],
        _ => false,
    };
    (is_last && int_or(node, "keepdims", 1)? == 1).then_some(node.inputs[0]?)
}

fn is_vector(matcher: &Matcher<'_>, id: ValueId) -> bool {
    let rank = matcher.constant(id).map(|tensor| tensor.shape().len());
    rank == Some(1) && matcher.floats(id).is_some()
}

/// The inputs of a node of two, the second being the one that `is_second` knows.
fn either(node: &Node, is_second: impl Fn(ValueId) -> bool) -> Option<(ValueId, ValueId)> {
    both_ways(node).find(|(_, second)| is_second(*second))
}
