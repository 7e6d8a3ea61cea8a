//! Owns `TreeEnsembleClassifier`.
//!
//! With two classes whose weights all belong to one of them, that one's sum decides, above 0.5 if
//! no weight is negative and above 0 otherwise, as ONNX Runtime does it.
//! Refuses two classes with weights for both, and base values of which runtimes make different
//! things. Bound: as [`Ensemble`].

use std::marker::PhantomData;

use super::ensemble::{Ensemble, Pack};
use super::nodes::{self, NODE_SETTINGS};
use super::settings::{input_type, numbers};
use super::worth::{Gather, Share};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::ml::labels::Labels;
use crate::ops::ml::rows::{Rows, row_sizes, with_rows};
use crate::ops::ml::scores::{PostTransform, logistic};
use crate::ops::registry::Entry;
use crate::program::{Built, Context, Inputs, MemoryReport, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// Its entry in the table.
pub const OPERATOR: Entry = ("ai.onnx.ml", "TreeEnsembleClassifier", build);

const SETTINGS: [&str; 11] = [
    "post_transform",
    "classlabels_int64s",
    "classlabels_strings",
    "base_values",
    "base_values_as_tensor",
    "class_treeids",
    "class_nodeids",
    "class_ids",
    "class_weights",
    "class_weights_as_tensor",
    "aggregate_function",
];

/// How the class follows from the sums.
#[derive(Clone, Debug)]
enum Choice<T> {
    /// Of two classes the second if its one sum is above the limit.
    Above { limit: T, base: T, target: usize, is_positive: bool },
    /// The one with the largest score among those that may have one.
    Largest { bases: Vec<T>, may: Vec<bool> },
}

#[derive(Debug)]
struct Classifier<T> {
    ensemble: Ensemble<T>,
    labels: Labels,
    choice: Choice<T>,
    post: PostTransform,
    numbers: PhantomData<T>,
}

fn build(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[SETTINGS, NODE_SETTINGS].concat())?;
    match input_type(view)? {
        DType::F64 => classifier::<f64>(view),
        _ => classifier::<f32>(view),
    }
}

fn classifier<T: Pack>(view: &NodeView<'_>) -> Result<Built, ModelError>
where
    Classifier<T>: Operator,
{
    if view.string("aggregate_function")?.is_some_and(|name| name != "SUM") {
        return Err(view.refuse("classes have sums only"));
    }
    let labels = Labels::of(view, "classlabels_int64s", "classlabels_strings")?;
    let post = PostTransform::of(view)?;
    let (trees, worth) = nodes::read::<T>(view, "class", labels.len())?;
    let bases = numbers::<T>(view, "base_values")?;
    let choice = match labels.len() {
        0 | 1 => return Err(view.refuse("there are not two classes")),
        2 => {
            let target = worth.only_target().ok_or_else(|| {
                view.refuse("there are weights for both of two classes, which runtimes differ on")
            })?;
            let is_wrong = bases.len() > 1 || (target == 1 && !bases.is_empty());
            if is_wrong || (target == 0 && post == PostTransform::Probit) {
                return Err(view.refuse("runtimes differ on these base values and transform"));
            }
            let is_positive = worth.is_positive();
            let limit = if is_positive { T::of(0.5) } else { T::ZERO };
            let base = bases.first().copied().unwrap_or(T::ZERO);
            Choice::Above { limit, base, target, is_positive }
        }
        count if bases.is_empty() => {
            if worth.shares().contains(&Share::Sometimes) {
                return Err(view.refuse("whether a class has a score depends on the row"));
            }
            let may = worth.shares().iter().map(|share| *share == Share::Always).collect();
            Choice::Largest { bases: vec![T::ZERO; count], may }
        }
        count if bases.len() == count => Choice::Largest { bases, may: vec![true; count] },
        count => {
            let found = bases.len();
            return Err(view.refuse(format_args!("{found} base values for {count} classes")));
        }
    };
    let ensemble = Ensemble::new(trees, Vec::new(), worth);
    let outputs = vec![labels.dtype(), DType::F32];
    let operator = Classifier { ensemble, labels, choice, post, numbers: PhantomData };
    Ok(Built::many(operator, outputs))
}

impl<T: Pack> Classifier<T> {
    fn rows(
        &self,
        rows: Rows<'_, T>,
        sums: &mut Vec<T>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let [labels, scores] = outputs else {
            return Err(RunError::input("another number of outputs", 2));
        };
        let classes = self.labels.len();
        let scores = context.shape_as::<f32>(scores, &[rows.count, classes])?;
        sums.resize(scores.len(), T::ZERO);
        self.ensemble.run(rows, Gather::Sum, sums, context)?;
        // Scores come first: they are made of the sums in place.
        let sums = &mut sums[..];
        self.labels.write(labels, context, rows.count, |row| {
            self.choose(&mut sums[row * classes..][..classes])
        })?;
        for (score, sum) in scores.iter_mut().zip(sums.iter()) {
            *score = sum.to_f64() as f32;
        }
        Ok(())
    }

    /// The class of a row; its sums become its scores.
    fn choose(&self, sums: &mut [T]) -> usize {
        match &self.choice {
            Choice::Above { limit, base, target, is_positive } => {
                let sum = sums[*target] + *base;
                if *target == 1 {
                    self.post.apply(sums);
                } else if self.post == PostTransform::Logistic {
                    let score = |sum: T| T::of(f64::from(logistic(sum.to_f64() as f32)));
                    (sums[0], sums[1]) = (score(-sum), score(sum));
                } else {
                    sums[0] = if *is_positive { T::ONE - sum } else { -sum };
                    sums[1] = sum;
                }
                usize::from(sum > *limit)
            }
            Choice::Largest { bases, may } => {
                let mut best = None;
                for (class, (sum, base)) in sums.iter_mut().zip(bases).enumerate() {
                    *sum += *base;
                    if may[class] && best.is_none_or(|(_, most)| *sum > most) {
                        best = Some((class, *sum));
                    }
                }
                self.post.apply(sums);
                best.map_or(0, |(class, _)| class)
            }
        }
    }
}

impl Operator for Classifier<f32> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        with_rows(inputs, 0, context, |rows, context| {
            let mut sums = std::mem::take(&mut context.scratch.f32s[0]);
            let result = self.rows(rows, &mut sums, outputs, context);
            context.scratch.f32s[0] = sums;
            result
        })
    }

    fn memory(&self, report: &mut MemoryReport) {
        report.add_heap(self.ensemble.bytes());
    }
}

impl Operator for Classifier<f64> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<f64>(0)?;
        let (count, width) = row_sizes(shape)?;
        self.rows(Rows { values, count, width }, &mut Vec::new(), outputs, context)
    }

    fn memory(&self, report: &mut MemoryReport) {
        report.add_heap(self.ensemble.bytes());
    }
}
