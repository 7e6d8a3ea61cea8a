//! Owns how a version is shown with all that is known of it.
//!
//! Refuses to know where it comes from. Bound: what the registry keeps of one version.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::models::VersionResponse;
use crate::oip::models::TensorResponse;
use crate::ports::{VersionDetail, VersionState};

/// One version of a model with all that is known of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionDetailResponse {
    /// The model's id.
    #[schema(example = "digits")]
    model_id: String,
    #[serde(flatten)]
    version: VersionResponse,
    /// `registered`, `ready`, `active`, `canary`, `shadow`, `retired` or `failed`.
    state: &'static str,
    /// The share that a canary answers, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<f64>,
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
}

impl From<VersionDetail> for VersionDetailResponse {
    fn from(detail: VersionDetail) -> Self {
        let percent = match detail.state {
            VersionState::Canary(percent) => Some(percent),
            _ => None,
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
        }
    }
}
