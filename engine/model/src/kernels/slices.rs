//! Owns the functions from one slice to another, value by value.
//!
//! Refuses to know shapes. Bound: as many values as the shorter of the two slices has.

use super::activation::{
    Erf, Exp, Gelu, GeluTanh, Log, Map, MapStretch, Relu, Sigmoid, Silu, Tanh, activate,
};
use super::lanes::{COUNT, Kernel, Lanes, dispatch};
use super::{Activation, Isa};

fn map<M: Map>(isa: Isa, map: M, from: &[f32], to: &mut [f32]) {
    let count = from.len().min(to.len());
    dispatch(isa, MapStretch { map, from: from.as_ptr(), to: to.as_mut_ptr(), count });
}

/// The exponential of each value.
pub fn exp(isa: Isa, from: &[f32], to: &mut [f32]) {
    map(isa, Exp, from, to);
}

/// The natural logarithm of each value.
pub fn log(isa: Isa, from: &[f32], to: &mut [f32]) {
    map(isa, Log, from, to);
}

/// The hyperbolic tangent of each value.
pub fn tanh(isa: Isa, from: &[f32], to: &mut [f32]) {
    map(isa, Tanh, from, to);
}

/// The error function of each value.
pub fn erf(isa: Isa, from: &[f32], to: &mut [f32]) {
    map(isa, Erf, from, to);
}

/// `1 / (1 + e^-x)` of each value.
pub fn sigmoid(isa: Isa, from: &[f32], to: &mut [f32]) {
    map(isa, Sigmoid, from, to);
}

/// The results of an activation of values that are kept.
pub fn activate_from(isa: Isa, activation: Activation, from: &[f32], to: &mut [f32]) {
    match activation {
        Activation::Gelu => map(isa, Gelu, from, to),
        Activation::GeluTanh => map(isa, GeluTanh, from, to),
        Activation::Relu => map(isa, Relu, from, to),
        Activation::Silu => map(isa, Silu, from, to),
        Activation::Tanh => tanh(isa, from, to),
        Activation::Sigmoid => sigmoid(isa, from, to),
        Activation::None | Activation::LeakyRelu(_) => {
            let count = from.len().min(to.len());
            to[..count].copy_from_slice(&from[..count]);
            activate(isa, activation, &mut to[..count]);
        }
    }
}

struct ScaleShift<'a> {
    x: &'a [f32],
    mean: &'a [f32],
    scale: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for ScaleShift<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let columns = self.mean.len().min(self.scale.len());
        if columns == 0 {
            return;
        }
        let rows = self.x.chunks_exact(columns).zip(self.out.chunks_exact_mut(columns));
        for (x, out) in rows {
            let mut index = 0;
            while index < columns {
                let count = COUNT.min(columns - index);
                // SAFETY: all four have `columns` values, and `index + count` is at most that.
                unsafe {
                    let mean = L::load_part(self.mean.as_ptr().add(index), count, 0.0);
                    let scale = L::load_part(self.scale.as_ptr().add(index), count, 0.0);
                    let x = L::load_part(x.as_ptr().add(index), count, 0.0);
                    x.sub(mean).mul(scale).store_part(out.as_mut_ptr().add(index), count);
                }
                index += COUNT;
            }
        }
    }
}

/// Scales features: `(x - mean) * scale` by column, for each row of `mean.len()` values. The
/// difference comes first, so that features with a large mean keep their digits.
pub fn scale_shift(isa: Isa, x: &[f32], mean: &[f32], scale: &[f32], out: &mut [f32]) {
    dispatch(isa, ScaleShift { x, mean, scale, out });
}
