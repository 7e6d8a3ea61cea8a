//! Owns `/api/v1/datasets`: rows to train on, appended, read page by page and removed.
//!
//! Refuses to know how they are kept and what for. Bound: a body, or a page of rows.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{Request, Response, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use truststram_base::Kind;
use utoipa::{IntoParams, ToSchema};

use crate::dataset_rows::{self, Format, NewRowBody};
use crate::filters::{self, invalid, json};
use crate::ports::{Dataset, DatasetFailure, DatasetRow};
use crate::predict::{body_of, is_media};
use crate::problem::{FieldError, Problem};
use crate::router::{Ports, Shared, query_of};
use crate::timestamp;

/// A data set and what it adds up to.
#[derive(Serialize, ToSchema)]
pub(crate) struct DatasetResponse {
    /// Its name.
    #[schema(example = "digits")]
    name: String,
    /// How many rows it has.
    rows: u64,
    /// How many features every row has; 0 where rows have texts.
    feature_count: u32,
    /// Whether its rows have texts instead of features.
    is_of_texts: bool,
    /// What the rows are before compression, in bytes.
    raw_bytes: u64,
    /// What they are as stored, in bytes.
    stored_bytes: u64,
    /// When the oldest row was appended, RFC 3339 in UTC.
    oldest: Option<String>,
    /// When the newest row was appended, RFC 3339 in UTC.
    newest: Option<String>,
    /// How many rows have each label, of the first 1024 labels that came.
    labels: BTreeMap<String, u64>,
    /// How many rows have a label beyond those.
    other_labels: u64,
    /// How many rows have no label.
    unlabelled: u64,
}

/// All data sets.
#[derive(Serialize, ToSchema)]
pub(crate) struct DatasetsResponse {
    /// By name.
    datasets: Vec<DatasetResponse>,
}

/// What was appended.
#[derive(Serialize, ToSchema)]
pub(crate) struct AppendedResponse {
    /// The id of the first row; the others follow one by one.
    first_id: u64,
    /// How many rows.
    rows: u64,
}

/// Which rows to show.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct RowsFilter {
    /// The id of the first row; 0 if absent.
    from: u64,
    /// At most this many, 1 to 1000; 100 if absent. Large rows make shorter pages.
    limit: Option<usize>,
}

/// One row of a data set.
#[derive(Serialize, ToSchema)]
pub(crate) struct RowResponse {
    /// Its place, counted from 0.
    id: u64,
    /// When it was appended, RFC 3339 in UTC.
    created: String,
    /// The input; absent in a data set of texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    features: Option<Vec<f32>>,
    /// The input in a data set of texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The right answer, where it is known.
    label: Option<String>,
    /// What else is known of it.
    #[schema(value_type = Object)]
    metadata: Option<Box<RawValue>>,
}

/// A page of rows.
#[derive(Serialize, ToSchema)]
pub(crate) struct RowsResponse {
    /// By id.
    rows: Vec<RowResponse>,
    /// How many rows the data set has in all.
    row_count: u64,
    /// The `from` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_from: Option<u64>,
}

impl From<DatasetFailure> for Problem {
    fn from(failure: DatasetFailure) -> Self {
        match failure {
            DatasetFailure::Name(reason) => invalid("name", reason),
            DatasetFailure::Unknown(name) => Self::new(
                Kind::NotFound,
                format!("no data set `{name}` exists; GET /api/v1/datasets lists them"),
            ),
            DatasetFailure::Body(problem) => *problem,
            DatasetFailure::Row { row, field, reason } => {
                let error = FieldError { row: Some(row), ..FieldError::new(field, reason) };
                Self::invalid(vec![error])
            }
            DatasetFailure::Failure(failure) => failure.into(),
        }
    }
}

/// The problem of somebody who asks for a data set: what can be no name is not found.
fn unknown(name: &str) -> impl Fn(DatasetFailure) -> Problem {
    move |failure| match failure {
        DatasetFailure::Name(_) => DatasetFailure::Unknown(name.to_owned()).into(),
        other => other.into(),
    }
}

fn answer(result: Result<Response<Body>, Problem>) -> Response<Body> {
    result.unwrap_or_else(IntoResponse::into_response)
}

/// List the data sets.
#[utoipa::path(get, path = "/api/v1/datasets",
    operation_id = "list_datasets", tag = "datasets",
    responses(
        (status = 200, description = "All data sets by name", body = DatasetsResponse),
        (status = 503, description = "Too many queries wait; see Retry-After", body = Problem),
    ))]
pub(crate) async fn list(State(ports): State<Shared>) -> Response<Body> {
    answer(ports.datasets.list().await.map_err(Problem::from).map(|found| {
        let datasets = found.into_iter().map(render).collect();
        json(&DatasetsResponse { datasets })
    }))
}

/// Show one data set.
#[utoipa::path(get, path = "/api/v1/datasets/{name}",
    operation_id = "show_dataset", tag = "datasets",
    params(("name" = String, Path, description = "The data set's name")),
    responses(
        (status = 200, description = "The data set", body = DatasetResponse),
        (status = 404, description = "No such data set", body = Problem),
        (status = 503, description = "Too many queries wait; see Retry-After", body = Problem),
    ))]
pub(crate) async fn show(State(ports): State<Shared>, Path(name): Path<String>) -> Response<Body> {
    let found = ports.datasets.list().await.and_then(|all| {
        let found = all.into_iter().find(|dataset| dataset.name == name);
        found.ok_or(DatasetFailure::Unknown(name))
    });
    answer(found.map(|dataset| json(&render(dataset))).map_err(Problem::from))
}

/// Append rows to a data set, which is made if need be. All of them or none; they survive a power
/// loss once this is answered. All rows of a data set have as many features, or all have a text.
#[utoipa::path(post, path = "/api/v1/datasets/{name}/rows",
    operation_id = "append_rows", tag = "datasets",
    params(("name" = String, Path, description = "The data set's name")),
    request_body(description = "A list of rows, or one row per line", content(
        (Vec<NewRowBody<'_>> = "application/json"),
        (NewRowBody<'_> = "application/x-ndjson"),
    )),
    responses(
        (status = 201, description = "They are appended", body = AppendedResponse),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 413, description = "The body is larger than the limit", body = Problem),
        (status = 415, description = "The body is called neither", body = Problem),
        (status = 422, description = "A row is not acceptable; see `errors`", body = Problem),
        (status = 503, description = "Too many bodies wait; see Retry-After", body = Problem),
        (status = 507, description = "The disk is full", body = Problem),
    ))]
pub(crate) async fn append(
    State(ports): State<Shared>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    answer(appended(&ports, name, request).await)
}

async fn appended(
    ports: &Ports,
    name: String,
    request: Request<Body>,
) -> Result<Response<Body>, Problem> {
    let format = if is_media(&request, "application/json") {
        Format::List
    } else if is_media(&request, "application/x-ndjson") {
        Format::Lines
    } else {
        let detail = "send the rows with `content-type: application/json` or \
                      `application/x-ndjson`";
        return Err(Problem::media_type(detail));
    };
    let body = body_of(request.into_body()).await?;
    let read = Box::new(move || dataset_rows::read(&body, format));
    let appended = ports.datasets.append(name, read).await?;
    let mut response = json(&AppendedResponse { first_id: appended.first_id, rows: appended.rows });
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// Show rows of a data set, by id.
#[utoipa::path(get, path = "/api/v1/datasets/{name}/rows",
    operation_id = "list_rows", tag = "datasets",
    params(("name" = String, Path, description = "The data set's name"), RowsFilter),
    responses(
        (status = 200, description = "A page; `Link: rel=next` leads on", body = RowsResponse),
        (status = 400, description = "A parameter is unknown", body = Problem),
        (status = 404, description = "No such data set", body = Problem),
        (status = 422, description = "A parameter is not acceptable", body = Problem),
        (status = 503, description = "Too many queries wait; see Retry-After", body = Problem),
    ))]
pub(crate) async fn rows(
    State(ports): State<Shared>,
    Path(name): Path<String>,
    uri: Uri,
) -> Response<Body> {
    answer(rows_of(&ports, name, &uri).await)
}

async fn rows_of(ports: &Ports, name: String, uri: &Uri) -> Result<Response<Body>, Problem> {
    let filter: RowsFilter = query_of(uri)?;
    let limit = filters::limit(filter.limit)?;
    let asked = ports.datasets.rows(name.clone(), filter.from, limit).await;
    let found = asked.map_err(unknown(&name))?;
    let row = |DatasetRow { id, created_us, row }| RowResponse {
        id,
        created: timestamp::format(created_us),
        features: row.text.is_none().then_some(row.features),
        text: row.text,
        label: row.label,
        // The store keeps nothing else than JSON.
        metadata: RawValue::from_string(row.metadata_json).ok(),
    };
    let body = RowsResponse {
        rows: found.rows.into_iter().map(row).collect(),
        row_count: found.row_count,
        next_from: found.next,
    };
    Ok(filters::page(&body, uri, found.next.map(|id| ("from", id.to_string()))))
}

/// Remove a data set with all its rows.
#[utoipa::path(delete, path = "/api/v1/datasets/{name}",
    operation_id = "remove_dataset", tag = "datasets",
    params(("name" = String, Path, description = "The data set's name")),
    responses(
        (status = 200, description = "What it was", body = DatasetResponse),
        (status = 404, description = "No such data set", body = Problem),
        (status = 503, description = "Too many bodies wait; see Retry-After", body = Problem),
    ))]
pub(crate) async fn remove(
    State(ports): State<Shared>,
    Path(name): Path<String>,
) -> Response<Body> {
    let removed = ports.datasets.remove(name.clone()).await;
    answer(removed.map(|dataset| json(&render(dataset))).map_err(unknown(&name)))
}

fn render(dataset: Dataset) -> DatasetResponse {
    DatasetResponse {
        name: dataset.name,
        rows: dataset.rows,
        feature_count: dataset.feature_count,
        is_of_texts: dataset.is_of_texts,
        raw_bytes: dataset.raw_bytes,
        stored_bytes: dataset.stored_bytes,
        oldest: dataset.oldest_us.map(timestamp::format),
        newest: dataset.newest_us.map(timestamp::format),
        labels: dataset.labels,
        other_labels: dataset.other_labels,
        unlabelled: dataset.unlabelled,
    }
}
