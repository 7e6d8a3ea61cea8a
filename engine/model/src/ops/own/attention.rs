//! Owns the operator `truststram.Attention`: softmax(scale · Q · Kᵀ) · V within each text.
//!
//! Refuses masks and what one text would see of another. Bound: scratch for one head per core.

use super::texts::{offsets, rows, typed};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::kernels::{Attention as Product, attention_f32};
use crate::ops::registry::Family;
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// This family.
pub const OPERATORS: Family = &[("truststram", "Attention", attention)];

#[derive(Debug)]
struct Attention {
    heads: usize,
    size: usize,
    scale: f32,
}

impl Operator for Attention {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let Self { heads, size, scale } = *self;
        let width = heads * size;
        let (tokens, qkv) = rows(inputs, 0, 3 * width)?;
        let offsets = offsets(inputs, 1, tokens)?;
        let out = context.shape_as::<f32>(&mut outputs[0], &[tokens, width])?;
        let product = Product { qkv, offsets, heads, size, scale, out };
        attention_f32(context.isa, context.team, product, &mut context.scratch.f32s[0]);
        Ok(())
    }
}

/// Inputs: per token its queries, keys and values, `[tokens, 3 · heads · head_size]`; the offsets
/// `[texts + 1]`, u32. Attributes: `heads`, `head_size` and optionally `scale`, else one over the
/// root of the head's size.
fn attention(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["heads", "head_size", "scale"])?;
    typed(view, &[DType::F32, DType::U32])?;
    let count = |name| -> Result<usize, ModelError> {
        let found = view.int_or(name, 0)?;
        let fits = usize::try_from(found).ok().filter(|count| (1..=1 << 16).contains(count));
        fits.ok_or_else(|| view.refuse(format_args!("{name} is {found}, expected 1 to 2^16")))
    };
    let (heads, size) = (count("heads")?, count("head_size")?);
    let scale = view.float_or("scale", 1.0 / (size as f32).sqrt())?;
    Ok(Built::one(Attention { heads, size, scale }, DType::F32))
}
