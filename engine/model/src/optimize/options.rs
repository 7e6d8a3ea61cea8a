//! Owns what is asked for: which steps, and how much accuracy they may cost.
//!
//! Refuses what cannot be before a step is taken. Bound: a handful of settings.

use serde::{Deserialize, Serialize};

use super::data::DataSet;
use crate::artifact::Task;
use crate::error::ModelError;

/// How the rows of a layer in 8-bit numbers are quantised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Int8 {
    /// Each row by its own smallest and largest value; needs no data.
    Dynamic,
    /// All rows of a layer alike, in a range that the data set shows.
    Static(Ranges),
}

/// What range of a layer's inputs is told apart; what lies outside is held at its ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ranges {
    /// From the smallest to the largest value.
    MinMax,
    /// Leaves out half of what is above this percentage on either side, above 50 and at most 100.
    /// 99.99 keeps single values that are far out from costing all others their precision.
    Percentile(f64),
}

/// Which steps to take. They are taken in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizeOptions {
    /// Compute constants and fuse neighbours. `int8` and `bf16` do it too, for they change fused
    /// layers; and so does every load, which is then done in advance.
    #[serde(default)]
    pub fuse: bool,
    /// Make this share of the weights of all layers zero, the smallest ones, from 0 to 1.
    #[serde(default)]
    pub prune_l1: Option<f64>,
    /// Compute linear layers in 8-bit numbers where that is faster.
    #[serde(default)]
    pub int8: Option<Int8>,
    /// Compute the linear layers that are left in bf16.
    #[serde(default)]
    pub bf16: bool,
    /// The most that [`super::Quality::accuracy_loss`] may be, from 0 to 1.
    #[serde(default)]
    pub accuracy_loss_max: Option<f64>,
}

impl OptimizeOptions {
    /// Checks the settings against each other, the task and what data there is.
    pub(super) fn check(&self, task: &Task, data: Option<&DataSet>) -> Result<(), ModelError> {
        if !self.fuse && self.prune_l1.is_none() && self.int8.is_none() && !self.bf16 {
            let reason = "no step is asked for; name one of fuse, prune_l1, int8 and bf16";
            return Err(refused("options", reason));
        }
        if self.prune_l1.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return Err(refused("prune_l1", "the share must be a number from 0 to 1"));
        }
        if let Some(Int8::Static(ranges)) = self.int8 {
            if data.is_none() {
                let reason = "the ranges of its layers' inputs are not known; give rows that are \
                              like those to come, or ask for int8 dynamic";
                return Err(refused("int8 static", reason));
            }
            if matches!(ranges, Ranges::Percentile(p) if !(p > 50.0 && p <= 100.0)) {
                let reason = "the percentile must be above 50 and at most 100";
                return Err(refused("int8 static", reason));
            }
        }
        let Some(max) = self.accuracy_loss_max else { return Ok(()) };
        let step = "accuracy_loss_max";
        if !(0.0..=1.0).contains(&max) {
            return Err(refused(step, "the limit must be a number from 0 to 1"));
        }
        if data.is_none() {
            let reason = "the loss cannot be measured without data; give rows, with labels where \
                          they are known, or no limit";
            return Err(refused(step, reason));
        }
        match task {
            Task::Classify { .. } | Task::Embed { .. } => Ok(()),
            Task::Regress | Task::Tensors => {
                let reason = "only classes and directions have an accuracy; give no limit and \
                              look at the differences in the report";
                Err(refused(step, reason))
            }
        }
    }
}

/// The complaint about a step.
pub(super) fn refused(step: &'static str, reason: impl Into<String>) -> ModelError {
    ModelError::Optimize { step, reason: reason.into() }
}
