//! Owns linear layers in 8-bit numbers: unsigned rows by signed weights, sums in whole numbers.
//!
//! Refuses to know other numbers. Bound: weights have one scale per output and no zero point; rows
//! are quantised into scratch that grows to a quarter of their size. A row that is not finite
//! gives NaN.

use truststram_machine::NodeBuffer;

use super::float::fits;
use super::{Layer, Weights};
use crate::error::ModelError;
use crate::kernels::lanes::{COUNT, Kernel, Lanes, dispatch};
use crate::kernels::tiles::{Finish, Int8, Job, Number, Panels, multiply, vectors};
use crate::kernels::{EACH_MAX, Isa, Team, run_each};

/// Weights packed as groups of four signed 8-bit numbers.
#[derive(Debug)]
pub struct PackedI8 {
    panels: Panels,
    inputs: usize,
    /// Per output, padded to whole vectors.
    scales: Vec<f32>,
    /// Of each output's weights, padded to whole vectors.
    sums: Vec<i32>,
    input: Input,
}

impl PackedI8 {
    /// Quantises weights and packs them into memory of a NUMA node.
    ///
    /// # Errors
    /// [`ModelError::Machine`] when there is not enough memory, or as [`quantise_weights`].
    pub fn quantise(weights: Weights<'_, f32>, node: Option<u32>) -> Result<Self, ModelError> {
        let (inputs, outputs) = (weights.inputs(), weights.outputs());
        let (quantised, scales) = quantise_weights(weights)?;
        Self::new(Weights::new(&quantised, outputs, inputs, false)?, &scales, node)
    }

    /// Packs quantised weights with one scale per output, or one for all.
    ///
    /// # Errors
    /// [`ModelError::Machine`] when there is not enough memory, [`ModelError::Tensor`] for another
    /// number of scales or more inputs than 32-bit sums can hold.
    pub fn new(
        weights: Weights<'_, i8>,
        scales: &[f32],
        node: Option<u32>,
    ) -> Result<Self, ModelError> {
        let (inputs, outputs) = (weights.inputs(), weights.outputs());
        check_inputs(inputs)?;
        if scales.len() != outputs && scales.len() != 1 {
            return Err(wrong(format!("{} scales", scales.len()), format!("{outputs} or 1")));
        }
        let padded = vectors(outputs) * COUNT;
        let mut all_scales = vec![0.0; padded];
        let mut sums = vec![0; padded];
        for output in 0..outputs {
            all_scales[output] = scales[output % scales.len()];
            let values = (0..inputs).map(|input| i32::from(weights.at(input, output)));
            sums[output] = values.sum();
        }
        let word = |word: usize, output| {
            let byte = |place| weights.at_or(4 * word + place, output, 0).to_ne_bytes()[0];
            u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)])
        };
        let panels = Panels::pack(outputs, inputs.div_ceil(4), node, word)?;
        Ok(Self { panels, inputs, scales: all_scales, sums, input: Input::Dynamic })
    }

    /// The same for rows that are quantised in this way; without it each by itself.
    pub fn reading(self, input: Input) -> Self {
        Self { input, ..self }
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

/// Quantises weights, each output's by its largest: `[outputs, inputs]`, and a scale per output.
///
/// # Errors
/// [`ModelError::Tensor`] for weights that are not finite or more inputs than 32-bit sums can hold.
pub fn quantise_weights(weights: Weights<'_, f32>) -> Result<(Vec<i8>, Vec<f32>), ModelError> {
    let (inputs, outputs) = (weights.inputs(), weights.outputs());
    check_inputs(inputs)?;
    let mut scales = Vec::with_capacity(outputs);
    let mut quantised = vec![0; inputs.saturating_mul(outputs)];
    for output in 0..outputs {
        let values = (0..inputs).map(|input| weights.at(input, output));
        let largest = values.clone().fold(0.0_f32, |largest, x| largest.max(x.abs()));
        if !values.clone().all(f32::is_finite) {
            let found = format!("a value of output {output} that is not finite");
            return Err(wrong(found, "finite values".to_owned()));
        }
        let scale = largest / 127.0;
        // Zeros, or numbers too small to be told apart.
        let scale = if scale < f32::MIN_POSITIVE { 1.0 } else { scale };
        for (input, value) in values.enumerate() {
            let value = (value / scale).round_ties_even().clamp(-127.0, 127.0);
            quantised[output * inputs + input] = value as i8;
        }
        scales.push(scale);
    }
    Ok((quantised, scales))
}

fn check_inputs(inputs: usize) -> Result<(), ModelError> {
    if inputs > Int8::INPUTS_MAX {
        let expected = format!("at most {} for 8-bit numbers", Int8::INPUTS_MAX);
        return Err(wrong(format!("{inputs} inputs"), expected));
    }
    Ok(())
}

fn wrong(found: String, expected: String) -> ModelError {
    ModelError::Tensor { tensor: "weight".to_owned(), found, expected }
}

/// How rows are quantised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Input {
    /// Each by its own smallest and largest value, 0 included.
    Dynamic,
    /// All alike: `x / scale + zero_point`, rounded half to even and held within 0 and 255.
    Static {
        /// What one step stands for; above 0.
        scale: f32,
        /// What stands for 0. For signed numbers add 128 to theirs.
        zero_point: u8,
    },
}

/// Buffers for quantised rows.
#[derive(Debug)]
pub struct Int8Scratch<'a> {
    /// The rows.
    pub rows: &'a mut Vec<u8>,
    /// The rows' scales.
    pub scales: &'a mut Vec<f32>,
    /// The rows' zero points.
    pub zeros: &'a mut Vec<i32>,
}

struct Quantise<'a> {
    x: &'a [f32],
    columns: usize,
    input: Input,
    rows: &'a mut [u8],
    scales: &'a mut [f32],
    zeros: &'a mut [i32],
}

/// Numbers that a core quantises in a nanosecond.
const QUANTISED_PER_NANO: usize = 3;

impl Quantise<'_> {
    /// With the help of the team where that pays.
    fn divide(self, isa: Isa, team: &dyn Team) {
        let parts = team.parts(self.x.len() / QUANTISED_PER_NANO).min(EACH_MAX);
        if parts == 1 {
            return dispatch(isa, self);
        }
        let Self { columns, input, .. } = self;
        let rows = self.scales.len().div_ceil(parts);
        let row_bytes = columns.div_ceil(4) * 4;
        let parts = self.x.chunks(rows * columns).zip(self.rows.chunks_mut(rows * row_bytes));
        let each = self.scales.chunks_mut(rows).zip(self.zeros.chunks_mut(rows));
        let parts = parts.zip(each).map(|((x, rows), (scales, zeros))| Quantise {
            x,
            columns,
            input,
            rows,
            scales,
            zeros,
        });
        run_each(team, parts, |part| dispatch(isa, part));
    }
}

impl Kernel for Quantise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let row_bytes = self.columns.div_ceil(4) * 4;
        let rows = self.x.chunks_exact(self.columns).zip(self.rows.chunks_exact_mut(row_bytes));
        for ((x, out), (row_scale, row_zero)) in rows.zip(self.scales.iter_mut().zip(self.zeros)) {
            // SAFETY: the row has `columns` values.
            let (low, high, broken) = unsafe { bounds::<L>(x.as_ptr(), self.columns) };
            let (scale, zero) = match self.input {
                Input::Static { scale, zero_point } => (scale, f32::from(zero_point)),
                Input::Dynamic => {
                    let scale = (high - low) / 255.0;
                    // A row of zeros, or of numbers too small to be told apart.
                    let scale = if scale < f32::MIN_POSITIVE { 1.0 } else { scale };
                    (scale, (-low / scale).round_ties_even().clamp(0.0, 255.0))
                }
            };
            // NaN where the row is not finite, and then in all its results.
            *row_scale = scale + broken;
            *row_zero = zero as i32;
            out[self.columns..].fill(0);
            // ONNX defines the quotient; what is our own choice need not wait for it.
            let is_static = self.input != Input::Dynamic;
            let (scale, inverse) = (L::splat(scale), L::splat(1.0 / scale));
            let zero = L::splat(zero);
            let mut index = 0;
            while index < self.columns {
                let count = COUNT.min(self.columns - index);
                // SAFETY: `index + count` is at most `columns`, and `out` has a byte for each.
                unsafe {
                    let value = L::load_part(x.as_ptr().add(index), count, 0.0);
                    let value = if is_static { value.div(scale) } else { value.mul(inverse) };
                    let value = value.round().add(zero);
                    let value = L::splat(255.0).min(L::splat(0.0).max(value));
                    value.store_bytes(out.as_mut_ptr().add(index), count);
                }
                index += COUNT;
            }
        }
    }
}

/// The smallest and the largest of the values and 0, and 0 again, or NaN if one is not finite.
///
/// # Safety
/// `count` values can be read.
#[inline(always)]
unsafe fn bounds<L: Lanes>(x: *const f32, count: usize) -> (f32, f32, f32) {
    let zero = L::splat(0.0);
    let (mut low, mut high, mut broken) = (zero, zero, zero);
    let mut index = 0;
    while index < count {
        // SAFETY: `index` and what is read after it lie below `count`.
        let value = unsafe { L::load_part(x.add(index), COUNT.min(count - index), 0.0) };
        low = value.min(low);
        high = value.max(high);
        broken = value.fma(zero, broken);
        index += COUNT;
    }
    (-zero.sub(low).top(), high.top(), broken.sum())
}

/// `out = activation(x · W + bias)` for `rows` rows of x, quantised in `scratch`. Slices that are
/// too short are a mistake of the caller: nothing is computed.
pub fn linear_i8(
    isa: Isa,
    team: &dyn Team,
    x: &[f32],
    rows: usize,
    layer: Layer<'_, PackedI8>,
    scratch: Int8Scratch<'_>,
    out: &mut [f32],
) {
    let Layer { weights, bias, activation } = layer;
    let (inputs, outputs) = (weights.inputs(), weights.outputs());
    if !fits(x.len(), rows, inputs, bias, outputs, out.len()) {
        return;
    }
    let words = weights.panels.words();
    let bytes = rows * words * 4;
    scratch.rows.resize(bytes.max(scratch.rows.len()), 0);
    scratch.scales.resize(rows.max(scratch.scales.len()), 0.0);
    scratch.zeros.resize(rows.max(scratch.zeros.len()), 0);
    let quantise = Quantise {
        x: &x[..rows * inputs],
        columns: inputs,
        input: weights.input,
        rows: &mut scratch.rows[..bytes],
        scales: &mut scratch.scales[..rows],
        zeros: &mut scratch.zeros[..rows],
    };
    match inputs {
        0 => quantise.scales.fill(0.0),
        _ => quantise.divide(isa, team),
    }
    let finish = Finish {
        row_scales: scratch.scales.as_ptr(),
        row_zeros: scratch.zeros.as_ptr(),
        column_scales: weights.scales.as_ptr(),
        column_sums: weights.sums.as_ptr(),
        ..Finish::plain(bias, activation)
    };
    let job = Job {
        x: scratch.rows.as_ptr().cast(),
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
        finish,
    };
    multiply(isa, team, Number::Int8, &job);
}
