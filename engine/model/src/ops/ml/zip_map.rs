//! Owns `ZipMap`, which gives scores the names of their classes.
//!
//! Maps are no tensors here: its output is its input, `[rows, classes]` in the order of the labels
//! that [`super::class_labels`] reads from the node. Refuses another number of scores than labels,
//! at run. Bound: a copy.

use super::labels::Labels;
use super::rows::row_sizes;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// This family.
pub const OPERATORS: Family = &[("ai.onnx.ml", "ZipMap", build)];

#[derive(Debug)]
struct ZipMap {
    classes: usize,
}

fn build(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["classlabels_int64s", "classlabels_strings"])?;
    view.dtype_among(0, &[DType::F32])?;
    let classes = Labels::of(view, "classlabels_int64s", "classlabels_strings")?.len();
    Ok(Built::one(ZipMap { classes }, DType::F32))
}

impl Operator for ZipMap {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<f32>(0)?;
        let (rows, classes) = row_sizes(shape)?;
        if classes != self.classes {
            let found = format_args!("{classes} scores of a row");
            return Err(RunError::input(found, format_args!("{} classes", self.classes)));
        }
        context.shape_as::<f32>(&mut outputs[0], &[rows, classes])?.copy_from_slice(values);
        Ok(())
    }
}
