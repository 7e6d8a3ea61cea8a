//! Owns the convolution whose windows are bent by offsets.
//!
//! Refuses other than two spatial dimensions. Bound: one pass over all windows; computed in the
//! width of the type, or in 32 bits for 16.

use super::conv_inputs::{Sizes, groups};
use super::settings::Settings;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Float, Wide};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "DeformConv", deform_conv)];

#[derive(Debug)]
struct DeformConv {
    settings: Settings,
    groups: usize,
    offset_groups: usize,
}

impl Operator for DeformConv {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (input, weights) = (inputs.need(0)?, inputs.need(1)?);
        let bias = inputs.get(3).map(Tensor::shape);
        let sizes = Sizes::new(&self.settings, self.groups, input.shape(), weights.shape(), bias)?;
        let (kernel, [_, high, wide]) = (sizes.grid.kernel_count(), sizes.grid.0);
        let channels = sizes.channels * sizes.groups;
        let offsets = self.offset_groups.checked_mul(kernel);
        let wrong = || RunError::input("offsets or a mask", "two and one per place of each window");
        let offsets = offsets.and_then(|count| Some((count, count.checked_mul(2)?)));
        let (masks, offsets) = offsets.ok_or_else(wrong)?;
        let is = |index: usize, count: usize| {
            let wanted = [sizes.batch, count, high.output, wide.output];
            inputs.get(index).is_none_or(|tensor| **tensor.shape() == wanted)
        };
        let divides = channels.is_multiple_of(self.offset_groups);
        if input.shape().len() != 4 || !divides || !is(2, offsets) || !is(4, masks) {
            return Err(wrong());
        }
        with_values!([F32, F64, F16, Bf16] input.data(), values => {
            self.compute(values, &sizes, inputs, &mut outputs[0], context)
        }, else Err(RunError::input(input.dtype(), "floating-point numbers")))
    }
}

/// The value between four places; nothing lies beyond the edges.
fn between<T: Float>(plane: &[T], [rows, columns]: [usize; 2], y: f64, x: f64) -> T::Wide {
    let mut sum = T::Wide::ZERO;
    if !(y > -1.0 && x > -1.0 && y < rows as f64 && x < columns as f64) {
        return sum;
    }
    let (top, left) = (y.floor(), x.floor());
    for (row, row_part) in [(top, 1.0 - (y - top)), (top + 1.0, y - top)] {
        for (column, part) in [(left, 1.0 - (x - left)), (left + 1.0, x - left)] {
            let within =
                row >= 0.0 && column >= 0.0 && row < rows as f64 && column < columns as f64;
            if within {
                let value = plane[row as usize * columns + column as usize].wide();
                sum += value * T::Wide::of(row_part * part);
            }
        }
    }
    sum
}

impl DeformConv {
    fn compute<T: Float>(
        &self,
        values: &[T],
        sizes: &Sizes,
        inputs: &Inputs<'_>,
        output: &mut Tensor,
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (weights, offsets) = (inputs.values::<T>(1)?.1, inputs.values::<T>(2)?.1);
        let optional = |index: usize| match inputs.get(index) {
            Some(_) => inputs.values::<T>(index).map(|(_, values)| Some(values)),
            None => Ok(None),
        };
        let (bias, mask) = (optional(3)?, optional(4)?);
        let out = context.shape_as::<T>(output, &sizes.dims)?;
        if out.is_empty() {
            return Ok(());
        }
        let [_, high, wide] = sizes.grid.0;
        let (kernel, places) = (sizes.grid.kernel_count(), sizes.grid.output_count());
        let (plane, features) = (sizes.grid.input_count(), sizes.features * sizes.groups);
        let channels = sizes.channels * sizes.groups;
        for (index, out) in out.iter_mut().enumerate() {
            let (place, feature) = (index % places, index / places % features);
            let item = index / places / features;
            let (y, x) = (place / wide.output, place % wide.output);
            let mut sum = bias.map_or(T::Wide::ZERO, |bias| bias[feature].wide());
            for depth in 0..sizes.channels {
                let channel = feature / sizes.features * sizes.channels + depth;
                let bent = item * self.offset_groups + channel / (channels / self.offset_groups);
                let values = &values[(item * channels + channel) * plane..][..plane];
                for step in 0..kernel {
                    let at = (bent * kernel + step) * places + place;
                    let offset = |which: usize| {
                        offsets[((bent * kernel + step) * 2 + which) * places + place].to_f64()
                    };
                    let (ky, kx) = (step / wide.kernel, step % wide.kernel);
                    let row = (y * high.stride + ky * high.dilation) as f64 - high.before as f64;
                    let column = (x * wide.stride + kx * wide.dilation) as f64 - wide.before as f64;
                    let sides = [high.input, wide.input];
                    let value = between(values, sides, row + offset(0), column + offset(1));
                    let weight = weights[(feature * sizes.channels + depth) * kernel + step].wide();
                    let mask = mask.map_or(T::Wide::ONE, |mask| mask[at].wide());
                    sum += value * weight * mask;
                }
            }
            *out = T::narrow(sum);
        }
        Ok(())
    }
}

fn deform_conv(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[
        "dilations",
        "group",
        "kernel_shape",
        "offset_group",
        "pads",
        "strides",
    ])?;
    let floats = [DType::F32, DType::F64, DType::F16, DType::Bf16];
    let dtype = view.dtype_among(0, &floats)?;
    for index in 1..5 {
        if index < 3 || view.has_input(index) {
            view.dtype_among(index, &[dtype])?;
        }
    }
    let operator = DeformConv {
        settings: Settings::read(view)?,
        groups: groups(view, "group")?,
        offset_groups: groups(view, "offset_group")?,
    };
    Ok(Built::one(operator, dtype))
}
