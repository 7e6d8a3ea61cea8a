//! Owns the keys of training jobs.
//!
//! Refuses to judge values; `plan` does. Bound: one flat section.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How training competes with all else for its cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrainingPriority {
    /// It runs on what the others leave.
    Idle,
    /// It has about a tenth of the others' share.
    Background,
}

/// Training jobs, at `/api/v1/training/jobs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    /// Whether jobs are taken.
    pub enabled: bool,
    /// Cores that train, such as "6-7". "auto": all that the process may use; whatever serves and
    /// infers goes first there.
    pub cores: String,
    /// "idle": jobs run on what all others leave of their cores, and whatever serves goes first the
    /// moment it has something to do. "background": they always have a tenth of a share, which
    /// predictions feel.
    #[schema(value_type = String)]
    pub priority: TrainingPriority,
    /// Jobs that run at the same time.
    pub trainers: usize,
    /// Jobs that may wait; more are answered 503.
    pub queue_max: usize,
    /// Jobs that are over and still listed, with their reports.
    pub kept_max: usize,
    /// Watchers of events of jobs.
    pub watchers_max: u32,
    /// The share of the memory that is taken, of the host or of the control group, above which jobs
    /// compute with half as many rows at a time.
    pub memory_used_max: f64,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            enabled: true,
            cores: "auto".to_owned(),
            priority: TrainingPriority::Idle,
            trainers: 1,
            queue_max: 16,
            kept_max: 100,
            watchers_max: 32,
            memory_used_max: 0.85,
        }
    }
}
