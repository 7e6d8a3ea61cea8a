//! Owns the operator `truststram.ResidualNorm`: the sum of two matrices, each row normalised.
//!
//! Refuses to know which layers meet here. Bound: one pass over each row while it is near.

use super::texts::{rows, typed};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::kernels::{EACH_MAX, layer_norm_rows, run_each};
use crate::ops::registry::Family;
use crate::program::{Built, Context, Inputs, MemoryReport, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// This family.
pub const OPERATORS: Family = &[("truststram", "ResidualNorm", residual_norm)];

/// Factors, addends and what keeps the root from 0.
#[derive(Debug)]
pub struct Norm {
    /// Factor of each column.
    pub gamma: Vec<f32>,
    /// Addend of each column.
    pub beta: Vec<f32>,
    /// Added to the variance.
    pub epsilon: f32,
}

impl Norm {
    /// Of two constant inputs and the attribute `epsilon`.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] if they are none, or of different lengths.
    pub fn read(view: &NodeView<'_>, gamma: usize) -> Result<Self, ModelError> {
        let missing = || view.refuse("gamma and beta are no constants");
        let beta = view.constant_values::<f32>(gamma + 1)?.ok_or_else(missing)?.to_vec();
        let gamma = view.constant_values::<f32>(gamma)?.ok_or_else(missing)?.to_vec();
        if gamma.is_empty() || gamma.len() != beta.len() {
            return Err(view.refuse("gamma and beta are not of one length"));
        }
        Ok(Self { gamma, beta, epsilon: view.float_or("epsilon", 1e-5)? })
    }

    /// Adds its memory.
    pub fn memory(&self, report: &mut MemoryReport) {
        report.add_heap(size_of_val(&*self.gamma) + size_of_val(&*self.beta));
    }
}

/// Numbers that a core adds and normalises in a nanosecond.
const NORMALISED_PER_NANO: usize = 2;

#[derive(Debug)]
struct ResidualNorm(Norm);

impl Operator for ResidualNorm {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let Norm { gamma, beta, epsilon } = &self.0;
        let (count, x) = rows(inputs, 0, gamma.len())?;
        let (others, residual) = rows(inputs, 1, gamma.len())?;
        if others != count {
            return Err(RunError::input(format_args!("{count} and {others} rows"), "as many"));
        }
        let out = context.shape_as::<f32>(&mut outputs[0], &[count, gamma.len()])?;
        let norm = |x: &[f32], residual: &[f32], out: &mut [f32]| {
            layer_norm_rows(context.isa, x, Some(residual), gamma, Some(beta), *epsilon, out);
        };
        let parts = context.team.parts(x.len() / NORMALISED_PER_NANO).min(EACH_MAX);
        if parts == 1 {
            norm(x, residual, out);
            return Ok(());
        }
        let size = count.div_ceil(parts) * gamma.len();
        let each = x.chunks(size).zip(residual.chunks(size)).zip(out.chunks_mut(size));
        run_each(context.team, each, |((x, residual), out)| norm(x, residual, out));
        Ok(())
    }

    fn memory(&self, report: &mut MemoryReport) {
        self.0.memory(report);
    }
}

/// Inputs: two matrices `[rows, columns]`; constant gamma and beta, `[columns]`. Attribute:
/// `epsilon`.
fn residual_norm(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["epsilon"])?;
    typed(view, &[DType::F32; 4])?;
    Ok(Built::one(ResidualNorm(Norm::read(view, 2)?), DType::F32).taking(&[2, 3]))
}
