//! Owns what chooses among values: a condition, or bounds.
//!
//! Refuses to compute. Bound: one pass.

use std::fmt;
use std::marker::PhantomData;

use super::pairs::by_type;
use super::walk::{broadcast, strides, walk};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Number, is_nan};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Element, Tensor};

/// This family.
pub const OPERATORS: Family = &[("", "Where", choose), ("", "Clip", clip)];

struct Where<T>(PhantomData<fn(T)>);

impl<T> fmt::Debug for Where<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Where")
    }
}

impl<T: Element> Operator for Where<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (condition_shape, condition) = inputs.values::<bool>(0)?;
        let ((a_shape, a), (b_shape, b)) = (inputs.values::<T>(1)?, inputs.values::<T>(2)?);
        let dims = broadcast(&[condition_shape, a_shape, b_shape])?;
        let out = context.shape_as::<T>(&mut outputs[0], &dims)?;
        let strides = [condition_shape, a_shape, b_shape].map(|shape| strides(shape, dims.len()));
        walk(&dims, &strides, |at, [which, first, second]| {
            out[at].clone_from(if condition[which] { &a[first] } else { &b[second] });
        });
        Ok(())
    }
}

/// Bounds as settings; those of inputs stand before them.
struct Clip<T> {
    low: Option<T>,
    high: Option<T>,
}

impl<T> fmt::Debug for Clip<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clip")
    }
}

impl<T: Number> Operator for Clip<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<T>(0)?;
        let bound = |index: usize, setting: Option<T>| match inputs.get(index) {
            None => Ok(setting),
            Some(_) => match inputs.values::<T>(index)?.1 {
                [bound] => Ok(Some(*bound)),
                other => Err(RunError::input(format_args!("{} bounds", other.len()), "one")),
            },
        };
        let (low, high) = (bound(1, self.low)?, bound(2, self.high)?);
        let out = context.shape_as::<T>(&mut outputs[0], shape)?;
        for (out, value) in out.iter_mut().zip(values) {
            *out = *value;
            if let Some(low) = low
                && (*out < low || is_nan(low))
            {
                *out = low;
            }
            // After the lower bound, so that the upper one wins where they cross.
            if let Some(high) = high
                && (*out > high || is_nan(high))
            {
                *out = high;
            }
        }
        Ok(())
    }
}

fn choose(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    view.dtype_among(0, &[DType::Bool])?;
    let dtype = view.dtype(1)?;
    view.dtype_among(2, &[dtype])?;
    macro_rules! make {
        ($type:ty) => {
            Ok(Built::one(Where::<$type>(PhantomData), dtype))
        };
    }
    by_type!(view, dtype, make, [Bool: bool, String: String])
}

fn clip(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let dtype = view.dtype(0)?;
    let as_settings = view.opset() < 11;
    view.only_attributes(if as_settings { &["min", "max"] } else { &[] })?;
    if as_settings && !dtype.is_float() {
        return Err(view.refuse(format_args!("type {dtype} is not computed")));
    }
    for index in 1..view.input_count() {
        if view.has_input(index) {
            view.dtype_among(index, &[dtype])?;
        }
    }
    let (low, high) = (view.float("min")?, view.float("max")?);
    macro_rules! make {
        ($type:ty) => {{
            let number = |bound: f32| <$type as Number>::from_f64(f64::from(bound));
            Ok(Built::one(Clip { low: low.map(number), high: high.map(number) }, dtype))
        }};
    }
    by_type!(view, dtype, make, [])
}
