//! Owns the pools over all places of each channel.
//!
//! Refuses channels without places. Bound: one pass.

use super::pool::{power, root, to_power};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, Float, Wide};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[
    ("", "GlobalAveragePool", global_average_pool),
    ("", "GlobalMaxPool", global_max_pool),
    ("", "GlobalLpPool", global_lp_pool),
];

/// What is made of the values of a channel.
#[derive(Clone, Copy, Debug)]
enum GlobalPool {
    Average,
    Max,
    Norm { power: i64 },
}

impl GlobalPool {
    fn of<T: Float>(self, values: &[T]) -> T {
        let wide = values.iter().map(|value| value.wide());
        T::narrow(match self {
            Self::Average => wide.sum::<T::Wide>() / T::Wide::of(values.len() as f64),
            Self::Norm { power } => {
                root(wide.map(|value| to_power(value, power)).sum::<T::Wide>(), power)
            }
            // What is no number stays.
            Self::Max => wide.fold(T::Wide::LOWEST, |best, value| {
                if value > best || value.is_nan() { value } else { best }
            }),
        })
    }

    fn fill<T: Float>(self, values: &[T], out: &mut [T]) {
        if out.is_empty() {
            return;
        }
        let places = values.len() / out.len();
        for (out, values) in out.iter_mut().zip(values.chunks_exact(places)) {
            *out = self.of(values);
        }
    }
}

impl Operator for GlobalPool {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let shape = input.shape();
        if shape.len() < 3 || shape[2..].contains(&0) {
            return Err(RunError::input(shape, "a batch, channels, and places"));
        }
        let mut dims = Few::of(&shape[..2])?;
        shape[2..].iter().try_for_each(|_| dims.push(1))?;
        with_values!([F32, F64, F16, Bf16] input.data(), values => {
            self.fill(values, context.shape_as(&mut outputs[0], &dims)?);
            Ok(())
        }, else Err(RunError::input(input.dtype(), "floating-point numbers")))
    }
}

fn built(view: &NodeView<'_>, pool: GlobalPool) -> Result<Built, ModelError> {
    let floats = [DType::F32, DType::F64, DType::F16, DType::Bf16];
    let dtype = view.dtype_among(0, &floats)?;
    Ok(Built::one(pool, dtype))
}

fn global_average_pool(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    built(view, GlobalPool::Average)
}

fn global_max_pool(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    built(view, GlobalPool::Max)
}

fn global_lp_pool(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["p"])?;
    built(view, GlobalPool::Norm { power: power(view)? })
}
