//! Owns the view of a layer's weights before they are packed.
//!
//! Refuses to know how they are packed. Bound: the length is checked once, here.

use crate::error::ModelError;
use crate::kernels::Activation;

/// What a layer does with its rows.
#[derive(Debug)]
pub struct Layer<'a, W> {
    /// Packed.
    pub weights: &'a W,
    /// One per output.
    pub bias: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

/// Weights of a layer, as they lie in a tensor.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a, T> {
    values: &'a [T],
    outputs: usize,
    inputs: usize,
    is_transposed: bool,
}

impl<'a, T: Copy> Weights<'a, T> {
    /// Weights `[outputs, inputs]`, or `[inputs, outputs]` if `is_transposed`.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] if there are not as many values.
    pub fn new(
        values: &'a [T],
        outputs: usize,
        inputs: usize,
        is_transposed: bool,
    ) -> Result<Self, ModelError> {
        if outputs.checked_mul(inputs) != Some(values.len()) {
            return Err(ModelError::Tensor {
                tensor: "weight".to_owned(),
                found: format!("{} values", values.len()),
                expected: format!("{outputs} x {inputs}"),
            });
        }
        Ok(Self { values, outputs, inputs, is_transposed })
    }

    /// Columns of the result.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the rows that come in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The weight from `input` to `output`, both below their numbers.
    pub fn at(&self, input: usize, output: usize) -> T {
        match self.is_transposed {
            true => self.values[input * self.outputs + output],
            false => self.values[output * self.inputs + input],
        }
    }

    /// As [`Weights::at`], and `padding` beyond the last input.
    pub fn at_or(&self, input: usize, output: usize, padding: T) -> T {
        if input < self.inputs { self.at(input, output) } else { padding }
    }
}
