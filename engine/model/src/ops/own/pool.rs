//! Owns what makes one row of a text's tokens, and rows of length one.
//!
//! Refuses texts without a token. Bound: one pass over the tokens.

use super::texts::{matrix, offsets, typed};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::kernels::normalise_rows;
use crate::ops::registry::Family;
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// This family.
pub const OPERATORS: Family =
    &[("truststram", "Pool", pool), ("truststram", "L2Normalize", l2_normalize)];

#[derive(Clone, Copy, Debug)]
enum Pool {
    First,
    Mean,
}

impl Operator for Pool {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (tokens, columns, x) = matrix(inputs, 0)?;
        let offsets = offsets(inputs, 1, tokens)?;
        let out = context.shape_as::<f32>(&mut outputs[0], &[offsets.len() - 1, columns])?;
        if columns == 0 {
            return Ok(());
        }
        for (pair, out) in offsets.windows(2).zip(out.chunks_exact_mut(columns)) {
            let text = &x[pair[0] as usize * columns..pair[1] as usize * columns];
            out.copy_from_slice(&text[..columns]);
            if let Self::Mean = self {
                for row in text.chunks_exact(columns).skip(1) {
                    out.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
                }
                let count = (pair[1] - pair[0]) as f32;
                out.iter_mut().for_each(|sum| *sum /= count);
            }
        }
        Ok(())
    }
}

/// Inputs: x `[tokens, columns]` and the offsets `[texts + 1]`, u32. Attribute: `mode`, `mean` of
/// a text's rows or the `first` of them.
fn pool(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["mode"])?;
    typed(view, &[DType::F32, DType::U32])?;
    let operator = match view.string("mode")? {
        Some("first") => Pool::First,
        Some("mean") => Pool::Mean,
        other => return Err(view.refuse(format_args!("mode {other:?}, expected first or mean"))),
    };
    Ok(Built::one(operator, DType::F32))
}

#[derive(Debug)]
struct L2Normalize;

impl Operator for L2Normalize {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (rows, columns, x) = matrix(inputs, 0)?;
        let out = context.shape_as::<f32>(&mut outputs[0], &[rows, columns])?;
        normalise_rows(context.isa, x, columns, out);
        Ok(())
    }
}

/// Input: x `[rows, columns]`; each row is divided by its length, a row of zeros stays one.
fn l2_normalize(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    typed(view, &[DType::F32])?;
    Ok(Built::one(L2Normalize, DType::F32))
}
