//! Owns the operators that work value by value on one tensor.
//!
//! Refuses to know neighbours and other tensors. Bound: one pass.

use super::registry::Family;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Element, Tensor};

/// This family.
pub const OPERATORS: Family = &[("", "Relu", relu)];

/// One function applied to each value.
#[derive(Debug)]
struct Map<T: Element>(fn(&T) -> T);

impl<T: Element> Operator for Map<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<T>(0)?;
        let out = context.shape_as::<T>(&mut outputs[0], shape)?;
        for (out, value) in out.iter_mut().zip(values) {
            *out = (self.0)(value);
        }
        Ok(())
    }
}

fn relu(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    match view.dtype(0)? {
        // NaN stays NaN, so that an overflow is seen at the end.
        DType::F32 => Ok(Built::one(Map::<f32>(|x| if *x < 0.0 { 0.0 } else { *x }), DType::F32)),
        DType::F64 => Ok(Built::one(Map::<f64>(|x| if *x < 0.0 { 0.0 } else { *x }), DType::F64)),
        other => Err(view.refuse(format_args!("type {other} is not computed"))),
    }
}
