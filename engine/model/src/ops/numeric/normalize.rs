//! Owns the normalisations that models are trained with, as they are at inference.
//!
//! Refuses training. Bound: two passes over the values; f32 along the last axes runs in the
//! kernels.

use std::fmt;
use std::marker::PhantomData;

use half::{bf16, f16};

use super::lines::Lines;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::kernels::layer_norm_rows;
use crate::ops::registry::Family;
use crate::ops::support::{Float, Number, axis, check_axes};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// This family.
pub const OPERATORS: Family = &[
    ("", "BatchNormalization", batch),
    ("", "InstanceNormalization", instance),
    ("", "GroupNormalization", group),
    ("", "LayerNormalization", layer),
    ("", "RMSNormalization", root_mean_square),
    ("", "LpNormalization", norm),
];

/// Scale and shift by channel with the statistics of the training.
struct Batch<T> {
    epsilon: f32,
    elements: PhantomData<fn(T)>,
}

/// Scale and shift by channel with the statistics of the values: of `groups` groups of channels, or
/// of each channel.
struct Groups<T> {
    epsilon: f32,
    groups: Option<usize>,
    /// Before opset 21 a group has one scale.
    by_group: bool,
    elements: PhantomData<fn(T)>,
}

/// Scale and shift by place along the last axes.
struct Layer<T> {
    epsilon: f32,
    axis: i64,
    /// The mean stays.
    root_only: bool,
    elements: PhantomData<fn(T)>,
}

/// Divides by a norm along an axis.
struct Norm<T> {
    axis: i64,
    absolute: bool,
    elements: PhantomData<fn(T)>,
}

macro_rules! shown {
    ($($type:ident),*) => { $(impl<T> fmt::Debug for $type<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(stringify!($type))
        }
    })* };
}

shown!(Batch, Groups, Layer, Norm);

fn channels(tensor: &Tensor) -> Result<Lines, RunError> {
    let shape = tensor.shape();
    match shape.len() {
        0 | 1 => Err(RunError::input(shape, "at least two dimensions")),
        _ => Ok(Lines::along(shape, 1)),
    }
}

fn ensure_count(found: usize, expected: usize) -> Result<(), RunError> {
    match found == expected {
        true => Ok(()),
        false => Err(RunError::input(format_args!("{found} settings"), expected)),
    }
}

impl<T: Float> Operator for Batch<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<T>(0)?;
        let lines = match shape.len() {
            1 => Lines { outer: shape[0], length: 1, inner: 1 },
            _ => channels(inputs.need(0)?)?,
        };
        let mut settings = [&[][..]; 4];
        for (index, setting) in settings.iter_mut().enumerate() {
            *setting = inputs.values::<T>(index + 1)?.1;
            ensure_count(setting.len(), lines.length)?;
        }
        let [scale, shift, mean, variance] = settings;
        let out = context.shape_as::<T>(&mut outputs[0], shape)?;
        let inner = lines.inner.max(1);
        let rows = out.chunks_exact_mut(inner).zip(values.chunks_exact(inner));
        for (index, (out, values)) in rows.enumerate() {
            let channel = index % lines.length;
            let number = |values: &[T]| Number::to_f64(values[channel]);
            let factor = number(scale) / (number(variance) + f64::from(self.epsilon)).sqrt();
            let (mean, shift) = (number(mean), number(shift));
            for (out, value) in out.iter_mut().zip(values) {
                *out = T::from_f64((Number::to_f64(*value) - mean) * factor + shift);
            }
        }
        Ok(())
    }
}

/// Mean and variance.
fn moments<T: Number>(values: &[T]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().map(|value| value.to_f64()).sum::<f64>() / count;
    let squares = values.iter().map(|value| (value.to_f64() - mean).powi(2));
    (mean, squares.sum::<f64>() / count)
}

impl<T: Float> Operator for Groups<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<T>(0)?;
        let lines = channels(inputs.need(0)?)?;
        let groups = self.groups.unwrap_or(lines.length);
        if groups == 0 || lines.length % groups != 0 {
            let found = format_args!("{} channels", lines.length).to_string();
            return Err(RunError::input(found, format_args!("a multiple of {groups}")));
        }
        let (scale, shift) = (inputs.values::<T>(1)?.1, inputs.values::<T>(2)?.1);
        let expected = if self.by_group { groups } else { lines.length };
        ensure_count(scale.len(), expected)?;
        ensure_count(shift.len(), expected)?;
        let out = context.shape_as::<T>(&mut outputs[0], shape)?;
        let in_group = lines.length / groups;
        let (block, inner) = ((in_group * lines.inner).max(1), lines.inner.max(1));
        let blocks = out.chunks_exact_mut(block).zip(values.chunks_exact(block));
        for (index, (out, values)) in blocks.enumerate() {
            let group = index % groups;
            let (mean, variance) = moments(values);
            let factor = 1.0 / (variance + f64::from(self.epsilon)).sqrt();
            for (at, (out, value)) in out.iter_mut().zip(values).enumerate() {
                let setting = if self.by_group { group } else { group * in_group + at / inner };
                let normal = (Number::to_f64(*value) - mean) * factor;
                let scaled = normal * Number::to_f64(scale[setting]);
                *out = T::from_f64(scaled + Number::to_f64(shift[setting]));
            }
        }
        Ok(())
    }
}

impl<T: Float> Operator for Layer<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<T>(0)?;
        let axis = axis(self.axis, shape.len())?;
        let lines = Lines::from(shape, axis);
        let scale = inputs.values::<T>(1)?.1;
        ensure_count(scale.len(), lines.length)?;
        let shift = match inputs.get(2) {
            Some(_) => inputs.values::<T>(2)?.1,
            None => &[],
        };
        if !shift.is_empty() {
            ensure_count(shift.len(), lines.length)?;
        }
        if !self.root_only && outputs.len() == 1 && T::DTYPE == DType::F32 {
            let (scale, isa) = (inputs.values::<f32>(1)?.1, context.isa);
            let shift = match inputs.get(2) {
                Some(_) => Some(inputs.values::<f32>(2)?.1),
                None => None,
            };
            let out = context.shape_as::<f32>(&mut outputs[0], shape)?;
            let values = inputs.values::<f32>(0)?.1;
            layer_norm_rows(isa, values, None, scale, shift, self.epsilon, out);
            return Ok(());
        }
        let [first, rest @ ..] = outputs else { return Ok(()) };
        let out = context.shape_as::<T>(first, shape)?;
        let mut dims = crate::ops::support::Few::of(shape)?;
        dims[axis..].fill(1);
        for statistic in rest.iter_mut() {
            context.shape_as::<f32>(statistic, &dims)?;
        }
        let length = lines.length.max(1);
        let rows = out.chunks_exact_mut(length).zip(values.chunks_exact(length));
        for (row, (out, values)) in rows.enumerate() {
            let (mean, variance) = match self.root_only {
                false => moments(values),
                true => {
                    let squares = values.iter().map(|value| Number::to_f64(*value).powi(2));
                    (0.0, squares.sum::<f64>() / values.len() as f64)
                }
            };
            let factor = 1.0 / (variance + f64::from(self.epsilon)).sqrt();
            for (at, (out, value)) in out.iter_mut().zip(values).enumerate() {
                let scaled = (Number::to_f64(*value) - mean) * factor * Number::to_f64(scale[at]);
                let shift = shift.get(at).map_or(0.0, |shift| Number::to_f64(*shift));
                *out = T::from_f64(scaled + shift);
            }
            for (statistic, value) in rest.iter_mut().zip([mean, factor]) {
                if let Some(place) =
                    statistic.values_mut::<f32>().and_then(|values| values.get_mut(row))
                {
                    *place = value as f32;
                }
            }
        }
        Ok(())
    }
}

impl<T: Float> Operator for Norm<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<T>(0)?;
        let lines = Lines::along(shape, axis(self.axis, shape.len())?);
        let out = context.shape_as::<T>(&mut outputs[0], shape)?;
        for start in lines.starts() {
            let numbers = lines.places(start).map(|at| Number::to_f64(values[at]));
            let norm = match self.absolute {
                true => numbers.map(f64::abs).sum::<f64>(),
                false => numbers.map(|value| value * value).sum::<f64>().sqrt(),
            };
            for at in lines.places(start) {
                let share = if norm == 0.0 { 0.0 } else { Number::to_f64(values[at]) / norm };
                out[at] = T::from_f64(share);
            }
        }
        Ok(())
    }
}

macro_rules! by_float {
    ($view:expr, $dtype:expr, $make:ident) => {
        match $dtype {
            DType::F32 => $make!(f32),
            DType::F64 => $make!(f64),
            DType::F16 => $make!(f16),
            DType::Bf16 => $make!(bf16),
            other => Err($view.refuse(format_args!("type {other} is not computed"))),
        }
    };
}

/// Statistics are computed in 64 bits and 32 bits are what a node may ask for.
fn check_stash(view: &NodeView<'_>) -> Result<(), ModelError> {
    match view.int_or("stash_type", 1)? {
        1 => Ok(()),
        other => Err(view.refuse(format_args!("`stash_type` {other} is not computed"))),
    }
}

/// The one type of the first inputs.
fn one_type(view: &NodeView<'_>, count: usize) -> Result<DType, ModelError> {
    let dtype = view.dtype(0)?;
    for index in 1..count {
        if view.has_input(index) {
            view.dtype_among(index, &[dtype])?;
        }
    }
    Ok(dtype)
}

fn batch(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["epsilon", "momentum", "training_mode", "spatial"])?;
    if view.int_or("training_mode", 0)? != 0 || (1..5).any(|index| view.has_output(index)) {
        return Err(view.refuse("training is not done here"));
    }
    if view.int_or("spatial", 1)? != 1 {
        return Err(view.refuse("statistics by place are not computed"));
    }
    let epsilon = view.float_or("epsilon", 1e-5)?;
    let dtype = one_type(view, 5)?;
    macro_rules! make {
        ($type:ty) => {
            Ok(Built::one(Batch::<$type> { epsilon, elements: PhantomData }, dtype))
        };
    }
    by_float!(view, dtype, make)
}

fn groups(view: &NodeView<'_>, groups: Option<usize>, by_group: bool) -> Result<Built, ModelError> {
    let epsilon = view.float_or("epsilon", 1e-5)?;
    let dtype = one_type(view, 3)?;
    macro_rules! make {
        ($type:ty) => {{
            let elements = PhantomData;
            Ok(Built::one(Groups::<$type> { epsilon, groups, by_group, elements }, dtype))
        }};
    }
    by_float!(view, dtype, make)
}

fn instance(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["epsilon"])?;
    groups(view, None, false)
}

fn group(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["epsilon", "num_groups", "stash_type"])?;
    check_stash(view)?;
    let count = view.int("num_groups")?.and_then(|count| usize::try_from(count).ok());
    match count {
        Some(count) if count > 0 => groups(view, Some(count), view.opset() < 21),
        _ => Err(view.refuse("attribute `num_groups` must be at least 1")),
    }
}

fn layers(view: &NodeView<'_>, root_only: bool) -> Result<Built, ModelError> {
    view.only_attributes(&["axis", "epsilon", "stash_type"])?;
    check_stash(view)?;
    let (axis, epsilon) = (view.int_or("axis", -1)?, view.float_or("epsilon", 1e-5)?);
    check_axes(view, &[axis])?;
    let dtype = one_type(view, 3)?;
    let mut types = vec![dtype];
    types.extend((1..view.output_count()).map(|_| DType::F32));
    if types.len() > 3 || (root_only && types.len() > 1) {
        return Err(view.refuse("so many outputs are not computed"));
    }
    macro_rules! make {
        ($type:ty) => {{
            let elements = PhantomData;
            Ok(Built::many(Layer::<$type> { epsilon, axis, root_only, elements }, types))
        }};
    }
    by_float!(view, dtype, make)
}

fn layer(view: &NodeView<'_>) -> Result<Built, ModelError> {
    layers(view, false)
}

fn root_mean_square(view: &NodeView<'_>) -> Result<Built, ModelError> {
    layers(view, true)
}

fn norm(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["axis", "p"])?;
    let axis = view.int_or("axis", -1)?;
    check_axes(view, &[axis])?;
    let absolute = match view.int_or("p", 2)? {
        1 => true,
        2 => false,
        other => return Err(view.refuse(format_args!("p {other} is not known"))),
    };
    let dtype = view.dtype(0)?;
    macro_rules! make {
        ($type:ty) => {
            Ok(Built::one(Norm::<$type> { axis, absolute, elements: PhantomData }, dtype))
        };
    }
    by_float!(view, dtype, make)
}
