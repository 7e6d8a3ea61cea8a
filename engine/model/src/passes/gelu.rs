//! Owns the recognition of GELU written out by the error function: `x/2 · (1 + erf(x/√2))`, in the
//! orders in which exporters multiply.
//!
//! Refuses constants that are off by more than rounding. Bound: six nodes.

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use super::matcher::{Matcher, both_ways, output, pair, single};
use crate::graph::{Node, ValueId};

/// GELU of anything, as the operator of that name.
pub(super) fn whole(matcher: &mut Matcher<'_>, index: usize) -> Option<Node> {
    let x = argument(matcher, index, 0)?;
    let node = Node {
        operator: "Gelu".to_owned(),
        inputs: vec![Some(x)],
        outputs: vec![Some(output(matcher.node(index))?)],
        ..Node::default()
    };
    matcher.can_run(&node).then_some(node)
}

/// What GELU is taken of, if the node at an index is the last of those that compute it. Its
/// constants have at most `rank_max` dimensions.
pub(super) fn argument(matcher: &Matcher<'_>, index: usize, rank_max: usize) -> Option<ValueId> {
    let last = matcher.is(index, "Mul")?;
    both_ways(last).find_map(|(inner, third)| {
        let (first, second) = pair(matcher.made_by(inner, "Mul", 1)?)?;
        let factors = [first, second, third];
        let half = factors.iter().position(|id| matcher.is_number(*id, 0.5, rank_max))?;
        let (left, right) = match half {
            0 => (second, third),
            1 => (first, third),
            _ => (first, second),
        };
        [(left, right), (right, left)]
            .into_iter()
            .find_map(|(x, factor)| (one_plus_erf(matcher, factor, rank_max)? == x).then_some(x))
    })
}

/// The `x` of `1 + erf(x/√2)`.
fn one_plus_erf(matcher: &Matcher<'_>, id: ValueId, rank_max: usize) -> Option<ValueId> {
    let sum = matcher.made_by(id, "Add", 1)?;
    both_ways(sum).find_map(|(erf, one)| {
        if !matcher.is_number(one, 1.0, rank_max) {
            return None;
        }
        let scaled = single(matcher.made_by(erf, "Erf", 1)?)?;
        if let Some(node) = matcher.made_by(scaled, "Div", 1) {
            let (x, by) = pair(node)?;
            return matcher.is_number(by, SQRT_2, rank_max).then_some(x);
        }
        let node = matcher.made_by(scaled, "Mul", 1)?;
        both_ways(node)
            .find(|(_, by)| matcher.is_number(*by, FRAC_1_SQRT_2, rank_max))
            .map(|(x, _)| x)
    })
}
