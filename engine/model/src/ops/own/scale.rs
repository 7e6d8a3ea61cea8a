//! Owns the scaling of features: `(x - mean) * scale`, column by column.
//!
//! Refuses means and scales that change from run to run. Bound: one pass.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::kernels::scale_shift;
use crate::ops::registry::Family;
use crate::program::{Built, Context, Inputs, MemoryReport, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// This family.
pub const OPERATORS: Family = &[("truststram", "Scale", scale)];

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
