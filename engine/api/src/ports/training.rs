//! Owns the port of training jobs.
//!
//! Refuses to know networks and where rows are. Bound: the jobs that are kept.

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::ModelFailure;
use crate::timestamp;

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrainingState {
    /// It waits for a trainer.
    Queued,
    /// It is trained.
    Running,
    /// The server ended meanwhile; its next start goes on with it.
    Interrupted,
    /// Its model is a registered version.
    Done,
    /// It could not be ended; see `detail`.
    Failed,
    /// Somebody has ended it.
    Cancelled,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrainingProgress {
    /// Before the first step of a training on texts: how many are ready for what comes next, as
    /// tokens, or as what the encoder gives for them where the head alone is trained.
    pub texts: Option<u64>,
    /// Steps done.
    pub step: u64,
    /// Steps in all, if it does not stop early.
    pub steps: u64,
    /// Epochs done.
    pub epoch: u64,
    /// Epochs in all.
    pub epochs: u64,
    /// Mean loss of the epoch so far.
    pub loss: Option<f64>,
    /// Mean loss of held-out rows after the last whole epoch.
    pub held_out_loss: Option<f64>,
    /// The share of held-out rows that got their class then.
    pub held_out_accuracy: Option<f64>,
    /// Rows that are computed at a time; fewer than were asked for where memory ran short.
    pub batch_size: u64,
    /// Rows that are trained on in a second, since it was begun or gone on with.
    pub samples_per_second: Option<f64>,
    /// Seconds to its end at this pace.
    pub eta_s: Option<f64>,
}

/// What has come of a job.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrainingResult {
    /// The version of its model.
    pub version: u32,
    /// Steps that were made.
    pub steps: u64,
    /// Mean loss of the last epoch.
    pub train_loss: f64,
    /// Of a classifier the share of held-out rows that it gets right, as it is served.
    pub accuracy: Option<f64>,
    /// Of numbers the mean square of the differences.
    pub mean_square: Option<f64>,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TrainingJob {
    /// Its number.
    pub id: u64,
    /// Where it stands.
    pub state: TrainingState,
    /// Why it stands there, where that is not plain.
    pub detail: Option<String>,
    /// The model that it makes a version of.
    pub model: String,
    /// The data set it is trained on.
    pub dataset: String,
    /// How many rows the data set had when the job was made; later ones are not trained on.
    pub rows: u64,
    /// When it was made, RFC 3339 in UTC.
    #[serde(rename = "created", serialize_with = "timestamp::text")]
    #[schema(value_type = String)]
    pub created_us: i64,
    /// When it was begun or gone on with the last time.
    #[serde(rename = "started", serialize_with = "timestamp::text_if_any")]
    #[schema(value_type = Option<String>)]
    pub started_us: Option<i64>,
    /// When it was over.
    #[serde(rename = "ended", serialize_with = "timestamp::text_if_any")]
    #[schema(value_type = Option<String>)]
    pub ended_us: Option<i64>,
    /// How often it was begun or gone on with.
    pub starts: u32,
    /// How far it is.
    pub progress: TrainingProgress,
    /// What has come of it.
    pub result: Option<TrainingResult>,
    /// What was asked for.
    #[schema(value_type = Object)]
    pub spec: Value,
}

/// What a call ends with.
pub type TrainingAnswer<T> = BoxFuture<'static, Result<T, ModelFailure>>;

/// The jobs as their users see them.
pub trait Training: Send + Sync {
    /// Makes a job; it is on disk once this ends.
    fn create(&self, spec: Value) -> TrainingAnswer<TrainingJob>;
    /// All jobs, the newest first.
    fn list(&self) -> Vec<TrainingJob>;
    /// One job.
    ///
    /// # Errors
    /// If there is none of this number.
    fn job(&self, id: u64) -> Result<TrainingJob, ModelFailure>;
    /// Ends a job, after its present step and with a checkpoint where it runs.
    fn cancel(&self, id: u64) -> TrainingAnswer<TrainingJob>;
    /// Has a job that was ended go on from its checkpoint.
    fn resume(&self, id: u64) -> TrainingAnswer<TrainingJob>;
    /// What happens to a job from now on, each a server-sent event; the first one is the job.
    ///
    /// # Errors
    /// If there is none of this number, or too many watch already.
    fn events(&self, id: u64) -> Result<BoxStream<'static, String>, ModelFailure>;
    /// The report of a job that is done, a page of HTML.
    fn report(&self, id: u64) -> TrainingAnswer<String>;
}
