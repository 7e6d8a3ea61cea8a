//! Owns `/v2/models/stats` and its like: what models did since the start, as Triton tells it.
//!
//! Refuses to count. Bound: the versions that are loaded.

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::Response;
use serde::Serialize;
use truststram_base::{ModelId, ModelVersion};
use utoipa::ToSchema;

use super::refusal::{Refusal, Target};
use crate::filters::json;
use crate::ports::{BatchFigures, ModelFigures, Took};
use crate::router::{Ports, Shared};

/// What models did.
#[derive(Serialize, ToSchema)]
pub(crate) struct StatisticsOfModels {
    /// By model and version.
    model_stats: Vec<StatisticsOfModel>,
}

/// What one version did since the start.
#[derive(Serialize, ToSchema)]
pub(crate) struct StatisticsOfModel {
    /// The model's id.
    name: String,
    /// The version.
    version: String,
    /// When it was asked last, milliseconds since 1970; 0 for never.
    last_inference: u64,
    /// Rows answered.
    inference_count: u64,
    /// Batches computed.
    execution_count: u64,
    /// By stage.
    inference_stats: StageFigures,
    /// Empty: no model here answers more than once.
    response_stats: NoFigures,
    /// By the size of the batch.
    batch_stats: Vec<BatchStage>,
    /// Empty: memory is in `/metrics`.
    memory_usage: [NoFigures; 0],
}

/// An object without fields.
#[derive(Serialize, ToSchema)]
pub(crate) struct NoFigures {}

/// How often something happened and how long it took in all.
#[derive(Serialize, ToSchema)]
pub(crate) struct Duration {
    /// How often.
    count: u64,
    /// Nanoseconds in all.
    ns: u64,
}

impl From<Took> for Duration {
    fn from(Took { count, ns }: Took) -> Self {
        Self { count, ns }
    }
}

/// Where requests spent their time.
#[derive(Serialize, ToSchema)]
pub(crate) struct StageFigures {
    /// Requests answered.
    success: Duration,
    /// Requests failed.
    fail: Duration,
    /// Waiting in queues.
    queue: Duration,
    /// Preparing inputs.
    compute_input: Duration,
    /// Computing.
    compute_infer: Duration,
    /// Taking outputs out.
    compute_output: Duration,
    /// Answers out of a cache.
    cache_hit: Duration,
    /// Questions that a cache had no answer to.
    cache_miss: Duration,
}

/// The executions of one batch size.
#[derive(Serialize, ToSchema)]
pub(crate) struct BatchStage {
    /// How many inferences a batch had.
    batch_size: u64,
    /// Preparing inputs.
    compute_input: Duration,
    /// Computing.
    compute_infer: Duration,
    /// Taking outputs out.
    compute_output: Duration,
}

impl From<BatchFigures> for BatchStage {
    fn from(figures: BatchFigures) -> Self {
        Self {
            batch_size: figures.batch_size,
            compute_input: figures.compute_input.into(),
            compute_infer: figures.compute_infer.into(),
            compute_output: figures.compute_output.into(),
        }
    }
}

impl From<ModelFigures> for StatisticsOfModel {
    fn from(figures: ModelFigures) -> Self {
        Self {
            name: figures.model.into(),
            version: figures.version.to_string(),
            last_inference: figures.last_inference_ms,
            inference_count: figures.inference_count,
            execution_count: figures.execution_count,
            inference_stats: StageFigures {
                success: figures.success.into(),
                fail: figures.fail.into(),
                queue: figures.queue.into(),
                compute_input: figures.compute_input.into(),
                compute_infer: figures.compute_infer.into(),
                compute_output: figures.compute_output.into(),
                cache_hit: figures.cache_hit.into(),
                cache_miss: figures.cache_miss.into(),
            },
            response_stats: NoFigures {},
            batch_stats: figures.batches.into_iter().map(BatchStage::from).collect(),
            memory_usage: [],
        }
    }
}

async fn answer(
    ports: &Ports,
    model: Option<ModelId>,
    version: Option<ModelVersion>,
) -> Response<Body> {
    match ports.models.statistics(model, version).await {
        Ok(figures) => {
            let model_stats = figures.into_iter().map(StatisticsOfModel::from).collect();
            json(&StatisticsOfModels { model_stats })
        }
        Err(failure) => Refusal::from(failure).into_response(),
    }
}

/// What every model did since the start.
#[utoipa::path(get, path = "/v2/models/stats",
    operation_id = "v2_statistics", tag = "inference protocol",
    responses(
        (status = 200, description = "All versions of all models", body = StatisticsOfModels),
        (status = 400, description = "There are no figures by model", body = Refusal),
    ))]
pub(crate) async fn all(State(ports): State<Shared>) -> Response<Body> {
    answer(&ports, None, None).await
}

/// What a model did since the start.
#[utoipa::path(get, path = "/v2/models/{model}/stats",
    operation_id = "v2_model_statistics", tag = "inference protocol",
    params(("model" = String, Path, description = "The model's id")),
    responses(
        (status = 200, description = "All versions of it", body = StatisticsOfModels),
        (status = 400, description = "There are no figures of it", body = Refusal),
        (status = 404, description = "No such model", body = Refusal),
    ))]
pub(crate) async fn show(State(ports): State<Shared>, target: Target) -> Response<Body> {
    answer(&ports, Some(target.model), None).await
}

/// What a version of a model did since the start.
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}/stats",
    operation_id = "v2_version_statistics", tag = "inference protocol",
    params(
        ("model" = String, Path, description = "The model's id"),
        ("version" = u32, Path, description = "The version"),
    ),
    responses(
        (status = 200, description = "That version", body = StatisticsOfModels),
        (status = 400, description = "The version is no number, or has no figures",
         body = Refusal),
        (status = 404, description = "No such model or version", body = Refusal),
    ))]
pub(crate) async fn show_version(State(ports): State<Shared>, target: Target) -> Response<Body> {
    answer(&ports, Some(target.model), target.version).await
}
