//! Owns linear layers in f32.
//!
//! Refuses to know other numbers. Bound: the bits of a row's result depend on that row and the
//! weights alone, not on the batch, the instruction set or the team.

use truststram_machine::NodeBuffer;

use super::{Layer, Weights};
use crate::error::ModelError;
use crate::kernels::tiles::{Finish, Job, Number, Panels, multiply};
use crate::kernels::{Isa, Team};

/// Weights packed as f32.
#[derive(Debug)]
pub struct PackedF32 {
    panels: Panels,
}

impl PackedF32 {
    /// Packs weights into memory of a NUMA node.
    ///
    /// # Errors
    /// [`ModelError::Machine`] when there is not enough memory.
    pub fn new(weights: Weights<'_, f32>, node: Option<u32>) -> Result<Self, ModelError> {
        let word = |input, output| weights.at(input, output).to_bits();
        Ok(Self { panels: Panels::pack(weights.outputs(), weights.inputs(), node, word)? })
    }

    /// Columns of the result.
    pub fn outputs(&self) -> usize {
        self.panels.columns()
    }

    /// Columns of the rows that come in.
    pub fn inputs(&self) -> usize {
        self.panels.words()
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

/// `out = activation(x · W + bias)` for `rows` rows of x. A bias shorter than the outputs, and
/// rows that `x` or `out` do not hold, are a mistake of the caller: nothing is computed.
pub fn linear_f32(
    isa: Isa,
    team: &dyn Team,
    x: &[f32],
    rows: usize,
    layer: Layer<'_, PackedF32>,
    out: &mut [f32],
) {
    let Layer { weights, bias, activation } = layer;
    let (inputs, outputs) = (weights.inputs(), weights.outputs());
    if !fits(x.len(), rows, inputs, bias, outputs, out.len()) {
        return;
    }
    let job = Job {
        x: x.as_ptr().cast(),
        x_stride: inputs,
        x_step: 1,
        rows: (0, rows),
        weights: weights.panels.start(),
        matrix_stride: None,
        words: inputs,
        columns: outputs,
        panels: (0, 0),
        out: out.as_mut_ptr(),
        out_stride: outputs,
        adds: false,
        finish: Finish::plain(bias, activation),
    };
    multiply(isa, team, Number::F32, &job);
}

/// Whether all slices are large enough.
pub(super) fn fits(
    x: usize,
    rows: usize,
    inputs: usize,
    bias: Option<&[f32]>,
    outputs: usize,
    out: usize,
) -> bool {
    let fits = rows.checked_mul(inputs).is_some_and(|count| count <= x)
        && rows.checked_mul(outputs).is_some_and(|count| count <= out)
        && bias.is_none_or(|bias| bias.len() >= outputs);
    debug_assert!(fits, "the slices of a linear layer are too short");
    fits
}
