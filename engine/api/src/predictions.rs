//! Owns `GET /api/v1/predictions`: what was answered, newest first, page by page.
//!
//! Refuses to know how rows are found. Bound: a page as [`filters::limit`] has it.

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Request, Response, Uri};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::filters::{self, invalid};
use crate::ports::{Explained, Page, PredictionsQuery, StoredAnswer};
use crate::problem::Problem;
use crate::router::{Ports, Shared, query_of};
use crate::timestamp;

/// Which predictions to list; all conditions given must hold.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Of this model.
    model_id: Option<String>,
    /// Of this user.
    user_id: Option<String>,
    /// Of any model that this owner has a version of. Not together with `model_id`, `user_id`,
    /// `until` and `cursor`; `since` is seven days ago if absent, and there is one page.
    owner_id: Option<String>,
    /// Made at or after this time: RFC 3339 in UTC, or microseconds since 1970.
    since: Option<String>,
    /// Made at or before this time.
    until: Option<String>,
    /// At most this many, 1 to 1000; 100 if absent.
    limit: Option<usize>,
    /// Continue after the page whose `next_cursor` this is.
    cursor: Option<String>,
    /// Say how the rows were found and what it cost.
    explain: bool,
}

/// One stored prediction.
#[derive(Serialize, ToSchema)]
pub(crate) struct StoredPrediction {
    /// The id of the request that asked.
    request_id: String,
    /// The model that answered.
    model_id: String,
    /// What people call it; only with `owner_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    model_name: Option<String>,
    /// What kind of network it is; only with `owner_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    model_type: Option<String>,
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
    /// How they were found; only with `explain=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<Explained>,
}

/// List stored predictions, newest first.
#[utoipa::path(get, path = "/api/v1/predictions",
    operation_id = "list_predictions", tag = "predictions", params(Filter),
    responses(
        (status = 200, description = "A page; `Link: rel=next` leads on",
         body = PredictionsResponse),
        (status = 400, description = "A filter is unknown", body = Problem),
        (status = 422, description = "A filter is not acceptable", body = Problem),
        (status = 503, description = "Too many queries wait; see Retry-After", body = Problem),
    ))]
pub(crate) async fn list(State(ports): State<Shared>, request: Request<Body>) -> Response<Body> {
    match page(&ports, request.uri()).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn page(ports: &Ports, uri: &Uri) -> Result<Response<Body>, Problem> {
    let filter: Filter = query_of(uri)?;
    let query = checked(&filter)?;
    let page = ports.records.predictions(query).await?;
    let next = page.next.clone().map(|cursor| ("cursor", cursor));
    Ok(filters::page(&render(page, filter.explain), uri, next))
}

fn checked(filter: &Filter) -> Result<PredictionsQuery, Problem> {
    if filter.owner_id.is_some() {
        let others = [
            ("model_id", &filter.model_id),
            ("user_id", &filter.user_id),
            ("until", &filter.until),
            ("cursor", &filter.cursor),
        ];
        if let Some((field, _)) = others.iter().find(|(_, given)| given.is_some()) {
            return Err(invalid(field, "cannot be given together with owner_id"));
        }
    }
    Ok(PredictionsQuery {
        model: filters::model("model_id", filter.model_id.as_deref())?,
        user: filters::user("user_id", filter.user_id.as_deref())?,
        owner: filters::user("owner_id", filter.owner_id.as_deref())?,
        since_us: filters::time("since", filter.since.as_deref())?,
        until_us: filters::time("until", filter.until.as_deref())?,
        limit: filters::limit(filter.limit)?,
        cursor: filter.cursor.clone(),
    })
}

fn render(page: Page, explain: bool) -> PredictionsResponse {
    let row = |row: StoredAnswer| StoredPrediction {
        request_id: row.request.to_string(),
        model_id: row.model.into(),
        model_name: row.model_name,
        model_type: row.model_type,
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
        explain: explain.then_some(page.explained),
    }
}
