//! Owns `POST /api/v1/predict/batch`: many predictions in one body, answered in order.
//!
//! Refuses to know how they are made; they are queued together, so that they share batches. A bad
//! item is an error in its place, not of the whole. The body is a list of requests, or one object
//! with the texts for one model. Bound: [`BATCH_ITEM_COUNT_MAX`] items.

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Request, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use truststram_base::limits::BATCH_ITEM_COUNT_MAX;
use truststram_base::{Kind, RequestId};
use utoipa::ToSchema;

use crate::explain::{malformed, quote_non_finite};
use crate::options::{self, Haste};
use crate::ports::Ask;
use crate::predict::texts::{self, TextsRequest};
use crate::predict::{
    PredictOptions, PredictRequest, json_body, json_response, parse, render, request_id,
};
use crate::problem::Problem;
use crate::router::{Ports, Shared, query_of};

/// Many predictions to make.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it describes what `asks` reads")]
pub(crate) enum BatchRequest<'a> {
    /// Any requests.
    Items(#[serde(borrow)] Vec<PredictRequest<'a>>),
    /// Texts for one model.
    Texts(#[serde(borrow)] TextsRequest<'a>),
}

/// Predictions in the order of the request; a failed item holds its problem instead.
#[derive(Serialize, ToSchema)]
pub(crate) struct BatchResponse {
    /// Either a prediction or `{"error": problem}` per item.
    #[schema(value_type = Vec<Object>)]
    predictions: Vec<Box<RawValue>>,
}

#[derive(Serialize)]
struct ItemError<'a> {
    error: &'a Problem,
}

/// Make many predictions.
#[utoipa::path(
    post, path = "/api/v1/predict/batch",
    operation_id = "predict_batch", tag = "predictions",
    params(PredictOptions, Haste),
    request_body = BatchRequest<'_>,
    responses(
        (status = 200, description = "Predictions in order; a bad item is an error in its place",
         body = BatchResponse),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 413, description = "The body is larger than the limit", body = Problem),
        (status = 415, description = "The body is not called JSON", body = Problem),
        (status = 422, description = "The body is no list and no texts, or too long a list",
         body = Problem),
    )
)]
pub(crate) async fn batch(State(ports): State<Shared>, request: Request<Body>) -> Response<Body> {
    match answer(&ports, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn answer(ports: &Ports, request: Request<Body>) -> Result<Response<Body>, Problem> {
    let options: PredictOptions = query_of(request.uri())?;
    let haste = options::haste(request.headers())?;
    let id = request_id(&request);
    let body = json_body(request).await?;
    let (asks, refused): (Vec<Ask>, Vec<Option<Problem>>) = {
        let mut kept = Vec::new();
        let asks = asks(&body, id, options.durable, haste)?.into_iter();
        let refused = asks.map(|ask| ask.map(|ask| kept.push(ask)).err()).collect();
        (kept, refused)
    };
    let named: Vec<_> = asks.iter().map(|ask| (ask.request, ask.model.clone())).collect();
    let answers = ports.infer.predict_all(asks).await;
    let mut answered = named.iter().zip(answers);
    let mut predictions = Vec::with_capacity(refused.len());
    for refused in &refused {
        let json = match refused {
            Some(problem) => error_json(problem),
            None => match answered.next() {
                Some(((item_id, model), Ok(answer))) => render(model, *item_id, &answer, options).0,
                Some((_, Err(failure))) => error_json(&failure.into()),
                None => error_json(&Problem::new(Kind::Internal, "an item has no answer")),
            },
        };
        predictions.push(raw(json)?);
    }
    Ok(json_response(serde_json::to_vec(&BatchResponse { predictions }).unwrap_or_default()))
}

/// Reads the body into what is asked, each item with an id next to that of the item before.
fn asks(
    body: &[u8],
    id: RequestId,
    durable: bool,
    haste: Haste,
) -> Result<Vec<Result<Ask, Problem>>, Problem> {
    let readable = quote_non_finite(body);
    if readable.trim_ascii_start().starts_with(b"{") {
        return texts::parse(&readable, id, durable, haste);
    }
    let items: Vec<&RawValue> = serde_json::from_slice(&readable).map_err(|error| {
        if error.is_data() {
            Problem::new(Kind::Invalid, "the body must be a list of prediction requests")
        } else {
            malformed(&readable, &error)
        }
    })?;
    if items.len() > BATCH_ITEM_COUNT_MAX {
        let found = items.len();
        let detail = format!("the list holds {found} items, more than {BATCH_ITEM_COUNT_MAX}");
        return Err(Problem::new(Kind::Invalid, detail));
    }
    let ask = |(index, item): (usize, &&RawValue)| {
        let item_id = RequestId(id.0.wrapping_add(index as u128));
        parse(item.get().as_bytes(), item_id, durable, haste)
    };
    Ok(items.iter().enumerate().map(ask).collect())
}

fn error_json(problem: &Problem) -> Vec<u8> {
    serde_json::to_vec(&ItemError { error: problem }).unwrap_or_default()
}

fn raw(json: Vec<u8>) -> Result<Box<RawValue>, Problem> {
    let internal = || Problem::new(Kind::Internal, "an answer could not be serialised");
    let text = String::from_utf8(json).map_err(|_| internal())?;
    RawValue::from_string(text).map_err(|_| internal())
}
