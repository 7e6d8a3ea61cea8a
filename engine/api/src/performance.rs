//! Owns the figures of models: `GET /api/v1/models/{id}/performance`, the same of all active
//! models, and statistics of a span of time.
//!
//! These stand for the guide's `mv_model_performance` and its seven-day statistics. Refuses to know
//! how they are made. Bound: one row per model.

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Response, Uri};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::filters::{self, invalid, json};
use crate::ports::{Explained, Performance, Statistic, StatisticsQuery};
use crate::problem::Problem;
use crate::router::{Ports, Shared, query_of};
use crate::target::NamedModel;
use crate::timestamp;

/// What a model has answered so far.
#[derive(Serialize, ToSchema)]
pub(crate) struct PerformanceResponse {
    /// The model.
    #[schema(example = "digits")]
    model_id: String,
    /// What people call it.
    name: String,
    /// What kind of network it is.
    #[schema(example = "dense")]
    model_type: String,
    /// How many predictions it made.
    total_predictions: u64,
    /// Mean confidence of them, 0 to 1; null if there are none.
    avg_confidence: Option<f64>,
    /// Share of those whose class is not the first, 0 to 1; null if there are none.
    positive_share: Option<f64>,
    /// How many it made since `daily_since`.
    daily_predictions: u64,
    /// The beginning of the minute 24 hours ago, RFC 3339 in UTC.
    daily_since: String,
    /// When it made the last one, RFC 3339 in UTC; null if there is none.
    last_prediction_time: Option<String>,
    /// When these figures were true, RFC 3339 in UTC.
    as_of: String,
}

/// What each active model has answered so far.
#[derive(Serialize, ToSchema)]
pub(crate) struct PerformancesResponse {
    /// By id.
    models: Vec<PerformanceResponse>,
}

/// Which statistics to make.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatisticsFilter {
    /// From the minute of this time on: RFC 3339 in UTC, or microseconds since 1970. Seven days
    /// ago if absent.
    since: Option<String>,
    /// Up to the minute of this time, which is left out; now if absent.
    until: Option<String>,
    /// Every model, not only active ones that were registered in the last 30 days.
    all: bool,
    /// Say how the figures were found and what it cost.
    explain: bool,
}

/// What one model has answered in a span of time.
#[derive(Serialize, ToSchema)]
pub(crate) struct StatisticResponse {
    /// The model.
    #[schema(example = "digits")]
    model_id: String,
    /// What people call it.
    name: String,
    /// What kind of network it is.
    model_type: String,
    /// When its active version was registered, or its newest if none is active; RFC 3339 in UTC.
    created: String,
    /// How many predictions it made.
    prediction_count: u64,
    /// Share of those whose class is not the first, 0 to 1; 0 if there are none.
    positive_share: f64,
}

/// What models have answered in a span of time.
#[derive(Serialize, ToSchema)]
pub(crate) struct StatisticsResponse {
    /// The newest model first.
    models: Vec<StatisticResponse>,
    /// The beginning of the first minute, RFC 3339 in UTC.
    since: String,
    /// The end of the last minute, RFC 3339 in UTC.
    until: String,
    /// How the figures were found; only with `explain=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<Explained>,
}

/// Show what a model has answered so far. The figures change with every commit of its rows; while
/// there is none, the last 24 hours may be those of up to 300 seconds ago, as `as_of` says.
#[utoipa::path(get, path = "/api/v1/models/{id}/performance",
    operation_id = "show_performance", tag = "models",
    params(("id" = String, Path, description = "The model's id")),
    responses(
        (status = 200, description = "Its figures", body = PerformanceResponse),
        (status = 404, description = "No such model", body = Problem),
        (status = 503, description = "Too many queries wait; see Retry-After", body = Problem),
    ))]
pub(crate) async fn show(
    State(ports): State<Shared>,
    NamedModel(model): NamedModel,
) -> Response<Body> {
    match ports.records.performance(model).await {
        Ok(performance) => json(&render(performance)),
        Err(failure) => Problem::from(failure).into_response(),
    }
}

/// Show what every active model has answered so far.
#[utoipa::path(get, path = "/api/v1/performance",
    operation_id = "list_performance", tag = "models",
    responses(
        (status = 200, description = "Their figures by id", body = PerformancesResponse),
        (status = 503, description = "Too many queries wait; see Retry-After", body = Problem),
    ))]
pub(crate) async fn list(State(ports): State<Shared>) -> Response<Body> {
    match ports.records.performances().await {
        Ok(found) => {
            let models = found.into_iter().map(render).collect();
            json(&PerformancesResponse { models })
        }
        Err(failure) => Problem::from(failure).into_response(),
    }
}

/// Show what models have answered in a span of time, the newest model first.
#[utoipa::path(get, path = "/api/v1/statistics",
    operation_id = "list_statistics", tag = "models", params(StatisticsFilter),
    responses(
        (status = 200, description = "Their figures", body = StatisticsResponse),
        (status = 400, description = "A parameter is unknown", body = Problem),
        (status = 422, description = "A parameter is not acceptable", body = Problem),
        (status = 503, description = "Too many queries wait; see Retry-After", body = Problem),
    ))]
pub(crate) async fn statistics(State(ports): State<Shared>, uri: Uri) -> Response<Body> {
    match statistics_of(&ports, &uri).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn statistics_of(ports: &Ports, uri: &Uri) -> Result<Response<Body>, Problem> {
    let filter: StatisticsFilter = query_of(uri)?;
    let since_us = filters::time("since", filter.since.as_deref())?;
    let until_us = filters::time("until", filter.until.as_deref())?;
    if let (Some(since_us), Some(until_us)) = (since_us, until_us)
        && since_us > until_us
    {
        return Err(invalid("since", "must not be after until"));
    }
    let query = StatisticsQuery { since_us, until_us, all: filter.all };
    let found = ports.records.statistics(query).await?;
    let row = |row: Statistic| StatisticResponse {
        model_id: row.model.into(),
        name: row.name,
        model_type: row.model_type,
        created: timestamp::format(row.created_us),
        prediction_count: row.predictions,
        // The guide's query says `COALESCE(.., 0)` of both.
        positive_share: row.positive_share.unwrap_or(0.0),
    };
    Ok(json(&StatisticsResponse {
        models: found.rows.into_iter().map(row).collect(),
        since: timestamp::format(found.since_us),
        until: timestamp::format(found.until_us),
        explain: filter.explain.then_some(found.explained),
    }))
}

fn render(performance: Performance) -> PerformanceResponse {
    PerformanceResponse {
        model_id: performance.model.into(),
        name: performance.name,
        model_type: performance.model_type,
        total_predictions: performance.predictions,
        avg_confidence: performance.confidence_mean,
        positive_share: performance.positive_share,
        daily_predictions: performance.day_predictions,
        daily_since: timestamp::format(performance.day_since_us),
        last_prediction_time: performance.last_us.map(timestamp::format),
        as_of: timestamp::format(performance.as_of_us),
    }
}
