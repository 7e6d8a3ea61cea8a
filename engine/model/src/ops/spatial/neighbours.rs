//! Owns the operator that divides each value by what its neighbouring channels hold.
//!
//! Refuses a size below 1. Bound: one pass per neighbour. Formula: Krizhevsky et al., ImageNet
//! classification with deep convolutional neural networks, 3.3, as ONNX writes it down.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Float, Wide};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "LRN", lrn)];

#[derive(Debug)]
struct Lrn {
    alpha: f32,
    beta: f32,
    bias: f32,
    size: usize,
}

impl Lrn {
    fn fill<T: Float>(&self, values: &[T], [channels, places]: [usize; 2], out: &mut [T]) {
        if out.is_empty() {
            return;
        }
        let of = |value: f32| T::Wide::of(f64::from(value));
        let scale = of(self.alpha) / T::Wide::of(self.size as f64);
        // An even number of neighbours has one more behind.
        let (before, after) = ((self.size - 1) / 2, self.size / 2);
        let items = out.chunks_exact_mut(channels * places);
        for (out, values) in items.zip(values.chunks_exact(channels * places)) {
            for (index, out) in out.iter_mut().enumerate() {
                let (channel, place) = (index / places, index % places);
                let near = channel.saturating_sub(before)..channels.min(channel + after + 1);
                let square = |channel: usize| {
                    let value = values[channel * places + place].wide();
                    value * value
                };
                let sum = near.map(square).sum::<T::Wide>();
                let divisor = (of(self.bias) + scale * sum).powf(of(self.beta));
                *out = T::narrow(values[index].wide() / divisor);
            }
        }
    }
}

impl Operator for Lrn {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let shape = input.shape();
        let [_, channels, ref spatial @ ..] = shape[..] else {
            return Err(RunError::input(shape, "a batch and channels"));
        };
        let sizes = [channels, spatial.iter().product()];
        with_values!([F32, F64, F16, Bf16] input.data(), values => {
            self.fill(values, sizes, context.shape_as(&mut outputs[0], shape)?);
            Ok(())
        }, else Err(RunError::input(input.dtype(), "floating-point numbers")))
    }
}

fn lrn(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["alpha", "beta", "bias", "size"])?;
    let floats = [DType::F32, DType::F64, DType::F16, DType::Bf16];
    let dtype = view.dtype_among(0, &floats)?;
    let size = view.int("size")?.filter(|size| (1..1 << 24).contains(size));
    let size = size.ok_or_else(|| view.refuse("it has no `size` from 1 on"))? as usize;
    let (alpha, beta) = (view.float_or("alpha", 0.0001)?, view.float_or("beta", 0.75)?);
    Ok(Built::one(Lrn { alpha, beta, bias: view.float_or("bias", 1.0)?, size }, dtype))
}
