//! Owns what is known of an optimised version, to be kept with it as JSON.
//!
//! Refuses to hold weights. Bound: one line per linear layer.

use serde::{Deserialize, Serialize};

use super::options::OptimizeOptions;
use super::quality::Quality;
use super::weights::{linear_layers, operator_names};
use crate::error::ModelError;
use crate::graph::{Attribute, Graph};

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepName {
    /// Constants computed, neighbours fused.
    Fuse,
    /// The smallest weights made zero.
    PruneL1,
    /// Linear layers in 8-bit numbers.
    Int8,
    /// Linear layers in bf16.
    Bf16,
}

impl StepName {
    /// As the options name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fuse => "fuse",
            Self::PruneL1 => "prune_l1",
            Self::Int8 => "int8",
            Self::Bf16 => "bf16",
        }
    }
}

/// Size and speed of one state of the model, its graph computed as it is: a load would fuse the one
/// given too. Times are those of the machine that optimised it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes of constants and packed weights once it is loaded, on one NUMA node.
    pub memory_bytes: u64,
    /// The share of the layers' weights that are zero.
    pub zero_share: f64,
    /// Microseconds of one row by itself, on one core, the median of several runs; none where the
    /// inputs' sizes are not known.
    pub row_us_batch_1: Option<f64>,
    /// Microseconds per row of a batch of 32; none also where the model takes no batches.
    pub row_us_batch_32: Option<f64>,
}

/// A step that was taken, and the model after it; before it, it was as after the step before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Which.
    pub name: StepName,
    /// The model after it.
    pub after: Figures,
}

/// How one linear layer is computed now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// Its place in the graph.
    pub place: String,
    /// Values of a row that comes in.
    pub input_count: usize,
    /// Values of a row that goes out.
    pub output_count: usize,
    /// `f32`, `bf16` or `int8`.
    pub precision: String,
    /// What one step of its quantised inputs stands for, where all rows are quantised alike.
    pub input_scale: Option<f32>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What was asked for.
    pub options: OptimizeOptions,
    /// The model as it was given.
    pub before: Figures,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Its operators afterwards, each once.
    pub operators: String,
    /// Its linear layers afterwards.
    pub layers: Vec<LayerReport>,
    /// How its answers differ, where there were data.
    pub quality: Option<Quality>,
    /// Whether the loss is within the limit; none without a limit.
    pub is_within_limit: Option<bool>,
}

impl Report {
    /// The model as it is after the last step.
    pub fn after(&self) -> &Figures {
        self.steps.last().map_or(&self.before, |step| &step.after)
    }

    /// Refuses a version that lost more of its accuracy than it may.
    ///
    /// # Errors
    /// [`ModelError::AccuracyLoss`] names the loss and the limit.
    pub fn ensure_within_limit(&self) -> Result<(), ModelError> {
        if self.is_within_limit != Some(false) {
            return Ok(());
        }
        let loss = self.quality.as_ref().and_then(|quality| quality.accuracy_loss);
        let limit = self.options.accuracy_loss_max;
        Err(ModelError::AccuracyLoss { loss: loss.unwrap_or(1.0), limit: limit.unwrap_or(0.0) })
    }
}

/// The linear layers and operators of a graph.
pub(super) fn describe(graph: &Graph) -> (Vec<LayerReport>, String) {
    let layers = linear_layers(graph).into_iter().map(|layer| {
        let scale = match graph.nodes[layer.node].attributes.get("input_scale") {
            Some(Attribute::Float(scale)) => Some(*scale),
            _ => None,
        };
        LayerReport {
            place: graph.place(layer.node),
            input_count: layer.inputs,
            output_count: layer.outputs,
            precision: layer.precision,
            input_scale: scale,
        }
    });
    (layers.collect(), operator_names(graph))
}
