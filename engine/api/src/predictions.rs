//! Owns `GET /api/v1/predictions`: what was answered, newest first, page by page.
//!
//! Refuses to know how rows are found. Bound: [`PAGE_ROW_COUNT_MAX`] rows a page.

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderValue, Request, Response, Uri, header};
use serde::{Deserialize, Serialize};
use truststram_base::limits::PAGE_ROW_COUNT_MAX;
use truststram_base::{IdError, ModelId, UserId};
use utoipa::{IntoParams, ToSchema};

use crate::ports::{Page, PageFailure, PredictionsQuery, StoredAnswer};
use crate::predict::json_response;
use crate::problem::{FieldError, Problem};
use crate::router::{Ports, query_of};
use crate::timestamp;

const LIMIT_DEFAULT: usize = 100;

/// Which predictions to list; all conditions given must hold.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Of this model.
    model_id: Option<String>,
    /// Of this user.
    user_id: Option<String>,
    /// Made at or after this time: RFC 3339 in UTC, or microseconds since 1970.
    since: Option<String>,
    /// Made at or before this time.
    until: Option<String>,
    /// At most this many, 1 to 1000; 100 if absent.
    limit: Option<usize>,
    /// Continue after the page whose `next_cursor` this is.
    cursor: Option<String>,
}

/// One stored prediction.
#[derive(Serialize, ToSchema)]
pub(crate) struct StoredPrediction {
    /// The id of the request that asked.
    request_id: String,
    /// The model that answered.
    model_id: String,
    /// The version that answered.
    model_version: u32,
    /// Who asked, if the caller said so.
    user_id: Option<String>,
    /// When, RFC 3339 in UTC.
    timestamp: String,
    /// The name of the predicted class.
    prediction: String,
    /// Probability of the predicted class, 0 to 1.
    confidence: f32,
    /// The features as they were given.
    data: Vec<f32>,
}

/// A page of predictions.
#[derive(Serialize, ToSchema)]
pub(crate) struct PredictionsResponse {
    /// Newest first.
    predictions: Vec<StoredPrediction>,
    /// The `cursor` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// List stored predictions, newest first.
#[utoipa::path(get, path = "/api/v1/predictions", tag = "predictions", params(Filter),
    responses(
        (status = 200, description = "A page; `Link: rel=next` leads on",
         body = PredictionsResponse),
        (status = 400, description = "A filter is unknown", body = Problem),
        (status = 422, description = "A filter is not acceptable", body = Problem),
        (status = 503, description = "Too many queries wait; see Retry-After", body = Problem),
    ))]
pub(crate) async fn list(State(ports): State<Ports>, request: Request<Body>) -> Response<Body> {
    match page(&ports, request.uri()).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn page(ports: &Ports, uri: &Uri) -> Result<Response<Body>, Problem> {
    let filter: Filter = query_of(uri)?;
    let query = checked(&filter)?;
    let page = ports.records.predictions(query).await.map_err(|failure| match failure {
        PageFailure::BadCursor => invalid("cursor", "is not one that a page gave"),
        PageFailure::Failure(failure) => failure.into(),
    })?;
    let link = page.next.as_deref().map(|next| next_link(uri, next));
    let mut response = json_response(serde_json::to_vec(&render(page)).unwrap_or_default());
    if let Some(value) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
        response.headers_mut().insert(header::LINK, value);
    }
    Ok(response)
}

fn invalid(field: &str, message: impl Into<String>) -> Problem {
    let field = field.to_owned();
    Problem::invalid(vec![FieldError { field, index: None, message: message.into() }])
}

fn checked(filter: &Filter) -> Result<PredictionsQuery, Problem> {
    let id = |field: &'static str| move |error: IdError| invalid(field, error.to_string());
    let time = |field: &str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => timestamp::parse(text).map(Some).ok_or_else(|| {
            invalid(field, "must be a time such as 2026-11-23T14:00:00Z, or microseconds")
        }),
    };
    let limit = filter.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=PAGE_ROW_COUNT_MAX).contains(&limit) {
        return Err(invalid("limit", format!("must be 1 to {PAGE_ROW_COUNT_MAX}, found {limit}")));
    }
    Ok(PredictionsQuery {
        model: filter.model_id.as_deref().map(ModelId::new).transpose().map_err(id("model_id"))?,
        user: filter.user_id.as_deref().map(UserId::new).transpose().map_err(id("user_id"))?,
        since_us: time("since", &filter.since)?,
        until_us: time("until", &filter.until)?,
        limit,
        cursor: filter.cursor.clone(),
    })
}

/// The same address with the cursor replaced. A cursor needs no escape.
fn next_link(uri: &Uri, cursor: &str) -> String {
    let kept = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    let pairs: Vec<&str> = kept.collect();
    let mut link = format!("<{}?", uri.path());
    for pair in pairs {
        link.push_str(pair);
        link.push('&');
    }
    link.push_str("cursor=");
    link.push_str(cursor);
    link.push_str(">; rel=\"next\"");
    link
}

fn render(page: Page) -> PredictionsResponse {
    let row = |row: StoredAnswer| StoredPrediction {
        request_id: row.request.to_string(),
        model_id: row.model.into(),
        model_version: row.version.0,
        user_id: row.user.map(String::from),
        timestamp: timestamp::format(row.timestamp_us),
        prediction: row.label,
        confidence: row.confidence,
        data: row.features,
    };
    PredictionsResponse {
        predictions: page.rows.into_iter().map(row).collect(),
        next_cursor: page.next,
    }
}
