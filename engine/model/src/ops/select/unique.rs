//! Owns the different values of a tensor, or its different parts along an axis.
//!
//! Refuses parts with values that are no numbers, of which nobody knows whether they are equal;
//! single values that are no numbers count as one. Bound: a sort of the places.

use std::cmp::Ordering;

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, ascending, axis, check_axes};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Element, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "Unique", unique)];

#[derive(Debug)]
struct Unique {
    axis: Option<i64>,
    sorted: bool,
}

/// Parts along an axis: values before, along and behind it.
#[derive(Clone, Copy)]
struct Parts {
    outer: usize,
    len: usize,
    inner: usize,
}

impl Parts {
    fn compare<T: PartialOrd>(self, values: &[T], left: usize, right: usize) -> Ordering {
        let line = |group: usize, part: usize| {
            let start = (group * self.len + part) * self.inner;
            &values[start..start + self.inner]
        };
        let lines = (0..self.outer).map(|group| (line(group, left), line(group, right)));
        let pairs = lines.flat_map(|(left, right)| left.iter().zip(right));
        let mut orders = pairs.map(|(left, right)| ascending(left, right));
        orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

/// Parts that are equal.
struct Group {
    first: usize,
    count: i64,
}

impl Unique {
    /// The groups in the order of the result, and the group of each part.
    fn groups<T: PartialOrd>(&self, values: &[T], parts: Parts) -> (Vec<Group>, Vec<usize>) {
        let mut order: Vec<usize> = (0..parts.len).collect();
        order.sort_by(|left, right| parts.compare(values, *left, *right));
        let mut groups: Vec<Group> = Vec::new();
        let mut group_of = vec![0; parts.len];
        for place in order {
            match groups.last_mut() {
                Some(last) if parts.compare(values, last.first, place).is_eq() => last.count += 1,
                _ => groups.push(Group { first: place, count: 1 }),
            }
            group_of[place] = groups.len() - 1;
        }
        if self.sorted {
            return (groups, group_of);
        }
        let mut ranks: Vec<usize> = (0..groups.len()).collect();
        ranks.sort_by_key(|rank| groups[*rank].first);
        let mut place_of = vec![0; groups.len()];
        ranks.iter().enumerate().for_each(|(place, rank)| place_of[*rank] = place);
        groups.sort_by_key(|group| group.first);
        group_of.iter_mut().for_each(|group| *group = place_of[*group]);
        (groups, group_of)
    }
}

fn copy<T: Element>(values: &[T], parts: Parts, groups: &[Group], out: &mut [T]) {
    if out.is_empty() {
        return;
    }
    for (index, out) in out.chunks_exact_mut(parts.inner).enumerate() {
        let (outer, group) = (index / groups.len(), index % groups.len());
        let from = (outer * parts.len + groups[group].first) * parts.inner;
        out.clone_from_slice(&values[from..from + parts.inner]);
    }
}

impl Operator for Unique {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let shape = input.shape();
        let (mut dims, axis) = match self.axis {
            None => (Few::of(&[input.count()])?, 0),
            Some(setting) => (Few::of(shape)?, axis(setting, shape.len())?),
        };
        let parts = Parts {
            outer: dims[..axis].iter().product(),
            len: dims[axis],
            inner: dims[axis + 1..].iter().product(),
        };
        let [out, firsts, inverse, counts] = outputs else {
            return Err(RunError::input("fewer outputs", "four"));
        };
        with_values!(input.data(), values => {
            let no_number = |value: &_| PartialOrd::partial_cmp(value, value).is_none();
            if self.axis.is_some() && values.iter().any(no_number) {
                return Err(RunError::input("a value that is no number", "numbers"));
            }
            let (groups, group_of) = self.groups(values, parts);
            dims[axis] = groups.len();
            copy(values, parts, &groups, context.shape_as(out, &dims)?);
            let firsts = context.shape_as::<i64>(firsts, &[groups.len()])?;
            firsts.iter_mut().zip(&groups).for_each(|(out, group)| *out = group.first as i64);
            let counts = context.shape_as::<i64>(counts, &[groups.len()])?;
            counts.iter_mut().zip(&groups).for_each(|(out, group)| *out = group.count);
            let inverse = context.shape_as::<i64>(inverse, &[parts.len])?;
            inverse.iter_mut().zip(&group_of).for_each(|(out, group)| *out = *group as i64);
            Ok(())
        })
    }
}

fn unique(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["axis", "sorted"])?;
    let axis = view.int("axis")?;
    check_axes(view, axis.as_slice())?;
    let sorted = view.int_or("sorted", 1)? != 0;
    let outputs = vec![view.dtype(0)?, DType::I64, DType::I64, DType::I64];
    Ok(Built::many(Unique { axis, sorted }, outputs))
}
