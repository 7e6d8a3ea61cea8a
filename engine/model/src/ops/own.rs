//! Owns our own operators of the dense network: scaled features and linear layers.
//!
//! Refuses to know the kernels' loops. Bound: weights are packed once, when the program is built.

use super::registry::Family;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::kernels::{
    Activation, Layer, PackedF32, Weights, linear_f32, scale_shift, softmax_rows,
};
use crate::program::{Built, Context, Inputs, MemoryReport, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// This family.
pub const OPERATORS: Family =
    &[("truststram", "Scale", scale), ("truststram", "Linear", linear), ("", "Softmax", softmax)];

/// `(x - mean) * scale`, by column.
#[derive(Debug)]
struct Scale {
    mean: Vec<f32>,
    scale: Vec<f32>,
}

impl Operator for Scale {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<f32>(0)?;
        if shape.last() != Some(&self.mean.len()) {
            let expected = format!("the last of {} columns", self.mean.len());
            return Err(RunError::input(shape, expected));
        }
        let out = context.shape_as::<f32>(&mut outputs[0], shape)?;
        scale_shift(context.isa, values, &self.mean, &self.scale, out);
        Ok(())
    }

    fn memory(&self, report: &mut MemoryReport) {
        report.add_heap(size_of_val(self.mean.as_slice()) + size_of_val(self.scale.as_slice()));
    }
}

fn scale(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    view.dtype_among(0, &[DType::F32])?;
    let missing = || view.refuse("mean and scale are no constants");
    let mean = view.constant_values::<f32>(1)?.ok_or_else(missing)?.to_vec();
    let scale = view.constant_values::<f32>(2)?.ok_or_else(missing)?.to_vec();
    if mean.is_empty() || mean.len() != scale.len() {
        return Err(view.refuse("mean and scale are not of one length"));
    }
    Ok(Built::one(Scale { mean, scale }, DType::F32).taking(&[1, 2]))
}

/// `activation(x · W + bias)`.
#[derive(Debug)]
struct Linear {
    weights: PackedF32,
    bias: Option<Vec<f32>>,
    activation: Activation,
}

impl Operator for Linear {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<f32>(0)?;
        let [rows, columns] = **shape else {
            return Err(RunError::input(shape, "[rows, columns]"));
        };
        if columns != self.weights.inputs() {
            let expected = format!("{} columns", self.weights.inputs());
            return Err(RunError::input(shape, expected));
        }
        let out = context.shape_as::<f32>(&mut outputs[0], &[rows, self.weights.outputs()])?;
        let (weights, bias) = (&self.weights, self.bias.as_deref());
        let layer = Layer { weights, bias, activation: self.activation };
        linear_f32(context.isa, context.team, values, rows, layer, out);
        Ok(())
    }

    fn memory(&self, report: &mut MemoryReport) {
        report.add_buffer(self.weights.buffer());
        report.add_heap(self.bias.as_deref().map_or(0, size_of_val));
    }
}

fn linear(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["activation"])?;
    view.dtype_among(0, &[DType::F32])?;
    let missing = || view.refuse("the weight is no constant [outputs, inputs]");
    let tensor = view.constant(1).ok_or_else(missing)?;
    let values = view.constant_values::<f32>(1)?.ok_or_else(missing)?;
    let [outputs, inputs] = **tensor.shape() else { return Err(missing()) };
    let weights = Weights::new(values, outputs, inputs, false)?;
    let weights = PackedF32::new(weights, view.options().node)?;
    let bias = view.constant_values::<f32>(2)?.map(<[f32]>::to_vec);
    if bias.as_ref().is_some_and(|bias| bias.len() != outputs) {
        return Err(view.refuse("the bias has not one value per output"));
    }
    let name = view.string("activation")?.unwrap_or("none");
    let unknown = || view.refuse(format_args!("activation `{name}` is not known"));
    let activation = Activation::by_name(name).ok_or_else(unknown)?;
    Ok(Built::one(Linear { weights, bias, activation }, DType::F32).taking(&[1, 2]))
}

/// Probabilities along the last dimension.
#[derive(Debug)]
struct Softmax;

impl Operator for Softmax {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<f32>(0)?;
        let columns = shape.last().copied().unwrap_or(1);
        let out = context.shape_as::<f32>(&mut outputs[0], shape)?;
        out.copy_from_slice(values);
        softmax_rows(context.isa, out, columns);
        Ok(())
    }
}

fn softmax(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["axis"])?;
    view.dtype_among(0, &[DType::F32])?;
    if view.int_or("axis", -1)? != -1 || view.opset() < 13 {
        return Err(view.refuse("it is computed along the last axis, from opset 13 on"));
    }
    Ok(Built::one(Softmax, DType::F32))
}
