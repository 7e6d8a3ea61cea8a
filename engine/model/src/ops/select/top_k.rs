//! Owns the largest or smallest values along an axis; of equal ones the first comes first.
//!
//! Refuses more than there are. What is no number counts as larger than all numbers.
//! Bound: a partial sort of each row of places, in scratch memory.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, allowed, ascending, axis, check_axes, one_int};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Element, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "TopK", top_k)];

#[derive(Debug)]
struct TopK {
    axis: i64,
    largest: bool,
    /// How many, where it is a setting; the second input otherwise.
    count: Option<i64>,
}

/// Rows along an axis: how many groups of them, their length, how far apart neighbours are.
#[derive(Clone, Copy)]
struct Rows {
    outer: usize,
    len: usize,
    inner: usize,
}

impl Operator for TopK {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let shape = input.shape();
        let axis = axis(self.axis, shape.len())?;
        let count = match self.count {
            Some(count) => count,
            None => one_int(inputs, 1)?.unwrap_or(0),
        };
        let count = usize::try_from(count).ok().filter(|count| *count <= shape[axis]);
        let wrong = || RunError::input("more values wanted than there are", shape[axis]);
        let mut dims = Few::of(shape)?;
        dims[axis] = count.ok_or_else(wrong)?;
        let rows = Rows {
            outer: shape[..axis].iter().product(),
            len: shape[axis],
            inner: shape[axis + 1..].iter().product(),
        };
        let [values_out, places_out, ..] = outputs else {
            return Err(RunError::input("one output", "two"));
        };
        context.shape(places_out, DType::I64, &dims)?;
        let places = places_out.values_mut::<i64>().unwrap_or_default();
        let scratch = &mut context.scratch.usizes;
        scratch.clear();
        scratch.resize(rows.len, 0);
        with_values!([F32, F64, F16, Bf16, I8, I16, I32, I64, U8, U16, U32, U64]
            input.data(), values => {
                pick(values, self.largest, rows, scratch, places);
                let out = context.shape_as(values_out, &dims)?;
                fill(values, rows, places, out);
                Ok(())
            }, else Err(RunError::input(input.dtype(), "numbers")))
    }
}

/// Writes the places of the best values of each row.
fn pick<T: PartialOrd>(
    values: &[T],
    largest: bool,
    rows: Rows,
    order: &mut [usize],
    places: &mut [i64],
) {
    let Rows { outer, len, inner } = rows;
    if places.is_empty() {
        return;
    }
    let count = places.len() / (outer * inner);
    for row in 0..outer * inner {
        let (group, column) = (row / inner, row % inner);
        let value = |place: usize| &values[(group * len + place) * inner + column];
        order.iter_mut().enumerate().for_each(|(index, order)| *order = index);
        let better = |left: &usize, right: &usize| {
            let by_value = ascending(value(*left), value(*right));
            let by_value = if largest { by_value.reverse() } else { by_value };
            by_value.then(left.cmp(right))
        };
        if count < len {
            order.select_nth_unstable_by(count, better);
        }
        let best = &mut order[..count];
        best.sort_unstable_by(better);
        for (rank, place) in best.iter().enumerate() {
            places[(group * count + rank) * inner + column] = *place as i64;
        }
    }
}

fn fill<T: Element>(values: &[T], rows: Rows, places: &[i64], out: &mut [T]) {
    let Rows { outer, len, inner } = rows;
    if out.is_empty() {
        return;
    }
    let group_len = out.len() / outer;
    for (index, (out, place)) in out.iter_mut().zip(places).enumerate() {
        let (group, column) = (index / group_len, index % inner);
        out.clone_from(&values[(group * len + *place as usize) * inner + column]);
    }
}

fn top_k(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let since = u32::MAX;
    allowed(
        view,
        &[("axis", 1, since), ("k", 1, 9), ("largest", 11, since), ("sorted", 11, since)],
    )?;
    let dtype = view.dtype(0)?;
    if matches!(dtype, DType::Bool | DType::String) {
        return Err(view.refuse(format_args!("type {dtype} is not sorted")));
    }
    let count = view.int("k")?;
    match (view.opset() < 10, view.has_input(1)) {
        (true, false) if count.is_some() => {}
        (false, true) => {
            view.dtype_among(1, &[DType::I64])?;
        }
        _ => return Err(view.refuse("how many values is not said as this opset does")),
    }
    let axis = view.int_or("axis", -1)?;
    check_axes(view, &[axis])?;
    // Unsorted values may come in any order, so also in this one.
    let largest = view.int_or("largest", 1)? != 0;
    Ok(Built::many(TopK { axis, largest, count }, vec![dtype, DType::I64]))
}
