//! Owns `MeanVarianceNormalization`: values less their mean, by their deviation, over some axes.
//!
//! Refuses integers. Bound: three passes over the values; sums in 64 bits, rounded once.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Number, check_axes, unique_axes};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Shape, Tensor};
use crate::with_values;

use super::reduce::{gather, kept_strides};

/// This family.
pub const OPERATORS: Family = &[("", "MeanVarianceNormalization", build)];

/// Added to the deviation, as the operator's definition has it.
const EPSILON: f64 = 1e-9;

#[derive(Debug)]
struct MeanVariance {
    axes: Vec<i64>,
}

impl Operator for MeanVariance {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        context.shape(&mut outputs[0], input.dtype(), input.shape())?;
        let sums = &mut context.scratch.f64s;
        with_values!([F32, F64, F16, Bf16] input.data(), values => {
            match outputs[0].values_mut() {
                Some(out) => self.fill(input.shape(), values, out, sums),
                None => Ok(()),
            }
        }, else Err(RunError::input(input.dtype(), "floating-point numbers")))
    }
}

impl MeanVariance {
    fn fill<T: Number>(
        &self,
        shape: &Shape,
        values: &[T],
        out: &mut [T],
        sums: &mut Vec<f64>,
    ) -> Result<(), RunError> {
        let axes = unique_axes(&self.axes, shape.len())?;
        let (strides, groups) = kept_strides(shape, &axes);
        let count = (values.len() / groups.max(1)) as f64;
        sums.clear();
        sums.resize(2 * groups, 0.0);
        let (means, variances) = sums.split_at_mut(groups);
        gather(shape, &strides, |at, group| means[group] += values[at].to_f64());
        means.iter_mut().for_each(|mean| *mean /= count);
        gather(shape, &strides, |at, group| {
            variances[group] += (values[at].to_f64() - means[group]).powi(2);
        });
        gather(shape, &strides, |at, group| {
            let deviation = (variances[group] / count).sqrt();
            out[at] = T::from_f64((values[at].to_f64() - means[group]) / (deviation + EPSILON));
        });
        Ok(())
    }
}

fn build(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["axes"])?;
    let axes = view.ints("axes")?.unwrap_or(&[0, 2, 3]).to_vec();
    check_axes(view, &axes)?;
    let dtype = view.dtype_among(0, &[DType::F32, DType::F64, DType::F16, DType::Bf16])?;
    Ok(Built::one(MeanVariance { axes }, dtype))
}
