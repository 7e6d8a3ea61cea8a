//! Owns the paths of a model in the Open Inference Protocol: what it takes and gives, and whether
//! it is ready.
//!
//! Refuses to know how models are kept. Bound: the inputs and outputs of one model.

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::refusal::{Refusal, Target};
use crate::filters::json;
use crate::ports::{Datatype, ModelMetadata, TensorMetadata};
use crate::predict::json_response;
use crate::router::{Ports, Shared};

/// What a model takes and gives.
#[derive(Serialize, ToSchema)]
pub(crate) struct MetadataResponse {
    /// The model's id.
    #[schema(example = "digits")]
    name: String,
    /// The versions that are served.
    versions: Vec<String>,
    /// What it was made with.
    platform: String,
    /// What it takes.
    inputs: Vec<TensorResponse>,
    /// What it gives.
    outputs: Vec<TensorResponse>,
}

/// An input or output of a model.
#[derive(Serialize, ToSchema)]
pub(crate) struct TensorResponse {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    #[schema(example = "FP32")]
    pub datatype: &'static str,
    /// Its dimensions; -1 where any size is taken.
    #[schema(example = json!([-1, 64]))]
    pub shape: Vec<i64>,
}

impl From<TensorMetadata> for TensorResponse {
    fn from(TensorMetadata { name, datatype, shape }: TensorMetadata) -> Self {
        Self { name, datatype: datatype.name(), shape }
    }
}

/// What Triton calls the configuration of a model. All dimensions are listed, so that
/// `max_batch_size` is 0, which is Triton's way to say this.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConfigResponse {
    /// The model's id.
    name: String,
    /// What it was made with.
    platform: String,
    /// 0: the first dimension is among `dims`.
    max_batch_size: u32,
    /// What it takes.
    input: Vec<ConfigTensor>,
    /// What it gives.
    output: Vec<ConfigTensor>,
}

/// An input or output in a configuration.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConfigTensor {
    /// Its name.
    name: String,
    /// The type of its elements.
    #[schema(example = "TYPE_FP32")]
    data_type: String,
    /// Its dimensions; -1 where any size is taken.
    dims: Vec<i64>,
}

impl From<TensorMetadata> for ConfigTensor {
    fn from(TensorMetadata { name, datatype, shape }: TensorMetadata) -> Self {
        let data_type = match datatype {
            Datatype::Bytes => "TYPE_STRING".to_owned(),
            other => format!("TYPE_{}", other.name()),
        };
        Self { name, data_type, dims: shape }
    }
}

fn into<T: From<TensorMetadata>>(tensors: Vec<TensorMetadata>) -> Vec<T> {
    tensors.into_iter().map(T::from).collect()
}

fn metadata(found: ModelMetadata) -> MetadataResponse {
    MetadataResponse {
        name: found.model.into(),
        versions: found.versions.iter().map(ToString::to_string).collect(),
        platform: found.platform,
        inputs: into(found.inputs),
        outputs: into(found.outputs),
    }
}

fn configuration(found: ModelMetadata) -> ConfigResponse {
    ConfigResponse {
        name: found.model.into(),
        platform: found.platform,
        max_batch_size: 0,
        input: into(found.inputs),
        output: into(found.outputs),
    }
}

async fn described<T: Serialize>(
    ports: &Ports,
    target: Target,
    render: fn(ModelMetadata) -> T,
) -> Response<Body> {
    match ports.models.metadata(target.model, target.version).await {
        Ok(found) => json(&render(found)),
        Err(failure) => Refusal::from(failure).into_response(),
    }
}

async fn readiness(ports: &Ports, target: Target) -> Response<Body> {
    let model = target.model.clone();
    match ports.models.ready(target.model, target.version).await {
        Ok(true) => json_response(br#"{"ready":true}"#.to_vec()),
        Ok(false) => {
            let error = format!("model `{model}` is not ready");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error).into_response()
        }
        Err(failure) => Refusal::from(failure).into_response(),
    }
}

/// What a model takes and gives.
#[utoipa::path(get, path = "/v2/models/{model}",
    operation_id = "v2_model", tag = "inference protocol",
    params(("model" = String, Path, description = "The model's id")),
    responses(
        (status = 200, description = "The model", body = MetadataResponse),
        (status = 404, description = "No such model", body = Refusal),
        (status = 503, description = "It is not ready; see Retry-After", body = Refusal),
    ))]
pub(crate) async fn show(State(ports): State<Shared>, target: Target) -> Response<Body> {
    described(&ports, target, metadata).await
}

/// What a version of a model takes and gives.
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}",
    operation_id = "v2_version", tag = "inference protocol",
    params(
        ("model" = String, Path, description = "The model's id"),
        ("version" = u32, Path, description = "The version"),
    ),
    responses(
        (status = 200, description = "The model", body = MetadataResponse),
        (status = 400, description = "The version is no number", body = Refusal),
        (status = 404, description = "No such model or version", body = Refusal),
        (status = 503, description = "It is not ready; see Retry-After", body = Refusal),
    ))]
pub(crate) async fn show_version(State(ports): State<Shared>, target: Target) -> Response<Body> {
    described(&ports, target, metadata).await
}

/// What a model takes and gives, as a configuration of Triton.
#[utoipa::path(get, path = "/v2/models/{model}/config",
    operation_id = "v2_model_config", tag = "inference protocol",
    params(("model" = String, Path, description = "The model's id")),
    responses(
        (status = 200, description = "The model", body = ConfigResponse),
        (status = 404, description = "No such model", body = Refusal),
        (status = 503, description = "It is not ready; see Retry-After", body = Refusal),
    ))]
pub(crate) async fn config(State(ports): State<Shared>, target: Target) -> Response<Body> {
    described(&ports, target, configuration).await
}

/// What a version of a model takes and gives, as a configuration of Triton.
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}/config",
    operation_id = "v2_version_config", tag = "inference protocol",
    params(
        ("model" = String, Path, description = "The model's id"),
        ("version" = u32, Path, description = "The version"),
    ),
    responses(
        (status = 200, description = "The model", body = ConfigResponse),
        (status = 400, description = "The version is no number", body = Refusal),
        (status = 404, description = "No such model or version", body = Refusal),
        (status = 503, description = "It is not ready; see Retry-After", body = Refusal),
    ))]
pub(crate) async fn config_version(State(ports): State<Shared>, target: Target) -> Response<Body> {
    described(&ports, target, configuration).await
}

/// Whether a model answers now.
#[utoipa::path(get, path = "/v2/models/{model}/ready",
    operation_id = "v2_model_ready", tag = "inference protocol",
    params(("model" = String, Path, description = "The model's id")),
    responses(
        (status = 200, description = "It does"),
        (status = 404, description = "No such model", body = Refusal),
        (status = 503, description = "It does not", body = Refusal),
    ))]
pub(crate) async fn ready(State(ports): State<Shared>, target: Target) -> Response<Body> {
    readiness(&ports, target).await
}

/// Whether a version of a model answers now.
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}/ready",
    operation_id = "v2_version_ready", tag = "inference protocol",
    params(
        ("model" = String, Path, description = "The model's id"),
        ("version" = u32, Path, description = "The version"),
    ),
    responses(
        (status = 200, description = "It does"),
        (status = 400, description = "The version is no number", body = Refusal),
        (status = 404, description = "No such model or version", body = Refusal),
        (status = 503, description = "It does not", body = Refusal),
    ))]
pub(crate) async fn ready_version(State(ports): State<Shared>, target: Target) -> Response<Body> {
    readiness(&ports, target).await
}
