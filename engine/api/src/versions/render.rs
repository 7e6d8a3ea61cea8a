//! Owns how a version is shown with all that is known of it.
//!
//! Refuses to know where it comes from. Bound: what the registry keeps of one version.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::models::VersionResponse;
use crate::oip::models::TensorResponse;
use crate::ports::{ShadowFigures, VersionDetail, VersionState};

/// What a version did as a shadow, in rows.
#[derive(Serialize, ToSchema)]
pub(crate) struct DisagreementsResponse {
    /// Answered as well as by the active version, and compared.
    rows: u64,
    /// Of these, answered otherwise: another class, or numbers that are not close.
    disagreed: u64,
    /// Not asked, because requests waited.
    dropped: u64,
    /// Asked and failed.
    failed: u64,
}

/// One version of a model with all that is known of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionDetailResponse {
    /// The model's id.
    #[schema(example = "digits")]
    model_id: String,
    #[serde(flatten)]
    version: VersionResponse,
    /// `registered`, `loading`, `ready`, `active`, `canary`, `shadow`, `draining`, `retired`,
    /// `evicted` or `failed`.
    state: &'static str,
    /// The share that a canary answers of those who name no version, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u8>,
    /// More on the state, such as why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// `safetensors`, `onnx` or `tar`.
    format: &'static str,
    /// What it takes.
    inputs: Vec<TensorResponse>,
    /// What it gives.
    outputs: Vec<TensorResponse>,
    /// The names of the features, where it has them.
    feature_names: Vec<String>,
    /// How many trained numbers it has.
    parameter_count: u64,
    /// How often each operator occurs.
    operators: BTreeMap<String, u64>,
    /// Whether it stays in memory however long nobody asks for it.
    keep_warm: bool,
    /// Whether a rollback goes to it.
    previous: bool,
    /// What it occupies in memory, where it is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    /// Where it is or was a shadow: how often it answered otherwise than the active version.
    #[serde(skip_serializing_if = "Option::is_none")]
    disagreements: Option<DisagreementsResponse>,
    /// What the check before it could answer found.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    validation: Option<Value>,
    /// What was made simpler or faster in it as it was loaded.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    optimisation: Option<Value>,
}

impl From<ShadowFigures> for DisagreementsResponse {
    fn from(figures: ShadowFigures) -> Self {
        let ShadowFigures { rows, disagreed, dropped, failed } = figures;
        Self { rows, disagreed, dropped, failed }
    }
}

impl From<VersionDetail> for VersionDetailResponse {
    fn from(detail: VersionDetail) -> Self {
        let percent = match detail.state {
            VersionState::Canary(percent) => Some(percent),
            _ => detail.serving.canary_percent,
        };
        Self {
            model_id: detail.entry.id.to_string(),
            version: VersionResponse::from(&detail.entry),
            state: detail.state.name(),
            percent,
            reason: detail.reason,
            format: detail.format.name(),
            inputs: detail.inputs.into_iter().map(TensorResponse::from).collect(),
            outputs: detail.outputs.into_iter().map(TensorResponse::from).collect(),
            feature_names: detail.feature_names,
            parameter_count: detail.parameter_count,
            operators: detail.operators.into_iter().collect(),
            keep_warm: detail.serving.keep_warm,
            previous: detail.serving.is_previous,
            memory_bytes: detail.serving.memory_bytes,
            disagreements: detail.serving.shadow.map(DisagreementsResponse::from),
            validation: detail.serving.validation,
            optimisation: detail.serving.optimisation,
        }
    }
}
