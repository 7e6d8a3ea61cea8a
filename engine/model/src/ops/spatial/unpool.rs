//! Owns the way back from a pool of largest values, to the places that they came from.
//!
//! Refuses places beyond the result. Bound: one pass.

use super::settings::Settings;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, few_ints};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Element, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "MaxUnpool", max_unpool)];

#[derive(Debug)]
struct MaxUnpool(Settings);

impl MaxUnpool {
    /// Dimensions of what was pooled, as far as settings tell.
    fn pooled(&self, shape: &[usize]) -> Option<Few<usize>> {
        let settings = &self.0;
        let spatial = shape.get(2..)?;
        settings.check(spatial, &settings.kernel).ok()?;
        let mut dims = Few::of(&shape[..2]).ok()?;
        for (index, dim) in spatial.iter().enumerate() {
            let pad = |index: usize| settings.pads.get(index).copied().unwrap_or(0);
            let pads = pad(index) + pad(spatial.len() + index);
            let windows = dim.checked_sub(1)?.checked_mul(settings.steps(index).0)?;
            dims.push((windows + settings.kernel[index]).checked_sub(pads)?).ok()?;
        }
        Some(dims)
    }
}

/// Writes each value to its place, which was counted within `from` dimensions.
fn put<T: Element>(
    values: &[T],
    places: &[i64],
    [from, to]: [&[usize]; 2],
    out: &mut [T],
) -> Result<(), RunError> {
    out.fill(T::default());
    for (value, place) in values.iter().zip(places) {
        let wrong = || RunError::input(format_args!("place {place}"), "one of what was pooled");
        let mut rest = usize::try_from(*place).map_err(|_| wrong())?;
        let (mut index, mut stride) = (0, 1);
        for (from, to) in from.iter().zip(to).rev() {
            if *from == 0 {
                return Err(wrong());
            }
            let step = rest % from;
            if step >= *to {
                return Err(wrong());
            }
            index += step * stride;
            stride *= to;
            rest /= from;
        }
        if rest > 0 {
            return Err(wrong());
        }
        out[index].clone_from(value);
    }
    Ok(())
}

impl Operator for MaxUnpool {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let (place_shape, places) = inputs.values::<i64>(1)?;
        let wrong = || RunError::input(input.shape(), "what a pool with these settings makes");
        let from = self.pooled(input.shape()).ok_or_else(wrong)?;
        let to = match few_ints(inputs, 2)? {
            None => from,
            Some(dims) => {
                let mut to = Few::<usize>::new();
                for dim in dims.iter() {
                    to.push(usize::try_from(*dim).map_err(|_| wrong())?)?;
                }
                to
            }
        };
        if to.len() != from.len() || place_shape != input.shape() {
            return Err(wrong());
        }
        with_values!([F32, F64, F16, Bf16] input.data(), values => {
            put(values, places, [&from, &to], context.shape_as(&mut outputs[0], &to)?)
        }, else Err(RunError::input(input.dtype(), "floating-point numbers")))
    }
}

fn max_unpool(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["kernel_shape", "pads", "strides"])?;
    let floats = [DType::F32, DType::F64, DType::F16, DType::Bf16];
    let dtype = view.dtype_among(0, &floats)?;
    view.dtype_among(1, &[DType::I64])?;
    if view.has_input(2) {
        view.dtype_among(2, &[DType::I64])?;
    }
    let settings = Settings::read(view)?;
    if settings.kernel.is_empty() {
        return Err(view.refuse("it has no `kernel_shape`"));
    }
    Ok(Built::one(MaxUnpool(settings), dtype))
}
