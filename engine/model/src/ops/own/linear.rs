//! Owns the operator `truststram.Linear`: rows times constant weights, plus bias, through an
//! activation, in f32, bf16 or 8-bit numbers.
//!
//! Refuses to know which layers it was made of. Bound: the weights are packed once, in memory of
//! the program's node; a run allocates nothing once its scratch has grown.

use half::bf16;

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::kernels::{
    Activation, Input, Int8Scratch, Layer, PackedBf16, PackedF32, PackedI8, Weights, linear_bf16,
    linear_f32, linear_i8,
};
use crate::ops::registry::Family;
use crate::program::{Built, Context, Inputs, MemoryReport, Operator, RunError};
use crate::tensor::{DType, RANK_MAX, Tensor};

/// This family.
pub const OPERATORS: Family = &[("truststram", "Linear", linear)];

const X: usize = 0;
const WEIGHT: usize = 1;
const BIAS: usize = 2;
const SCALE: usize = 3;

#[derive(Debug)]
enum Packed {
    F32(PackedF32),
    Bf16(PackedBf16),
    Int8(PackedI8),
}

#[derive(Debug)]
struct Linear {
    packed: Packed,
    inputs: usize,
    outputs: usize,
    /// How many dimensions the rows must have; any number if none.
    rank: Option<usize>,
    bias: Option<Vec<f32>>,
    activation: Activation,
}

impl Linear {
    fn layer<'a, W>(&'a self, weights: &'a W) -> Layer<'a, W> {
        Layer { weights, bias: self.bias.as_deref(), activation: self.activation }
    }
}

impl Operator for Linear {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, x) = inputs.values::<f32>(X)?;
        let Some((_, leading)) = shape.split_last().filter(|(last, _)| **last == self.inputs)
        else {
            let expected = format_args!("rows of {} values", self.inputs);
            return Err(RunError::input(shape, expected));
        };
        if let Some(rank) = self.rank.filter(|rank| *rank != shape.len()) {
            return Err(RunError::input(shape, format_args!("{rank} dimensions")));
        }
        let rows = leading.iter().product();
        let mut dims = [0; RANK_MAX];
        dims[..leading.len()].copy_from_slice(leading);
        dims[leading.len()] = self.outputs;
        let out = context.shape_as::<f32>(&mut outputs[0], &dims[..=leading.len()])?;
        let (isa, team, scratch) = (context.isa, context.team, &mut *context.scratch);
        match &self.packed {
            Packed::F32(weights) => linear_f32(isa, team, x, rows, self.layer(weights), out),
            Packed::Bf16(weights) => {
                linear_bf16(isa, team, x, rows, self.layer(weights), &mut scratch.u8s, out);
            }
            Packed::Int8(weights) => {
                let scratch = Int8Scratch {
                    rows: &mut scratch.u8s,
                    scales: &mut scratch.f32s[0],
                    zeros: &mut scratch.i32s,
                };
                linear_i8(isa, team, x, rows, self.layer(weights), scratch, out);
            }
        }
        Ok(())
    }

    fn memory(&self, report: &mut MemoryReport) {
        report.add_buffer(match &self.packed {
            Packed::F32(weights) => weights.buffer(),
            Packed::Bf16(weights) => weights.buffer(),
            Packed::Int8(weights) => weights.buffer(),
        });
        report.add_heap(self.bias.as_deref().map_or(0, size_of_val));
    }
}

/// Inputs: x `[.., k]`; the weights, constant, `[n, k]` or, with `transposed`, `[k, n]`, in f32,
/// for `bf16` also in bf16 and for `int8` also quantised; optionally the bias `[n]` and, for
/// quantised weights, their scales, `[n]` or one. Attributes: `transposed` 0 or 1; `rank`, the
/// only number of dimensions that x may have; `activation`, the name of one, with `alpha` for
/// `leaky_relu`; `precision`, one of `f32`, `bf16` and `int8`; with `int8` optionally
/// `input_scale` and `input_zero_point` (0 to 255) for rows that are all quantised alike.
fn linear(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[
        "transposed",
        "rank",
        "activation",
        "alpha",
        "precision",
        "input_scale",
        "input_zero_point",
    ])?;
    view.dtype_among(X, &[DType::F32])?;
    let Some(weight) = view.constant(WEIGHT) else {
        return Err(view.refuse("the weights are not constant"));
    };
    let is_transposed = match view.int_or("transposed", 0)? {
        0 => false,
        1 => true,
        other => return Err(view.refuse(format_args!("transposed is {other}, expected 0 or 1"))),
    };
    let rank = match view.int("rank")?.map(usize::try_from) {
        None => None,
        Some(Ok(rank)) if (1..=RANK_MAX).contains(&rank) => Some(rank),
        Some(_) => return Err(view.refuse(format_args!("rank is not within 1 and {RANK_MAX}"))),
    };
    let (outputs, inputs) = match (&**weight.shape(), is_transposed) {
        ([outputs, inputs], false) | ([inputs, outputs], true) => (*outputs, *inputs),
        (other, _) => return Err(view.refuse(format_args!("weights of shape {other:?}"))),
    };
    let bias = view.constant_values::<f32>(BIAS)?;
    if let Some(bias) = bias.filter(|bias| bias.len() != outputs) {
        return Err(view.refuse(format_args!("{} biases for {outputs} outputs", bias.len())));
    }
    let packed = pack(view, weight, (outputs, inputs, is_transposed))?;
    let (bias, activation) = (bias.map(<[f32]>::to_vec), activation(view)?);
    let operator = Linear { packed, inputs, outputs, rank, bias, activation };
    Ok(Built::one(operator, DType::F32).taking(&[WEIGHT, BIAS, SCALE]))
}

fn activation(view: &NodeView<'_>) -> Result<Activation, ModelError> {
    let name = view.string("activation")?.unwrap_or("none");
    let alpha = view.float("alpha")?;
    match (name, Activation::by_name(name), alpha) {
        ("leaky_relu", _, Some(alpha)) => Ok(Activation::LeakyRelu(alpha)),
        (_, Some(activation), None) => Ok(activation),
        _ => Err(view.refuse(format_args!("activation `{name}` with alpha {alpha:?}"))),
    }
}

fn pack(
    view: &NodeView<'_>,
    weight: &Tensor,
    (outputs, inputs, is_transposed): (usize, usize, bool),
) -> Result<Packed, ModelError> {
    let node = view.options().node;
    let precision = view.string("precision")?.unwrap_or("f32");
    let input = input(view)?;
    let scales = view.constant_values::<f32>(SCALE)?;
    if precision != "int8" && (input != Input::Dynamic || scales.is_some()) {
        return Err(view.refuse(format_args!("scales with precision `{precision}`")));
    }
    let wrong = |_| view.refuse("weights that do not fit their shape");
    let refused = |what| view.refuse(format_args!("{what} with precision `{precision}`"));
    if let Some(values) = weight.values::<i8>() {
        if precision != "int8" {
            return Err(refused("quantised weights"));
        }
        let Some(scales) = scales else { return Err(refused("weights without scales")) };
        let weights = Weights::new(values, outputs, inputs, is_transposed).map_err(wrong)?;
        return Ok(Packed::Int8(PackedI8::new(weights, scales, node)?.reading(input)));
    }
    if let Some(values) = weight.values::<bf16>() {
        if precision != "bf16" {
            return Err(refused("weights in bf16"));
        }
        let weights = Weights::new(values, outputs, inputs, is_transposed).map_err(wrong)?;
        return Ok(Packed::Bf16(PackedBf16::new(weights, node)?));
    }
    let Some(values) = weight.values::<f32>() else {
        return Err(view.refuse(format_args!("weights of type {}", weight.dtype())));
    };
    let weights = Weights::new(values, outputs, inputs, is_transposed).map_err(wrong)?;
    match precision {
        "f32" => Ok(Packed::F32(PackedF32::new(weights, node)?)),
        "bf16" => Ok(Packed::Bf16(PackedBf16::new(weights, node)?)),
        "int8" if scales.is_some() => Err(refused("scales of weights that are not quantised")),
        "int8" => Ok(Packed::Int8(PackedI8::quantise(weights, node)?.reading(input))),
        _ => Err(refused("weights")),
    }
}

fn input(view: &NodeView<'_>) -> Result<Input, ModelError> {
    let zero_point = view.int("input_zero_point")?;
    match (view.float("input_scale")?, zero_point.map(u8::try_from)) {
        (None, None) => Ok(Input::Dynamic),
        (Some(scale), Some(Ok(zero_point))) if scale > 0.0 && scale.is_finite() => {
            Ok(Input::Static { scale, zero_point })
        }
        (scale, _) => Err(view.refuse(format_args!(
            "input scale {scale:?} with zero point {zero_point:?}, expected both, the scale above \
             0 and the zero point within 0 and 255"
        ))),
    }
}

#[cfg(test)]
mod tests;
