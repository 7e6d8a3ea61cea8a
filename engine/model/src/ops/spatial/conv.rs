//! Owns the convolution of floating-point numbers.
//!
//! Refuses more than three spatial dimensions. Bound: columns in blocks of [`COLUMN_COUNT_MAX`]
//! values; for 32-bit numbers nothing is allocated once the buffers have grown.

use std::ops::Range;

use super::conv_inputs::{Sizes, columns, groups};
use super::settings::Settings;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::kernels::{Isa, Team};
use crate::ops::registry::Family;
use crate::ops::support::{BUFFER_COUNT, Float, Multiplied, Product, Wide};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "Conv", conv)];

/// Values of one block of columns, about what a second cache holds.
pub const COLUMN_COUNT_MAX: usize = 1 << 17;
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

fn run<T: Float<Wide: Multiplied>>(
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
    let (isa, team) = (context.isa, context.team);
    let mut own: [Vec<T::Wide>; BUFFER_COUNT] = Default::default();
    let [cols, weights, sums, packed] = T::Wide::buffers(context.scratch, &mut own);
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
    let mut convolution = Convolution { sizes, isa, team, cols, packed };
    for (index, out) in out.chunks_exact_mut(group_len).enumerate() {
        let group = index % sizes.groups;
        let input_len = sizes.channels * sizes.grid.input_count();
        let values = &operands.input[index * input_len..][..input_len];
        let first = group * sizes.features;
        let weights = &weights[first * depth..][..sizes.features * depth];
        let bias = operands.bias.map(|bias| &bias[first..first + sizes.features]);
        if let Some(out) = T::as_wide_mut(out) {
            convolution.group(values, weights, bias, out);
            continue;
        }
        sums.resize(group_len, T::Wide::ZERO);
        convolution.group(values, weights, bias, sums);
        out.iter_mut().zip(sums.iter()).for_each(|(out, sum)| *out = T::narrow(*sum));
    }
    Ok(())
}

/// What one convolution uses.
struct Convolution<'a, W> {
    sizes: &'a Sizes,
    isa: Isa,
    team: &'a dyn Team,
    cols: &'a mut Vec<W>,
    packed: &'a mut Vec<W>,
}

impl<W: Multiplied> Convolution<'_, W> {
    /// One group of one image.
    fn group<T: Float<Wide = W>>(
        &mut self,
        values: &[T],
        weights: &[W],
        bias: Option<&[T]>,
        out: &mut [W],
    ) {
        let grid = &self.sizes.grid;
        let (depth, count) = (self.sizes.channels * grid.kernel_count(), grid.output_count());
        let whole = T::as_wide(values).filter(|_| grid.is_identity());
        let block = match whole {
            Some(_) => count,
            None => (COLUMN_COUNT_MAX / depth.max(1)).clamp(BLOCK_MIN, count.max(BLOCK_MIN)),
        };
        for start in (0..count).step_by(block) {
            let range: Range<usize> = start..count.min(start + block);
            let len = range.len();
            let right = match whole {
                Some(values) => values,
                None => {
                    self.cols.resize(depth * len, W::ZERO);
                    columns(values, grid, range, self.cols, W::ZERO, T::wide);
                    self.cols.as_slice()
                }
            };
            let product = Product {
                rows: self.sizes.features,
                columns: len,
                depth,
                left: weights,
                right,
                out: &mut out[start..],
                out_stride: count,
            };
            W::multiply(self.isa, self.team, product, self.packed);
        }
        for (out, bias) in out.chunks_exact_mut(count).zip(bias.into_iter().flatten()) {
            let bias = bias.wide();
            out.iter_mut().for_each(|out| *out += bias);
        }
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
