//! Owns linear layers in bf16 with sums in f32.
//!
//! Refuses to know other numbers. Bound: the rows are rounded to bf16, half to even, into scratch
//! that grows to half their size.

use half::bf16;
use truststram_machine::NodeBuffer;

use super::float::fits;
use super::{Layer, Weights};
use crate::error::ModelError;
use crate::kernels::lanes::{COUNT, Kernel, Lanes, dispatch};
use crate::kernels::tiles::{Finish, Job, Number, Panels, multiply};
use crate::kernels::{Isa, Team};

/// Weights packed as pairs of bf16.
#[derive(Debug)]
pub struct PackedBf16 {
    panels: Panels,
    inputs: usize,
}

impl PackedBf16 {
    /// Rounds weights of f32 to bf16, or takes those of bf16 as they are, and packs them into
    /// memory of a NUMA node.
    ///
    /// # Errors
    /// [`ModelError::Machine`] when there is not enough memory.
    pub fn new<T>(weights: Weights<'_, T>, node: Option<u32>) -> Result<Self, ModelError>
    where
        T: Copy + Default + Into<f32>,
    {
        let inputs = weights.inputs();
        let half = |input, output| {
            let weight = weights.at_or(input, output, T::default());
            u32::from(bf16::from_f32(weight.into()).to_bits())
        };
        let word = |word: usize, output| half(2 * word, output) | half(2 * word + 1, output) << 16;
        let panels = Panels::pack(weights.outputs(), inputs.div_ceil(2), node, word)?;
        Ok(Self { panels, inputs })
    }

    /// Columns of the result.
    pub fn outputs(&self) -> usize {
        self.panels.columns()
    }

    /// Columns of the rows that come in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The memory of the packed weights.
    pub fn buffer(&self) -> &NodeBuffer {
        self.panels.buffer()
    }

    /// Bytes of the packed weights.
    pub fn bytes(&self) -> usize {
        self.panels.bytes()
    }
}

struct Round<'a> {
    x: &'a [f32],
    columns: usize,
    out: &'a mut [u8],
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let row_bytes = self.columns.div_ceil(2) * 4;
        let rows = self.x.chunks_exact(self.columns).zip(self.out.chunks_exact_mut(row_bytes));
        for (x, out) in rows {
            // The half after an odd number of them; zero times a weight of zero.
            out[row_bytes - 2..].fill(0);
            let mut index = 0;
            while index < self.columns {
                let count = COUNT.min(self.columns - index);
                // SAFETY: `index + count` is at most `columns`, and `out` has 2 bytes for each.
                unsafe {
                    let value = L::load_part(x.as_ptr().add(index), count, 0.0);
                    let halves = rounded::<L>(value);
                    L::store_halves(halves, out.as_mut_ptr().cast::<u16>().add(index), count);
                }
                index += COUNT;
            }
        }
    }
}

/// The nearest bf16, half to even, in the lower half of each word; NaN stays NaN.
#[inline(always)]
pub fn rounded<L: Lanes>(value: L) -> L::Ints {
    let bits = value.bits();
    let odd = L::and_ints(L::shift_down::<16>(bits), L::splat_ints(1));
    let rounded = L::add_ints(bits, L::add_ints(odd, L::splat_ints(0x7fff)));
    // The payload of NaN must not round away; NaN is above nothing and below nothing.
    let quiet = L::of_bits(L::splat_ints(0x7fc0_0000));
    let special = L::splat(f32::MAX).if_less(value.abs(), value, quiet);
    let kept = value.abs().if_less(L::splat(f32::INFINITY), L::of_bits(rounded), special);
    L::shift_down::<16>(kept.bits())
}

/// `out = activation(x · W + bias)` for `rows` rows of x, rounded to bf16 in `scratch`. Slices
/// that are too short are a mistake of the caller: nothing is computed.
pub fn linear_bf16(
    isa: Isa,
    team: &dyn Team,
    x: &[f32],
    rows: usize,
    layer: Layer<'_, PackedBf16>,
    scratch: &mut Vec<u8>,
    out: &mut [f32],
) {
    let Layer { weights, bias, activation } = layer;
    let (inputs, outputs) = (weights.inputs(), weights.outputs());
    if !fits(x.len(), rows, inputs, bias, outputs, out.len()) {
        return;
    }
    let words = weights.panels.words();
    let bytes = rows * words * 4;
    if scratch.len() < bytes {
        scratch.resize(bytes, 0);
    }
    if inputs > 0 {
        let x = &x[..rows * inputs];
        dispatch(isa, Round { x, columns: inputs, out: &mut scratch[..bytes] });
    }
    let job = Job {
        x: scratch.as_ptr().cast(),
        x_stride: words,
        x_step: 1,
        rows: (0, rows),
        weights: weights.panels.start(),
        matrix_stride: None,
        words,
        columns: outputs,
        panels: (0, 0),
        out: out.as_mut_ptr(),
        out_stride: outputs,
        adds: false,
        finish: Finish::plain(bias, activation),
    };
    multiply(isa, team, Number::Bf16, &job);
}
