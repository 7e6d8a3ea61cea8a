//! Owns how scores become shares: capped, then by the exponential, in the width that is asked for.
//!
//! Refuses to know heads. Bound: one row at a time; f32 runs in the kernels.

use super::settings::Precision;
use crate::kernels::softmax_rows;
use crate::ops::support::{Float, Multiplied, Wide};
use crate::program::Context;
use crate::tensor::DType;

/// In the type that a number is rounded to.
pub fn rounded<T: Float>(value: T::Wide) -> T::Wide {
    T::narrow(value).wide()
}

/// Types whose rows become shares.
pub trait Shares: Multiplied {
    /// One row, which has a score that is more than minus infinity.
    fn shares(context: &Context<'_>, row: &mut [Self]);
}

impl Shares for f32 {
    fn shares(context: &Context<'_>, row: &mut [f32]) {
        softmax_rows(context.isa, row, row.len());
    }
}

impl Shares for f64 {
    fn shares(_: &Context<'_>, row: &mut [f64]) {
        shares_in_64_bits(row);
    }
}

fn shares_in_64_bits<W: Wide>(row: &mut [W]) {
    let largest = row.iter().map(|value| value.to_f64()).fold(f64::NEG_INFINITY, f64::max);
    let power = |value: &W| (value.to_f64() - largest).exp();
    let sum: f64 = row.iter().map(power).sum();
    row.iter_mut().for_each(|value| *value = W::of(power(value) / sum));
}

/// Turns a row of scores into shares; `added` is what is added to them, empty for nothing.
pub fn finish<T: Float<Wide: Shares>>(
    precision: Precision,
    context: &Context<'_>,
    row: &mut [T::Wide],
    added: &[T::Wide],
) {
    let is_lowest = |value: &T::Wide| *value == T::Wide::LOWEST;
    let is_hidden = !added.is_empty() && added.iter().all(is_lowest);
    if is_hidden || row.iter().all(is_lowest) {
        return row.fill(T::Wide::ZERO);
    }
    if precision == Precision::Wide {
        T::Wide::shares(context, row);
    } else if precision == Precision::Widest {
        shares_in_64_bits(row);
    } else {
        let mut largest = row[0];
        for value in row.iter().filter(|value| !value.is_nan()) {
            largest = if *value > largest { *value } else { largest };
        }
        for value in row.iter_mut() {
            *value = rounded::<T>(rounded::<T>(*value - largest).exp());
        }
        // The sum as well, after each step where the type is bf16.
        let sum = match T::DTYPE {
            DType::Bf16 => row.iter().fold(T::Wide::ZERO, |sum, value| rounded::<T>(sum + *value)),
            _ => rounded::<T>(row.iter().copied().sum()),
        };
        row.iter_mut().for_each(|value| *value = *value / sum);
    }
    row.iter_mut().for_each(|value| *value = rounded::<T>(*value));
}

/// Keeps scores within a cap of 0, if there is one.
pub fn capped<T: Float>(cap: f32, row: &mut [T::Wide]) {
    let limit = T::Wide::of(f64::from(cap));
    if cap > 0.0 {
        row.iter_mut().for_each(|value| {
            let share = rounded::<T>(rounded::<T>(*value / limit).tanh());
            *value = rounded::<T>(share * limit);
        });
    }
}
