//! Owns the losses of classes: `NegativeLogLikelihoodLoss` and `SoftmaxCrossEntropyLoss`.
//!
//! Refuses targets that are no class. Bound: two passes over the scores; computed in 64 bits and
//! rounded once.

use std::fmt;
use std::marker::PhantomData;

use half::{bf16, f16};

use super::lines::Lines;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, Float, Number, int_at};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// This family.
pub const OPERATORS: Family = &[
    ("", "NegativeLogLikelihoodLoss", |view| build(view, false)),
    ("", "SoftmaxCrossEntropyLoss", |view| build(view, true)),
];

/// What becomes of the losses of all places.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reduction {
    None,
    Sum,
    /// By the sum of the weights.
    Mean,
}

struct Loss<T> {
    reduction: Reduction,
    /// A target whose loss is 0 and has no weight.
    ignored: Option<i64>,
    /// The values are scores, not yet logarithms of probabilities.
    of_scores: bool,
    elements: PhantomData<fn(T)>,
}

impl<T> fmt::Debug for Loss<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loss").field("reduction", &self.reduction).finish_non_exhaustive()
    }
}

/// The logarithm of the sum of exponentials.
fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    largest + values.map(|value| (value - largest).exp()).sum::<f64>().ln()
}

impl<T> Loss<T> {
    /// The class of a target; none if it is ignored.
    fn class(&self, target: Option<i64>, classes: usize) -> Result<Option<usize>, RunError> {
        if self.ignored.is_some() && target == self.ignored {
            return Ok(None);
        }
        let class = target.and_then(|target| usize::try_from(target).ok());
        let wrong = || RunError::input(format_args!("class {target:?}"), format_args!("{classes}"));
        class.filter(|class| *class < classes).map(Some).ok_or_else(wrong)
    }
}

impl<T: Float> Operator for Loss<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<T>(0)?;
        let targets = inputs.need(1)?;
        let [batch, classes, spatial @ ..] = &shape[..] else {
            return Err(RunError::input(shape, "a batch of classes"));
        };
        let (classes, places) = (*classes, spatial.iter().product::<usize>());
        let mut dims = Few::of(&[*batch])?;
        spatial.iter().try_for_each(|dim| dims.push(*dim))?;
        if targets.shape()[..] != dims[..] {
            return Err(RunError::input(targets.shape(), format_args!("{:?}", &dims[..])));
        }
        let weights = match inputs.get(2) {
            Some(_) => Some(inputs.values::<T>(2)?.1),
            None => None,
        };
        if weights.is_some_and(|weights| weights.len() != classes) {
            return Err(RunError::input("other weights", format_args!("{classes}")));
        }
        let [first, rest @ ..] = outputs else { return Ok(()) };
        let none = self.reduction == Reduction::None;
        let out = context.shape_as::<T>(first, if none { &dims } else { &[] })?;
        let mut logarithms = match rest.first_mut() {
            Some(logarithms) => Some(context.shape_as::<T>(logarithms, shape)?),
            None => None,
        };
        let lines = Lines { outer: *batch, length: classes, inner: places };
        let (mut total, mut weight_total) = (0.0, 0.0);
        for (index, start) in lines.starts().enumerate() {
            let line = lines.places(start).map(|at| Number::to_f64(values[at]));
            let whole = if self.of_scores { log_sum(line.clone()) } else { 0.0 };
            if let Some(logarithms) = &mut logarithms {
                for (at, value) in lines.places(start).zip(line.clone()) {
                    logarithms[at] = T::from_f64(value - whole);
                }
            }
            let (weight, value) = match self.class(int_at(targets.data(), index), classes)? {
                None => (0.0, 0.0),
                Some(class) => {
                    let weight = weights.map_or(1.0, |weights| Number::to_f64(weights[class]));
                    (weight, whole - Number::to_f64(values[start + class * places]))
                }
            };
            if none {
                out[index] = T::from_f64(weight * value);
            }
            total += weight * value;
            weight_total += weight;
        }
        match self.reduction {
            Reduction::None => {}
            Reduction::Sum => out[0] = T::from_f64(total),
            Reduction::Mean => out[0] = T::from_f64(total / weight_total),
        }
        Ok(())
    }
}

fn build(view: &NodeView<'_>, of_scores: bool) -> Result<Built, ModelError> {
    view.only_attributes(&["ignore_index", "reduction"])?;
    let ignored = view.int("ignore_index")?;
    let reduction = match view.string("reduction")?.unwrap_or("mean") {
        "none" => Reduction::None,
        "sum" => Reduction::Sum,
        "mean" => Reduction::Mean,
        other => return Err(view.refuse(format_args!("reduction `{other}` is not known"))),
    };
    let dtype = view.dtype(0)?;
    view.dtype_among(1, &[DType::I32, DType::I64])?;
    if view.has_input(2) {
        view.dtype_among(2, &[dtype])?;
    }
    let count = if of_scores && view.has_output(1) { 2 } else { 1 };
    macro_rules! make {
        ($type:ty) => {{
            let elements = PhantomData;
            let loss = Loss::<$type> { reduction, ignored, of_scores, elements };
            Ok(Built::many(loss, vec![dtype; count]))
        }};
    }
    match dtype {
        DType::F32 => make!(f32),
        DType::F64 => make!(f64),
        DType::F16 => make!(f16),
        DType::Bf16 => make!(bf16),
        other => Err(view.refuse(format_args!("type {other} is not computed"))),
    }
}
