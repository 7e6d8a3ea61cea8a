//! Owns `alpha · A · B + beta · C`.
//!
//! Refuses integers. Bound: the product of f32 runs in the kernels, of f64 in a plain loop.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::kernels::{Gemm, gemm_f32};
use crate::ops::registry::Family;
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Shape, Tensor};

/// This family.
pub const OPERATORS: Family = &[("", "Gemm", build)];

#[derive(Clone, Copy, Debug)]
struct Settings {
    alpha: f32,
    beta: f32,
    a_transposed: bool,
    b_transposed: bool,
}

#[derive(Debug)]
struct Narrow(Settings);

#[derive(Debug)]
struct Double(Settings);

impl Settings {
    fn sizes(&self, a: &Shape, b: &Shape) -> Result<[usize; 3], RunError> {
        let ([a_rows, a_columns], [b_rows, b_columns]) = (&a[..], &b[..]) else {
            return Err(RunError::input(format_args!("{a} and {b}"), "two matrices"));
        };
        let (rows, depth) = match self.a_transposed {
            true => (*a_columns, *a_rows),
            false => (*a_rows, *a_columns),
        };
        let (b_depth, columns) = match self.b_transposed {
            true => (*b_columns, *b_rows),
            false => (*b_rows, *b_columns),
        };
        match depth == b_depth {
            true => Ok([rows, depth, columns]),
            false => Err(RunError::input(format_args!("{a} times {b}"), "equal inner dimensions")),
        }
    }
}

/// How far the addend moves by row and by column; 0 where it is repeated.
fn addend_steps(shape: &Shape, rows: usize, columns: usize) -> Result<[usize; 2], RunError> {
    let (own_rows, own_columns) = match &shape[..] {
        [] => (1, 1),
        [columns] => (1, *columns),
        [rows, columns] => (*rows, *columns),
        _ => (0, 0),
    };
    let fits = |own: usize, full: usize| own == 1 || own == full;
    if shape.len() > 2 || !fits(own_rows, rows) || !fits(own_columns, columns) {
        let expected = format_args!("what fits {rows} by {columns}").to_string();
        return Err(RunError::input(shape, expected));
    }
    let by_row = if own_rows == 1 { 0 } else { own_columns };
    Ok([by_row, usize::from(own_columns != 1)])
}

impl Operator for Narrow {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let ((a_shape, a), (b_shape, b)) = (inputs.values::<f32>(0)?, inputs.values::<f32>(1)?);
        let [rows, depth, columns] = self.0.sizes(a_shape, b_shape)?;
        let out = context.shape_as::<f32>(&mut outputs[0], &[rows, columns])?;
        out.fill(0.0);
        let gemm = Gemm {
            rows,
            columns,
            depth,
            a,
            a_stride: a_shape[1],
            a_transposed: self.0.a_transposed,
            b,
            b_stride: b_shape[1],
            b_transposed: self.0.b_transposed,
            scale: self.0.alpha,
            out: &mut *out,
            out_stride: columns,
        };
        gemm_f32(context.isa, context.team, gemm, &mut context.scratch.f32s[0]);
        if inputs.get(2).is_some() {
            let (shape, addend) = inputs.values::<f32>(2)?;
            let [by_row, by_column] = addend_steps(shape, rows, columns)?;
            for (row, out) in out.chunks_exact_mut(columns.max(1)).enumerate() {
                for (column, out) in out.iter_mut().enumerate() {
                    *out += self.0.beta * addend[row * by_row + column * by_column];
                }
            }
        }
        Ok(())
    }
}

impl Operator for Double {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let ((a_shape, a), (b_shape, b)) = (inputs.values::<f64>(0)?, inputs.values::<f64>(1)?);
        let [rows, depth, columns] = self.0.sizes(a_shape, b_shape)?;
        let [a_row, a_step] = if self.0.a_transposed { [1, rows] } else { [depth, 1] };
        let [b_step, b_column] = if self.0.b_transposed { [1, depth] } else { [columns, 1] };
        let (alpha, beta) = (f64::from(self.0.alpha), f64::from(self.0.beta));
        let mut addend = (&[][..], [0, 0]);
        if inputs.get(2).is_some() {
            let (shape, values) = inputs.values::<f64>(2)?;
            addend = (values, addend_steps(shape, rows, columns)?);
        }
        let (addend, [by_row, by_column]) = addend;
        let out = context.shape_as::<f64>(&mut outputs[0], &[rows, columns])?;
        for row in 0..rows {
            for column in 0..columns {
                let products = (0..depth).map(|step| {
                    a[row * a_row + step * a_step] * b[step * b_step + column * b_column]
                });
                let sum: f64 = products.sum();
                let more = addend.get(row * by_row + column * by_column).copied().unwrap_or(0.0);
                out[row * columns + column] = alpha * sum + beta * more;
            }
        }
        Ok(())
    }
}

fn build(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["alpha", "beta", "transA", "transB"])?;
    let settings = Settings {
        alpha: view.float_or("alpha", 1.0)?,
        beta: view.float_or("beta", 1.0)?,
        a_transposed: view.int_or("transA", 0)? != 0,
        b_transposed: view.int_or("transB", 0)? != 0,
    };
    let dtype = view.dtype(0)?;
    for index in 1..view.input_count() {
        if view.has_input(index) {
            view.dtype_among(index, &[dtype])?;
        }
    }
    match dtype {
        DType::F32 => Ok(Built::one(Narrow(settings), dtype)),
        DType::F64 => Ok(Built::one(Double(settings), dtype)),
        other => Err(view.refuse(format_args!("type {other} is not computed"))),
    }
}
