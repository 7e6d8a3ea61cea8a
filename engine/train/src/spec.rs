//! Owns the description of a training as people write it: what is trained, on what and how.
//!
//! Refuses to know files' contents. Bound: every option is checked before anything is computed.

use serde::{Deserialize, Serialize};
use truststram_model::artifact::Artifact;

use crate::error::TrainError;
use crate::loss::Loss;
use crate::net::NetSpec;
use crate::optimiser::OptimiserSpec;
use crate::schedule::Schedule;
use crate::texts::{BaseModel, Tuned};

/// How a network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainSpec {
    /// Of the first weights, the shuffles, the split and what is left out.
    pub seed: u64,
    /// Passes over the data.
    pub epochs: usize,
    /// Rows of a part of a step.
    pub batch_size: usize,
    /// Parts of a step, whose gradients are gathered before the weights change.
    pub accumulate: usize,
    /// The share of the rows that is not trained on.
    pub held_out: f64,
    /// Whether features are brought to mean 0 and variance 1; the model does it from then on.
    pub standardise: bool,
    /// How far answers are from targets.
    pub loss: Loss,
    /// One per class, in the order of the classes; none for equal ones.
    pub class_weights: Vec<f32>,
    /// The longest that all gradients together may be, as one vector.
    pub clip_norm: Option<f32>,
    /// When to stop before the last epoch.
    pub early_stop: Option<EarlyStop>,
    /// The network.
    pub net: NetSpec,
    /// How weights follow gradients.
    pub optimiser: OptimiserSpec,
    /// How the learning rate changes.
    pub schedule: Schedule,
}

/// Stops when the loss on held-out rows gets no better; the best weights are kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStop {
    /// Epochs without a better loss.
    pub patience: usize,
    /// How much smaller a better loss is, at least.
    #[serde(default)]
    pub gain_min: f64,
}

impl Default for TrainSpec {
    fn default() -> Self {
        Self {
            seed: 1,
            epochs: 40,
            batch_size: 32,
            accumulate: 1,
            held_out: 0.2,
            standardise: true,
            loss: Loss::default(),
            class_weights: Vec::new(),
            clip_norm: None,
            early_stop: None,
            net: NetSpec::default(),
            optimiser: OptimiserSpec::default(),
            schedule: Schedule::default(),
        }
    }
}

impl TrainSpec {
    /// Checks all that can be checked without the data.
    ///
    /// # Errors
    /// [`TrainError::Option`] names the option.
    pub fn check(&self) -> Result<(), TrainError> {
        let holds = [
            ((1..=1_000_000).contains(&self.epochs), "epochs", "1 to 1000000"),
            ((1..=1 << 20).contains(&self.batch_size), "batch_size", "1 to 2^20"),
            ((1..=1 << 16).contains(&self.accumulate), "accumulate", "1 to 65536"),
            (self.held_out > 0.0 && self.held_out < 1.0, "held_out", "between 0 and 1"),
            (self.clip_norm.is_none_or(|norm| norm > 0.0), "clip_norm", "a positive number"),
            (
                self.class_weights.iter().all(|weight| *weight > 0.0 && weight.is_finite()),
                "class_weights",
                "positive numbers",
            ),
            (
                self.class_weights.is_empty() || self.loss.is_of_classes(),
                "class_weights",
                "with a loss of classes",
            ),
            (
                self.early_stop.is_none_or(|stop| stop.patience > 0 && stop.gain_min >= 0.0),
                "early_stop",
                "a patience from 1 and a gain from 0",
            ),
        ];
        if let Some((_, option, expected)) = holds.into_iter().find(|(holds, ..)| !holds) {
            return Err(TrainError::Option { option, expected });
        }
        self.loss.check()?;
        self.optimiser.check()?;
        self.schedule.check()
    }
}

/// A training as a file of TOML, or a request in JSON, describes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobSpec {
    /// The rows: a file of CSV, JSON Lines or Parquet, beside the description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The rows: a data set of the store, in the place of `data`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Where the model is written, beside the description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The model that it becomes a version of, where a server trains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whether that version answers at once.
    pub activate: bool,
    /// On how many cores; the same number and the same seed give the same model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<usize>,
    /// Where the training can go on after it was ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointSpec>,
    /// A text encoder that training begins with; rows are texts then.
    #[serde(default)]
    pub base: Option<BaseSpec>,
    /// How it is trained.
    pub train: TrainSpec,
}

impl JobSpec {
    /// Whether its rows are texts and not features.
    pub fn is_of_texts(&self) -> bool {
        self.base.is_some() || self.train.net.encoder().is_some()
    }
}

/// A model that exists, whose encoder is trained further.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseSpec {
    /// A Hugging Face folder, a tar file of one or a model of this engine, beside the description;
    /// where a server trains it, the id of a registered model.
    pub model: String,
    /// The version of that model on a server; if absent the one that is active when the job is
    /// made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// What of it is trained on.
    #[serde(default)]
    pub tuned: Tuned,
    /// Most tokens of a text, here and when the model is served; what the model takes if absent.
    #[serde(default)]
    pub length_max: Option<usize>,
    /// The share of what attention gives each token that is left out while all of it is trained.
    #[serde(default)]
    pub attention_dropout: f32,
}

impl BaseSpec {
    /// What training begins with where its model is this one.
    pub fn of<'a>(&self, artifact: &'a Artifact) -> BaseModel<'a> {
        let Self { tuned, length_max, attention_dropout, .. } = *self;
        BaseModel { artifact, tuned, length_max, attention_dropout }
    }
}

/// A file that is written again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointSpec {
    /// The file, beside the description; a server has a place of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Steps from one to the next.
    #[serde(default = "every_steps")]
    pub every_steps: u64,
}

impl Default for CheckpointSpec {
    fn default() -> Self {
        Self { file: None, every_steps: every_steps() }
    }
}

fn every_steps() -> u64 {
    500
}
