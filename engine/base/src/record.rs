//! Owns the two rows that more than one crate speaks of: a kept prediction and a registered model.
//!
//! Refuses to know how rows are encoded or found. Bound: `features` by
//! [`crate::limits::FEATURE_COUNT_MAX`]; the texts of a model by the store that registers it.

use serde::{Deserialize, Serialize};

use crate::ids::{ModelId, ModelVersion, RequestId, UserId};

/// One answered prediction, as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictionRecord {
    /// The request that asked; unique per prediction.
    pub request: RequestId,
    /// The model that answered.
    pub model: ModelId,
    /// The version that answered.
    pub version: ModelVersion,
    /// Who asked, if the caller said so.
    pub user: Option<UserId>,
    /// When the answer was made, microseconds UTC.
    pub timestamp_us: i64,
    /// The input as given, before preprocessing.
    pub features: Vec<f32>,
    /// Index of the predicted class.
    pub class: u32,
    /// Probability of the predicted class, 0 to 1.
    pub confidence: f32,
}

/// One registered version of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelEntry {
    /// The model's id.
    pub id: ModelId,
    /// The version, counted from 1.
    pub version: ModelVersion,
    /// Whose model it is, if somebody's.
    pub owner: Option<UserId>,
    /// What people call it; the id where no name was given.
    pub name: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// What its owner says of it: the text of a JSON object, `{}` where nothing was said.
    pub metadata_json: String,
    /// What kind of network it is, for example `dense`.
    pub architecture: String,
    /// The model file, relative to the data directory.
    pub path: String,
    /// SHA-256 of the model file, lower-case hexadecimal.
    pub sha256: String,
    /// Size of the model file in bytes.
    pub bytes: u64,
    /// When it was registered, microseconds UTC.
    pub created_us: i64,
    /// How many features one input has.
    pub feature_count: u32,
    /// The names of the classes, in the order of the output.
    pub classes: Vec<String>,
    /// Named figures of the training run, for example `held_out_accuracy`.
    pub metrics: Vec<(String, f64)>,
    /// Whether requests that name no version get this one.
    pub active: bool,
}

/// What is made of the versions of a model besides the active one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelServing {
    /// Where a roll-back goes: the version that was active before.
    pub previous: Option<ModelVersion>,
    /// The version that answers a share of the questions without a version, and the share in
    /// percent, 1 to 100.
    pub canary: Option<(ModelVersion, u8)>,
    /// The version that is asked what the active one is asked.
    pub shadow: Option<ModelVersion>,
    /// The versions that are kept and not loaded.
    pub retired: Vec<ModelVersion>,
    /// The versions that stay in memory however long nobody asks for them.
    pub kept_warm: Vec<ModelVersion>,
}

impl ModelServing {
    /// Every version that it names; some twice.
    pub fn versions(&self) -> impl Iterator<Item = ModelVersion> {
        let canary = self.canary.map(|(version, _)| version);
        let named = self.previous.into_iter().chain(canary).chain(self.shadow);
        named.chain(self.retired.iter().copied()).chain(self.kept_warm.iter().copied())
    }

    /// Takes a version out of the trials: it is neither canary nor shadow nor retired.
    pub fn end_trials(&mut self, version: ModelVersion) {
        self.canary = self.canary.filter(|(canary, _)| *canary != version);
        self.shadow = self.shadow.filter(|shadow| *shadow != version);
        self.retired.retain(|retired| *retired != version);
    }

    /// Takes a version out of everything.
    pub fn forget(&mut self, version: ModelVersion) {
        self.end_trials(version);
        self.previous = self.previous.filter(|previous| *previous != version);
        self.kept_warm.retain(|kept| *kept != version);
    }
}
