//! Owns the kernels that normalise each row of a matrix.
//!
//! Refuses to know tensors. Bound: as many whole rows as all slices have; a row's result depends
//! on that row alone.

use super::Isa;
use super::lanes::{COUNT, Kernel, Lanes, dispatch};
use super::math;

struct Softmax<'a> {
    values: &'a mut [f32],
    columns: usize,
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for row in self.values.chunks_exact_mut(self.columns) {
            // SAFETY: the row is as long as it says.
            unsafe { softmax_row::<L>(row.as_mut_ptr(), row.len()) };
        }
    }
}

/// One row, in three passes: the largest, the exponentials and their sum, the quotients.
///
/// # Safety
/// `count` values can be read and written, at least one.
#[inline(always)]
unsafe fn softmax_row<L: Lanes>(row: *mut f32, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let total = exp_row::<L>(row, count);
        scale_row::<L>(row, count, 1.0 / total);
    }
}

/// Replaces each value by the exponential of its distance from the largest, and gives their sum.
///
/// # Safety
/// `count` values can be read and written, at least one.
#[inline(always)]
pub(super) unsafe fn exp_row<L: Lanes>(row: *mut f32, count: usize) -> f32 {
    let whole = count - count % COUNT;
    let rest = count - whole;
    let nothing = f32::NEG_INFINITY;
    // SAFETY: every access is below `count`.
    unsafe {
        let (mut first, mut second) = (L::splat(nothing), L::splat(nothing));
        let mut index = 0;
        // NaN may hide a larger value here; all of the row becomes NaN below anyway.
        while index + 2 * COUNT <= whole {
            first = first.max(L::load(row.add(index)));
            second = second.max(L::load(row.add(index + COUNT)));
            index += 2 * COUNT;
        }
        if index < whole {
            first = first.max(L::load(row.add(index)));
        }
        if rest > 0 {
            second = second.max(L::load_part(row.add(whole), rest, nothing));
        }
        let largest = L::splat(first.max(second).top());
        let mut total = L::splat(0.0);
        let mut index = 0;
        while index < whole {
            let value = math::exp(L::load(row.add(index)).sub(largest));
            value.store(row.add(index));
            total = total.add(value);
            index += COUNT;
        }
        if rest > 0 {
            let value = math::exp(L::load_part(row.add(whole), rest, nothing).sub(largest));
            value.store_part(row.add(whole), rest);
            // Lanes beyond the row are NaN where all of it is minus infinity; so is the sum then.
            total = total.add(value);
        }
        total.sum()
    }
}

/// Multiplies each value by `factor`.
///
/// # Safety
/// `count` values can be read and written.
#[inline(always)]
pub(super) unsafe fn scale_row<L: Lanes>(row: *mut f32, count: usize, factor: f32) {
    let whole = count - count % COUNT;
    let rest = count - whole;
    let factor = L::splat(factor);
    // SAFETY: every access is below `count`.
    unsafe {
        let mut index = 0;
        while index < whole {
            L::load(row.add(index)).mul(factor).store(row.add(index));
            index += COUNT;
        }
        if rest > 0 {
            let value = L::load_part(row.add(whole), rest, 0.0);
            value.mul(factor).store_part(row.add(whole), rest);
        }
    }
}

/// Turns each row of `columns` scores into probabilities. The largest is subtracted first, so
/// that the exponential cannot overflow; a row with NaN, or with an infinity as its largest score,
/// becomes NaN.
pub fn softmax_rows(isa: Isa, values: &mut [f32], columns: usize) {
    if columns > 0 {
        dispatch(isa, Softmax { values, columns });
    }
}

struct LayerNorm<'a> {
    x: &'a [f32],
    residual: Option<&'a [f32]>,
    gamma: &'a [f32],
    beta: Option<&'a [f32]>,
    epsilon: f32,
    out: &'a mut [f32],
}

impl Kernel for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let columns = self.gamma.len();
        let beta = match self.beta {
            Some(beta) if beta.len() < columns => return,
            Some(beta) => beta.as_ptr(),
            None => std::ptr::null(),
        };
        let mut residual = self.residual.map(|residual| residual.chunks_exact(columns));
        let rows = self.x.chunks_exact(columns).zip(self.out.chunks_exact_mut(columns));
        for (x, out) in rows {
            let other = match residual.as_mut().map(Iterator::next) {
                None => std::ptr::null(),
                Some(Some(other)) => other.as_ptr(),
                Some(None) => return,
            };
            let (x, out) = (x.as_ptr(), out.as_mut_ptr());
            // SAFETY: all of them have `columns` values, or are null.
            unsafe {
                let total = add_residual::<L>(x, other, out, columns);
                let mean = total / columns as f32;
                let variance = squares::<L>(out, mean, columns) / columns as f32;
                let scale = 1.0 / (variance + self.epsilon).sqrt();
                let gamma = self.gamma.as_ptr();
                normalise::<L>(out, mean, scale, gamma, beta, columns);
            }
        }
    }
}

/// `out = x + other`, and the sum of it, in four chains.
///
/// # Safety
/// All have `count` values; `other` may be null.
#[inline(always)]
pub(super) unsafe fn add_residual<L: Lanes>(
    x: *const f32,
    other: *const f32,
    out: *mut f32,
    count: usize,
) -> f32 {
    let mut totals = [L::splat(0.0); 4];
    let mut index = 0;
    while index < count {
        for total in &mut totals {
            if index < count {
                let part = COUNT.min(count - index);
                // SAFETY: `index + part` is at most `count`.
                let mut value = unsafe { L::load_part(x.add(index), part, 0.0) };
                if !other.is_null() {
                    // SAFETY: as above.
                    value = value.add(unsafe { L::load_part(other.add(index), part, 0.0) });
                }
                // SAFETY: as above.
                unsafe { value.store_part(out.add(index), part) };
                *total = total.add(value);
                index += part;
            }
        }
    }
    totals[0].add(totals[1]).add(totals[2].add(totals[3])).sum()
}

/// The sum of the squared distances from `mean`, in four chains.
///
/// # Safety
/// `values` has `count` values.
#[inline(always)]
pub(super) unsafe fn squares<L: Lanes>(values: *const f32, mean: f32, count: usize) -> f32 {
    let mut totals = [L::splat(0.0); 4];
    let mut index = 0;
    while index < count {
        for total in &mut totals {
            if index < count {
                let part = COUNT.min(count - index);
                // SAFETY: `index + part` is at most `count`.
                let value = unsafe { L::load_part(values.add(index), part, mean) };
                let distance = value.sub(L::splat(mean));
                *total = distance.fma(distance, *total);
                index += part;
            }
        }
    }
    totals[0].add(totals[1]).add(totals[2].add(totals[3])).sum()
}

/// `(x - mean) * scale * gamma + beta`, in place.
///
/// # Safety
/// All have `count` values; `beta` may be null.
#[inline(always)]
unsafe fn normalise<L: Lanes>(
    values: *mut f32,
    mean: f32,
    scale: f32,
    gamma: *const f32,
    beta: *const f32,
    count: usize,
) {
    let (mean, scale) = (L::splat(mean), L::splat(scale));
    let mut index = 0;
    while index < count {
        let part = COUNT.min(count - index);
        // SAFETY: `index + part` is at most `count`.
        unsafe {
            let value = L::load_part(values.add(index), part, 0.0).sub(mean).mul(scale);
            let gamma = L::load_part(gamma.add(index), part, 0.0);
            let beta = match beta.is_null() {
                true => L::splat(0.0),
                false => L::load_part(beta.add(index), part, 0.0),
            };
            value.fma(gamma, beta).store_part(values.add(index), part);
        }
        index += part;
    }
}

/// Normalises each row of `gamma.len()` values of `x`, or of `x + residual`: to mean 0 and
/// variance 1 (`epsilon` is added to the variance), then times `gamma` plus `beta`. Mean and
/// variance take two passes, so that a large mean costs no digits.
pub fn layer_norm_rows(
    isa: Isa,
    x: &[f32],
    residual: Option<&[f32]>,
    gamma: &[f32],
    beta: Option<&[f32]>,
    epsilon: f32,
    out: &mut [f32],
) {
    if !gamma.is_empty() {
        dispatch(isa, LayerNorm { x, residual, gamma, beta, epsilon, out });
    }
}
