//! Owns the convolution of floating-point numbers.
//!
//! Refuses more than three spatial dimensions. Bound: columns in blocks of [`COLUMN_COUNT_MAX`]
//! values; for 32-bit numbers nothing is allocated once the buffers have grown.

use std::ops::Range;

use super::conv_inputs::{Sizes, columns, groups};
use super::product::add_product;
use super::settings::Settings;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{BUFFER_COUNT, Float, Wide};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "Conv", conv)];

/// Values of one block of columns, about what a second cache holds.
pub const COLUMN_COUNT_MAX: usize = 1 << 16;
/// Windows of one block, where a single window has many values.
const BLOCK_MIN: usize = 32;

#[derive(Debug)]
struct Conv {
    settings: Settings,
    groups: usize,
}

/// The operands of one convolution.
struct Operands<'a, T> {
    input: &'a [T],
    weights: &'a [T],
    bias: Option<&'a [T]>,
}

impl Operator for Conv {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (input, weights) = (inputs.need(0)?, inputs.need(1)?);
        let bias = inputs.get(2).map(Tensor::shape);
        let sizes = Sizes::new(&self.settings, self.groups, input.shape(), weights.shape(), bias)?;
        with_values!([F32, F64, F16, Bf16] input.data(), values => {
            run(values, &sizes, inputs, &mut outputs[0], context)
        }, else Err(RunError::input(input.dtype(), "floating-point numbers")))
    }
}

fn run<T: Float>(
    input: &[T],
    sizes: &Sizes,
    inputs: &Inputs<'_>,
    output: &mut Tensor,
    context: &mut Context<'_>,
) -> Result<(), RunError> {
    let bias = if inputs.get(2).is_some() { Some(inputs.values::<T>(2)?.1) } else { None };
    let operands = Operands { input, weights: inputs.values::<T>(1)?.1, bias };
    let out = context.shape_as::<T>(output, &sizes.dims)?;
    if out.is_empty() {
        return Ok(());
    }
    let mut own: [Vec<T::Wide>; BUFFER_COUNT] = Default::default();
    let [cols, weights, sums, ..] = T::Wide::buffers(context.scratch, &mut own);
    let weights = match T::as_wide(operands.weights) {
        Some(weights) => weights,
        None => {
            weights.clear();
            weights.extend(operands.weights.iter().map(|weight| weight.wide()));
            weights.as_slice()
        }
    };
    let group_len = sizes.features * sizes.grid.output_count();
    let depth = sizes.channels * sizes.grid.kernel_count();
    for (index, out) in out.chunks_exact_mut(group_len).enumerate() {
        let group = index % sizes.groups;
        let input_len = sizes.channels * sizes.grid.input_count();
        let values = &operands.input[index * input_len..][..input_len];
        let first = group * sizes.features;
        let weights = &weights[first * depth..][..sizes.features * depth];
        let bias = operands.bias.map(|bias| &bias[first..first + sizes.features]);
        if let Some(out) = T::as_wide_mut(out) {
            convolve(values, weights, bias, sizes, cols, out);
            continue;
        }
        sums.resize(group_len, T::Wide::ZERO);
        convolve(values, weights, bias, sizes, cols, sums);
        out.iter_mut().zip(sums.iter()).for_each(|(out, sum)| *out = T::narrow(*sum));
    }
    Ok(())
}

/// One group of one image.
fn convolve<T: Float>(
    values: &[T],
    weights: &[T::Wide],
    bias: Option<&[T]>,
    sizes: &Sizes,
    cols: &mut Vec<T::Wide>,
    out: &mut [T::Wide],
) {
    let grid = &sizes.grid;
    let (depth, count) = (sizes.channels * grid.kernel_count(), grid.output_count());
    for (feature, out) in out.chunks_exact_mut(count).enumerate() {
        out.fill(bias.map_or(T::Wide::ZERO, |bias| bias[feature].wide()));
    }
    if let Some(values) = T::as_wide(values).filter(|_| grid.is_identity()) {
        add_product(weights, values, out, depth, count, count);
        return;
    }
    let block = (COLUMN_COUNT_MAX / depth.max(1)).clamp(BLOCK_MIN, count.max(BLOCK_MIN));
    for start in (0..count).step_by(block) {
        let range: Range<usize> = start..count.min(start + block);
        let len = range.len();
        cols.resize(depth * len, T::Wide::ZERO);
        columns(values, grid, range, cols, T::Wide::ZERO, T::wide);
        add_product(weights, cols, &mut out[start..], depth, len, count);
    }
}

/// Settings of a convolution.
///
/// # Errors
/// [`ModelError::Unsupported`].
pub fn conv_settings(view: &NodeView<'_>) -> Result<(Settings, usize), ModelError> {
    view.only_attributes(&["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"])?;
    Ok((Settings::read(view)?, groups(view, "group")?))
}

fn conv(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let (settings, groups) = conv_settings(view)?;
    let floats = [DType::F32, DType::F64, DType::F16, DType::Bf16];
    let dtype = view.dtype_among(0, &floats)?;
    view.dtype_among(1, &[dtype])?;
    if view.has_input(2) {
        view.dtype_among(2, &[dtype])?;
    }
    Ok(Built::one(Conv { settings, groups }, dtype))
}
