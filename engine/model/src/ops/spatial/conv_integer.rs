//! Owns the convolutions of quantised numbers.
//!
//! Refuses zero points and scales that are neither one value nor one per feature.
//! Bound: sums of one feature in scratch memory; sums wrap in 32 bits, as ONNX allows.

use super::conv::conv_settings;
use super::conv_inputs::Sizes;
use super::settings::Settings;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Data, Element, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family =
    &[("", "ConvInteger", conv_integer), ("", "QLinearConv", qlinear_conv)];

/// A quantised type.
trait Quantised: Element + Copy + Into<i32> {
    /// The number nearest to a real one, half to even.
    fn nearest(value: f64) -> Self;
}

impl Quantised for i8 {
    fn nearest(value: f64) -> Self {
        value.round_ties_even() as Self
    }
}

impl Quantised for u8 {
    fn nearest(value: f64) -> Self {
        value.round_ties_even() as Self
    }
}

/// Sums of products of one feature of one image.
fn sums<X: Quantised, W: Quantised>(
    values: &[X],
    weights: &[W],
    [zero, weight_zero]: [i32; 2],
    sizes: &Sizes,
    sums: &mut [i32],
) {
    let grid = &sizes.grid;
    let channels = values.chunks_exact(grid.input_count());
    for (values, weights) in channels.zip(weights.chunks_exact(grid.kernel_count())) {
        grid.each(|output, window| {
            let mut sum = sums[output];
            window.each(|place, kernel| {
                let value: i32 = values[place].into();
                let weight: i32 = weights[kernel].into();
                sum = sum.wrapping_add((value - zero).wrapping_mul(weight - weight_zero));
            });
            sums[output] = sum;
        });
    }
}

/// A value for all features or one for each.
fn per_feature(tensor: Option<&Tensor>, feature: usize, features: usize) -> Option<i32> {
    let Some(tensor) = tensor else { return Some(0) };
    let index = match tensor.count() {
        1 => 0,
        count if count == features && tensor.shape().len() == 1 => feature,
        _ => return None,
    };
    match tensor.data() {
        Data::I8(values) => Some(i32::from(values[index])),
        Data::U8(values) => Some(i32::from(values[index])),
        _ => None,
    }
}

/// Calls with each feature of each image: its number among all, its place in the result, sums.
fn each_feature(
    inputs: &Inputs<'_>,
    [x, w]: [usize; 2],
    [x_zero, w_zero]: [usize; 2],
    sizes: &Sizes,
    buffer: &mut Vec<i32>,
    mut call: impl FnMut(usize, usize, &[i32]) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let features = sizes.features * sizes.groups;
    let count = sizes.grid.output_count();
    let (input, weights) = (inputs.need(x)?, inputs.need(w)?);
    let (input_len, weight_len) =
        (sizes.channels * sizes.grid.input_count(), sizes.channels * sizes.grid.kernel_count());
    let wrong = || RunError::input("zero points", "one, or one for each feature");
    let zero = per_feature(inputs.get(x_zero), 0, 1).ok_or_else(wrong)?;
    for index in 0..sizes.batch * features {
        let (item, feature) = (index / features, index % features);
        let group = item * sizes.groups + feature / sizes.features;
        let weight_zero = per_feature(inputs.get(w_zero), feature, features).ok_or_else(wrong)?;
        buffer.clear();
        buffer.resize(count, 0);
        let zeros = [zero, weight_zero];
        with_values!([I8, U8] input.data(), values => {
            with_values!([I8, U8] weights.data(), weights => {
                let values = &values[group * input_len..][..input_len];
                let weights = &weights[feature * weight_len..][..weight_len];
                sums(values, weights, zeros, sizes, buffer);
            }, else return Err(RunError::input(weights.dtype(), "8 bits")))
        }, else return Err(RunError::input(input.dtype(), "8 bits")));
        call(feature, index * count, buffer)?;
    }
    Ok(())
}

/// Sums as they are.
#[derive(Debug)]
struct ConvInteger {
    settings: Settings,
    groups: usize,
}

impl Operator for ConvInteger {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (input, weights) = (inputs.need(0)?.shape(), inputs.need(1)?.shape());
        let sizes = Sizes::new(&self.settings, self.groups, input, weights, None)?;
        let out = context.shape_as::<i32>(&mut outputs[0], &sizes.dims)?;
        if out.is_empty() {
            return Ok(());
        }
        let buffer = &mut context.scratch.i32s;
        each_feature(inputs, [0, 1], [2, 3], &sizes, buffer, |_, place, sums| {
            out[place..place + sums.len()].copy_from_slice(sums);
            Ok(())
        })
    }
}

fn conv_integer(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let (settings, groups) = conv_settings(view)?;
    let bytes = [DType::I8, DType::U8];
    for index in 0..2 {
        let dtype = view.dtype_among(index, &bytes)?;
        if view.has_input(index + 2) {
            view.dtype_among(index + 2, &[dtype])?;
        }
    }
    Ok(Built::one(ConvInteger { settings, groups }, DType::I32))
}

/// Sums scaled and rounded to 8 bits.
#[derive(Debug)]
struct QLinearConv {
    settings: Settings,
    groups: usize,
}

/// A scale for all features or one for each.
fn scale(inputs: &Inputs<'_>, index: usize, feature: usize) -> Result<f32, RunError> {
    let (shape, scales) = inputs.values::<f32>(index)?;
    let wrong = || RunError::input(format_args!("scales of {shape}"), "one, or one per feature");
    let single = scales.len() == 1;
    scales.get(if single { 0 } else { feature }).copied().ok_or_else(wrong)
}

impl Operator for QLinearConv {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (input, weights) = (inputs.need(0)?.shape(), inputs.need(3)?.shape());
        let bias_shape = inputs.get(8).map(Tensor::shape);
        let sizes = Sizes::new(&self.settings, self.groups, input, weights, bias_shape)?;
        let features = sizes.features * sizes.groups;
        let single = [1, 6].iter().all(|index| inputs.get(*index).is_some_and(|t| t.count() == 1));
        let weight_scales = inputs.need(4)?.count();
        if !single || (weight_scales != 1 && weight_scales != features) {
            return Err(RunError::input("scales", "one, or for weights one per feature"));
        }
        let bias = match bias_shape {
            Some(_) => Some(inputs.values::<i32>(8)?.1),
            None => None,
        };
        let wrong = || RunError::input("a zero point of the result", "one value");
        let out_zero = per_feature(inputs.get(7), 0, 1).ok_or_else(wrong)?;
        let dtype = outputs[0].dtype();
        context.shape(&mut outputs[0], dtype, &sizes.dims)?;
        if outputs[0].count() == 0 {
            return Ok(());
        }
        let buffer = &mut context.scratch.i32s;
        let output = outputs[0].data_mut();
        each_feature(inputs, [0, 3], [2, 5], &sizes, buffer, |feature, place, sums| {
            // In 32 bits, as the scales are.
            let scale = scale(inputs, 1, 0)? * scale(inputs, 4, feature)? / scale(inputs, 6, 0)?;
            let bias = bias.map_or(0, |bias| bias[feature]);
            with_values!([I8, U8] output, out => {
                let out = out[place..place + sums.len()].iter_mut();
                out.zip(sums).for_each(|(out, sum)| {
                    let value = f64::from(sum.wrapping_add(bias)) * f64::from(scale);
                    *out = rescaled(value, out_zero);
                });
                Ok(())
            }, else Err(RunError::input(dtype, "8 bits")))
        })
    }
}

/// Rounded, then moved by the zero point and kept in the type's range.
fn rescaled<T: Quantised>(value: f64, zero: i32) -> T {
    T::nearest(value.round_ties_even() + f64::from(zero))
}

fn qlinear_conv(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let (settings, groups) = conv_settings(view)?;
    let bytes = [DType::I8, DType::U8];
    let input = view.dtype_among(0, &bytes)?;
    view.dtype_among(2, &[input])?;
    let weights = view.dtype_among(3, &bytes)?;
    view.dtype_among(5, &[weights])?;
    for index in [1, 4, 6] {
        view.dtype_among(index, &[DType::F32])?;
    }
    let output = view.dtype_among(7, &bytes)?;
    if view.has_input(8) {
        view.dtype_among(8, &[DType::I32])?;
    }
    Ok(Built::one(QLinearConv { settings, groups }, output))
}
