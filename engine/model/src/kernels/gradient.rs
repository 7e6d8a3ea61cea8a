//! Owns what the backward pass of a layer does to its gradients between two products.
//!
//! Refuses to know layers. Bound: one pass over the gradients; sums run over the rows in their
//! order.

use super::lanes::{COUNT, Kernel, Lanes, dispatch};
use super::{Activation, Isa, math};

/// Rows whose values of one column are summed in registers.
const ROWS: usize = 8;

/// What a gradient is multiplied with, by a value of the layer.
trait Slope: Copy {
    fn apply<L: Lanes>(self, value: L, gradient: L) -> L;
}

macro_rules! slopes {
    ($($name:ident = |$value:ident, $gradient:ident| $slope:expr;)*) => {
        $(#[derive(Clone, Copy)]
        struct $name;

        impl Slope for $name {
            #[inline(always)]
            fn apply<L: Lanes>(self, $value: L, $gradient: L) -> L {
                $slope
            }
        })*
    };
}

slopes! {
    Relu = |value, gradient| L::splat(0.0).if_less(value, gradient, L::splat(0.0));
    // Of the result, which saves a hyperbolic tangent.
    TanhOfResult = |value, gradient| gradient.mul(L::splat(1.0).sub(value.mul(value)));
    Gelu = |value, gradient| gradient.mul(math::gelu_slope(value));
    GeluTanh = |value, gradient| gradient.mul(math::gelu_tanh_slope(value));
    Silu = |value, gradient| gradient.mul(math::silu_slope(value));
}

struct Rows<'a, S> {
    slope: S,
    gradients: &'a mut [f32],
    values: &'a [f32],
    sums: &'a mut [f32],
}

impl<S: Slope> Kernel for Rows<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let columns = self.sums.len();
        let rows = self.gradients.len().min(self.values.len()) / columns;
        let (gradients, values) = (self.gradients.as_mut_ptr(), self.values.as_ptr());
        let sums = self.sums.as_mut_ptr();
        let mut first = 0;
        while first < rows {
            let last = rows.min(first + ROWS);
            let mut column = 0;
            while column < columns {
                let count = COUNT.min(columns - column);
                // SAFETY: rows and columns lie within all three slices.
                unsafe {
                    let mut sum = L::load_part(sums.add(column), count, 0.0);
                    for row in first..last {
                        let at = row * columns + column;
                        let gradient = L::load_part(gradients.add(at), count, 0.0);
                        let value = L::load_part(values.add(at), count, 0.0);
                        let gradient = self.slope.apply(value, gradient);
                        gradient.store_part(gradients.add(at), count);
                        sum = sum.add(gradient);
                    }
                    sum.store_part(sums.add(column), count);
                }
                column += COUNT;
            }
            first = last;
        }
    }
}

struct Columns<'a> {
    rows: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let columns = self.sums.len();
        let (rows, sums) = (self.rows, self.sums.as_mut_ptr());
        for rows in rows.chunks(ROWS * columns) {
            let mut column = 0;
            while column < columns {
                let count = COUNT.min(columns - column);
                // SAFETY: rows and columns lie within both slices.
                unsafe {
                    let mut sum = L::load_part(sums.add(column), count, 0.0);
                    for row in 0..rows.len() / columns {
                        let at = row * columns + column;
                        sum = sum.add(L::load_part(rows.as_ptr().add(at), count, 0.0));
                    }
                    sum.store_part(sums.add(column), count);
                }
                column += COUNT;
            }
        }
    }
}

/// What the slope of a layer's function is known by.
#[derive(Clone, Copy, Debug)]
pub enum Known<'a> {
    /// The values that went in.
    Before(&'a [f32]),
    /// The results.
    After(&'a [f32]),
}

/// Of the gradients of a layer's results, row by row of `sums.len()` values, those of what went
/// into its function, and adds the sum of each column, which is the gradient of the bias, to
/// `sums`. Slopes of ReLU are known by either side, those of tanh by the results, those of GELU
/// and SiLU by what went in; nothing is computed for others.
pub fn gradient_rows(
    isa: Isa,
    activation: Activation,
    known: Known<'_>,
    gradients: &mut [f32],
    sums: &mut [f32],
) {
    fn run<S: Slope>(isa: Isa, slope: S, values: &[f32], of: (&mut [f32], &mut [f32])) {
        dispatch(isa, Rows { slope, gradients: of.0, values, sums: of.1 });
    }
    if sums.is_empty() {
        return;
    }
    let of = (gradients, sums);
    match (activation, known) {
        (Activation::None, _) => dispatch(isa, Columns { rows: of.0, sums: of.1 }),
        (Activation::Relu, Known::Before(values) | Known::After(values)) => {
            run(isa, Relu, values, of);
        }
        (Activation::Tanh, Known::After(values)) => run(isa, TanhOfResult, values, of),
        (Activation::Gelu, Known::Before(values)) => run(isa, Gelu, values, of),
        (Activation::GeluTanh, Known::Before(values)) => run(isa, GeluTanh, values, of),
        (Activation::Silu, Known::Before(values)) => run(isa, Silu, values, of),
        _ => debug_assert!(false, "a slope that is not known by what was given"),
    }
}

struct SoftmaxRows<'a> {
    probabilities: &'a [f32],
    gradients: &'a mut [f32],
    columns: usize,
    scale: f32,
}

impl Kernel for SoftmaxRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let columns = self.columns;
        let rows = self.probabilities.chunks_exact(columns);
        for (shares, row) in rows.zip(self.gradients.chunks_exact_mut(columns)) {
            let (shares, row) = (shares.as_ptr(), row.as_mut_ptr());
            // SAFETY: both have `columns` values.
            unsafe {
                let mut total = L::splat(0.0);
                let mut column = 0;
                while column < columns {
                    let count = COUNT.min(columns - column);
                    let share = L::load_part(shares.add(column), count, 0.0);
                    total = share.fma(L::load_part(row.add(column), count, 0.0), total);
                    column += COUNT;
                }
                let (mean, scale) = (L::splat(total.sum()), L::splat(self.scale));
                let mut column = 0;
                while column < columns {
                    let count = COUNT.min(columns - column);
                    let share = L::load_part(shares.add(column), count, 0.0);
                    let gradient = L::load_part(row.add(column), count, 0.0).sub(mean);
                    gradient.mul(share).mul(scale).store_part(row.add(column), count);
                    column += COUNT;
                }
            }
        }
    }
}

/// Of the gradients of rows of `columns` probabilities those of the scores, times `scale`, that a
/// softmax made them of.
pub fn softmax_gradient_rows(
    isa: Isa,
    probabilities: &[f32],
    gradients: &mut [f32],
    columns: usize,
    scale: f32,
) {
    if columns > 0 {
        dispatch(isa, SoftmaxRows { probabilities, gradients, columns, scale });
    }
}

#[cfg(test)]
mod tests;
