//! Owns the determinants of stacks of square matrices.
//!
//! Refuses integers. Bound: the cube of the rows; elimination with the largest pivot in 64 bits,
//! rounded once.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::Number;
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "Det", build)];

#[derive(Debug)]
struct Determinant;

impl Operator for Determinant {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let shape = input.shape();
        let [outer @ .., rows, columns] = &shape[..] else {
            return Err(RunError::input(shape, "matrices"));
        };
        if rows != columns {
            return Err(RunError::input(shape, "square matrices"));
        }
        let rows = *rows;
        context.shape(&mut outputs[0], input.dtype(), outer)?;
        let buffer = &mut context.scratch.f64s;
        with_values!([F32, F64, F16, Bf16] input.data(), values => {
            let Some(out) = outputs[0].values_mut() else { return Ok(()) };
            for (index, out) in out.iter_mut().enumerate() {
                let matrix = &values[index * rows * rows..][..rows * rows];
                buffer.clear();
                buffer.extend(matrix.iter().map(|value| Number::to_f64(*value)));
                *out = number_like(values, determinant(buffer, rows));
            }
            Ok(())
        }, else Err(RunError::input(input.dtype(), "floating-point numbers")))
    }
}

/// A number of the type of others.
fn number_like<T: Number>(_: &[T], value: f64) -> T {
    T::from_f64(value)
}

/// The determinant of a matrix that is used up.
fn determinant(matrix: &mut [f64], rows: usize) -> f64 {
    let mut product = 1.0;
    for step in 0..rows {
        let size = |row: &usize| matrix[row * rows + step].abs();
        let pivot = (step..rows).max_by(|a, b| size(a).total_cmp(&size(b))).unwrap_or(step);
        if pivot != step {
            for column in 0..rows {
                matrix.swap(pivot * rows + column, step * rows + column);
            }
            product = -product;
        }
        let head = matrix[step * rows + step];
        product *= head;
        if head == 0.0 {
            return product;
        }
        let (above, below) = matrix.split_at_mut((step + 1) * rows);
        let top = &above[step * rows..];
        for row in below.chunks_exact_mut(rows) {
            let factor = row[step] / head;
            for (value, top) in row[step..].iter_mut().zip(&top[step..]) {
                *value -= factor * top;
            }
        }
    }
    product
}

fn build(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    let dtype = view.dtype_among(0, &[DType::F32, DType::F64, DType::F16, DType::Bf16])?;
    Ok(Built::one(Determinant, dtype))
}
