//! Owns `SVMRegressor`: a weighted sum of how alike a row is to the support vectors, or its sign.
//!
//! Refuses transforms, which ONNX Runtime leaves out. Bound: rows by support vectors.

use super::machine::Vectors;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::ml::linear::{check_width, dot};
use crate::ops::ml::rows::with_rows;
use crate::ops::registry::Entry;
use crate::program::{Built, Context, Inputs, MemoryReport, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// Its entry in the table.
pub const OPERATOR: Entry = ("ai.onnx.ml", "SVMRegressor", build);

#[derive(Debug)]
struct Regressor {
    /// None for a linear sum of the features themselves.
    vectors: Option<Vectors>,
    coefficients: Vec<f32>,
    rho: f32,
    is_sign: bool,
}

fn build(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[
        "coefficients",
        "kernel_params",
        "kernel_type",
        "n_supports",
        "one_class",
        "post_transform",
        "rho",
        "support_vectors",
    ])?;
    view.dtype_among(0, &[DType::F32, DType::F64, DType::I64, DType::I32])?;
    if view.string("post_transform")?.is_some_and(|name| name != "NONE") {
        return Err(view.refuse("runtimes differ on transforms here"));
    }
    let coefficients = view.floats("coefficients")?.unwrap_or_default().to_vec();
    let [rho] = view.floats("rho")?.unwrap_or_default() else {
        return Err(view.refuse("`rho` is one number"));
    };
    let count = view.int_or("n_supports", 0)?;
    let count = usize::try_from(count).map_err(|_| view.refuse("a negative number of vectors"))?;
    let is_linear = view.string("kernel_type")?.is_none_or(|name| name == "LINEAR");
    let vectors = match count {
        0 if !is_linear => return Err(view.refuse("a kernel without support vectors")),
        0 => None,
        _ if coefficients.len() != count => {
            return Err(view.refuse("the coefficients do not fit the support vectors"));
        }
        _ => Some(Vectors::of(view, count)?),
    };
    if coefficients.is_empty() {
        return Err(view.refuse("there are no coefficients"));
    }
    let is_sign = view.int_or("one_class", 0)? != 0;
    Ok(Built::one(Regressor { vectors, coefficients, rho: *rho, is_sign }, DType::F32))
}

impl Operator for Regressor {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let width = self.vectors.as_ref().map_or(self.coefficients.len(), Vectors::width);
        with_rows(inputs, 0, context, |rows, context| {
            check_width(rows, width)?;
            let out = context.shape_as::<f32>(&mut outputs[0], &[rows.count, 1])?;
            let likeness = &mut context.scratch.f32s[0];
            for (index, out) in out.iter_mut().enumerate() {
                let row = rows.row(index);
                let sum = match &self.vectors {
                    None => dot(row, &self.coefficients),
                    Some(vectors) => {
                        vectors.compare(row, likeness);
                        dot(likeness, &self.coefficients)
                    }
                };
                *out = match (self.is_sign, sum + self.rho) {
                    (false, value) => value,
                    (true, value) if value > 0.0 => 1.0,
                    (true, _) => -1.0,
                };
            }
            Ok(())
        })
    }

    fn memory(&self, report: &mut MemoryReport) {
        report.add_heap(self.vectors.as_ref().map_or(0, Vectors::bytes));
        report.add_heap(size_of_val(&self.coefficients[..]));
    }
}
