//! Owns the record of a job, as the store keeps it and as its users see it.
//!
//! ```text
//! job/NUMBER   JSON; the number with twenty digits, so that names are in the order of numbers
//! ```
//!
//! Refuses to know how it is trained. Bound: a description of [`SPEC_BYTES_MAX`].

use serde::{Deserialize, Serialize};
use serde_json::Value;
use truststram_api::ports::{
    ModelFailure, TrainingJob, TrainingProgress, TrainingResult, TrainingState,
};
use truststram_base::{Kind, ModelId};
use truststram_store::DatasetName;
use truststram_train::JobSpec;

/// Longest description, as JSON.
const SPEC_BYTES_MAX: usize = 32 << 10;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The description, read from `text`.
    pub spec: JobSpec,
    /// The description as it is kept. It is read again at each start, and numbers that are read
    /// from the same text are the same.
    pub text: String,
    /// The model.
    pub model: ModelId,
    /// The data set.
    pub dataset: DatasetName,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub id: u64,
    pub state: TrainingState,
    pub detail: Option<String>,
    /// The text of the description.
    pub spec: String,
    /// Of the data set when the job was made.
    pub rows: u64,
    pub created_us: i64,
    pub started_us: Option<i64>,
    pub ended_us: Option<i64>,
    pub starts: u32,
    /// Starts since it last got further than a checkpoint.
    pub starts_in_vain: u32,
    pub progress: TrainingProgress,
    pub result: Option<TrainingResult>,
}

/// The failure of a description that is not acceptable.
pub(super) fn invalid(detail: impl Into<String>) -> ModelFailure {
    ModelFailure { kind: Kind::Invalid, detail: detail.into() }
}

impl Asked {
    /// Reads a description for a server that may train on so many cores.
    pub fn read(spec: &Value, cores_max: usize) -> Result<Self, ModelFailure> {
        Self::of_text(spec.to_string(), cores_max)
    }

    /// Reads a description that is kept.
    pub fn of_text(text: String, cores_max: usize) -> Result<Self, ModelFailure> {
        if text.len() > SPEC_BYTES_MAX {
            return Err(invalid(format!("the description is longer than {SPEC_BYTES_MAX} bytes")));
        }
        let spec: JobSpec = serde_json::from_str(&text)
            .map_err(|error| invalid(format!("the description cannot be read: {error}")))?;
        let places = [
            (spec.data.is_some(), "data", "a server reads data sets; name one by `dataset`"),
            (spec.output.is_some(), "output", "the result is registered; name a `model`"),
            (
                spec.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.file.is_some()),
                "checkpoint.file",
                "a server has a place of its own; `every_steps` is enough",
            ),
        ];
        if let Some((_, key, why)) = places.into_iter().find(|(is_given, ..)| *is_given) {
            return Err(invalid(format!("`{key}` is for trainings without a server: {why}")));
        }
        let named = |key: &str, value: &Option<String>| {
            value.clone().ok_or_else(|| invalid(format!("`{key}` is missing")))
        };
        let dataset = DatasetName::new(&named("dataset", &spec.dataset)?)
            .map_err(|error| invalid(format!("dataset: {error}")))?;
        let model = ModelId::new(&named("model", &spec.model)?)
            .map_err(|error| invalid(format!("model: {error}")))?;
        if !(1..=cores_max).contains(&spec.cores.unwrap_or(1)) {
            return Err(invalid(format!("`cores` must be 1 to {cores_max}")));
        }
        if spec.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.every_steps == 0) {
            return Err(invalid("`checkpoint.every_steps` must be at least 1"));
        }
        spec.train.check().map_err(|error| invalid(format!("train: {error}")))?;
        Ok(Self { spec, text, model, dataset })
    }
}

impl Job {
    /// The name of the record of a job.
    pub fn name(id: u64) -> String {
        format!("job/{id:020}")
    }

    /// Whether it will not go on by itself.
    pub fn is_over(&self) -> bool {
        let over = [TrainingState::Done, TrainingState::Failed, TrainingState::Cancelled];
        over.contains(&self.state)
    }

    /// The job as its users see it.
    pub fn shown(&self) -> TrainingJob {
        let spec: Value = serde_json::from_str(&self.spec).unwrap_or_default();
        let text = |key: &str| spec[key].as_str().unwrap_or_default().to_owned();
        TrainingJob {
            id: self.id,
            state: self.state,
            detail: self.detail.clone(),
            model: text("model"),
            dataset: text("dataset"),
            rows: self.rows,
            created_us: self.created_us,
            started_us: self.started_us,
            ended_us: self.ended_us,
            starts: self.starts,
            progress: self.progress,
            result: self.result,
            spec,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn descriptions_are_judged_before_anything_is_queued() {
        let good = json!({ "dataset": "d", "model": "m", "train": { "epochs": 2 } });
        assert_eq!(Asked::read(&good, 1).unwrap().spec.train.epochs, 2);
        let check = |key: &str, value: Value, expected: &str| {
            let mut spec = good.clone();
            spec[key] = value;
            let failure = Asked::read(&spec, 2).unwrap_err();
            assert_eq!(failure.kind, Kind::Invalid);
            assert!(failure.detail.contains(expected), "{}", failure.detail);
        };
        check("dataset", Value::Null, "`dataset` is missing");
        check("dataset", json!("a/b"), "dataset: ");
        check("model", json!("../m"), "model: ");
        check("cores", json!(3), "`cores` must be 1 to 2");
        check("data", json!("/etc/passwd"), "`data`");
        check("output", json!("x"), "`output`");
        check("checkpoint", json!({ "file": "x" }), "`checkpoint.file`");
        check("checkpoint", json!({ "every_steps": 0 }), "every_steps");
        check("unknown", json!(1), "unknown field");
        check("train", json!({ "epochs": 0 }), "epochs");
        check("base", json!({ "model": "m", "tuned": "some" }), "unknown variant");
        check("base", json!({ "version": 1 }), "missing field `model`");
        check("model", json!("m".repeat(40_000)), "longer than");
    }

    #[test]
    fn a_description_that_is_kept_is_read_the_same_again() {
        let rate = 0.1 + 0.2;
        let optimiser = json!({ "kind": "adamw", "learning_rate": rate });
        let spec = json!({ "dataset": "d", "model": "m", "train": { "optimiser": optimiser } });
        let asked = Asked::read(&spec, 1).unwrap();
        assert_eq!(Asked::of_text(asked.text.clone(), 1).unwrap(), asked);
    }
}
