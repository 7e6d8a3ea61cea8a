//! Owns `TreeEnsembleRegressor`.
//!
//! Refuses transforms of a single target that ONNX Runtime leaves out. Bound: as [`Ensemble`].

use super::ensemble::{Ensemble, Pack};
use super::nodes::{self, NODE_SETTINGS};
use super::settings::{input_type, numbers};
use super::worth::{Gather, Share, Worth};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::ml::rows::{Rows, row_sizes, with_rows};
use crate::ops::ml::scores::PostTransform;
use crate::ops::registry::Entry;
use crate::ops::support::Wide;
use crate::program::{Built, Context, Inputs, MemoryReport, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// Its entry in the table.
pub const OPERATOR: Entry = ("ai.onnx.ml", "TreeEnsembleRegressor", build);

const SETTINGS: [&str; 10] = [
    "post_transform",
    "aggregate_function",
    "n_targets",
    "base_values",
    "base_values_as_tensor",
    "target_treeids",
    "target_nodeids",
    "target_ids",
    "target_weights",
    "target_weights_as_tensor",
];

/// Most targets of an ensemble.
const TARGET_COUNT_MAX: i64 = 65_536;

/// What becomes of the leaves of a row.
#[derive(Clone, Debug)]
pub struct Finish<T> {
    how: Gather,
    /// Added at the end; one for each target.
    bases: Vec<T>,
    post: PostTransform,
}

impl<T: Pack> Finish<T> {
    /// Checks that the settings fit each other.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for those on which runtimes differ.
    pub fn new(
        view: &NodeView<'_>,
        worth: &Worth<T>,
        how: Gather,
        bases: Vec<T>,
        post: PostTransform,
    ) -> Result<Self, ModelError> {
        let targets = worth.shares().len();
        let bases = if bases.is_empty() { vec![T::ZERO; targets] } else { bases };
        if bases.len() != targets {
            let found = bases.len();
            return Err(view.refuse(format_args!("{found} base values for {targets} targets")));
        }
        let is_one = targets == 1;
        if is_one && !matches!(post, PostTransform::None | PostTransform::Probit) {
            return Err(view.refuse("runtimes differ on this transform of a single target"));
        }
        let is_choice = matches!(how, Gather::Least | Gather::Most);
        if is_choice && worth.shares().contains(&Share::Sometimes) {
            return Err(view.refuse("whether a target has a value depends on the row"));
        }
        Ok(Self { how, bases, post })
    }

    /// Makes `sums` the outputs of the rows.
    ///
    /// # Errors
    /// As [`Ensemble::run`].
    pub fn run(
        &self,
        ensemble: &Ensemble<T>,
        rows: Rows<'_, T>,
        sums: &mut [T],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        ensemble.run(rows, self.how, sums, context)?;
        for sums in sums.chunks_exact_mut(self.bases.len()) {
            for (sum, base) in sums.iter_mut().zip(&self.bases) {
                *sum += *base;
            }
            self.post.apply(sums);
        }
        Ok(())
    }

    /// Targets of a row.
    pub fn targets(&self) -> usize {
        self.bases.len()
    }
}

/// How many targets a node says it has.
///
/// # Errors
/// [`ModelError::Unsupported`] if it does not say, or none, or too many.
pub fn target_count(view: &NodeView<'_>) -> Result<usize, ModelError> {
    match view.int("n_targets")? {
        Some(count @ 1..=TARGET_COUNT_MAX) => Ok(count as usize),
        Some(count) => Err(view.refuse(format_args!("{count} targets"))),
        None => Err(view.refuse("it does not say how many targets there are")),
    }
}

#[derive(Debug)]
struct Regressor<T> {
    ensemble: Ensemble<T>,
    finish: Finish<T>,
}

fn build(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[&SETTINGS[..], &NODE_SETTINGS].concat())?;
    match input_type(view)? {
        DType::F64 => regressor::<f64>(view),
        _ => regressor::<f32>(view),
    }
}

fn regressor<T: Pack>(view: &NodeView<'_>) -> Result<Built, ModelError>
where
    Regressor<T>: Operator,
{
    let how = match view.string("aggregate_function")?.unwrap_or("SUM") {
        "SUM" => Gather::Sum,
        "AVERAGE" => Gather::Average,
        "MIN" => Gather::Least,
        "MAX" => Gather::Most,
        other => return Err(view.refuse(format_args!("`aggregate_function` {other} is none"))),
    };
    let post = PostTransform::of(view)?;
    let (trees, worth) = nodes::read::<T>(view, "target", target_count(view)?)?;
    let finish = Finish::new(view, &worth, how, numbers::<T>(view, "base_values")?, post)?;
    let ensemble = Ensemble::new(trees, Vec::new(), worth);
    Ok(Built::one(Regressor { ensemble, finish }, DType::F32))
}

impl Operator for Regressor<f32> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        with_rows(inputs, 0, context, |rows, context| {
            let dims = [rows.count, self.finish.targets()];
            let sums = context.shape_as::<f32>(&mut outputs[0], &dims)?;
            self.finish.run(&self.ensemble, rows, sums, context)
        })
    }

    fn memory(&self, report: &mut MemoryReport) {
        report.add_heap(self.ensemble.bytes());
    }
}

impl Operator for Regressor<f64> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<f64>(0)?;
        let (count, width) = row_sizes(shape)?;
        let out = context.shape_as::<f32>(&mut outputs[0], &[count, self.finish.targets()])?;
        let mut sums = vec![0.0; out.len()];
        self.finish.run(&self.ensemble, Rows { values, count, width }, &mut sums, context)?;
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = sum.to_f64() as f32;
        }
        Ok(())
    }

    fn memory(&self, report: &mut MemoryReport) {
        report.add_heap(self.ensemble.bytes());
    }
}
