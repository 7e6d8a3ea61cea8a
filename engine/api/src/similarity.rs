//! Owns `POST /api/v1/similarity`: the cosine of each of some vectors or texts with each of others.
//!
//! Refuses to compute: vectors are compared, and texts embedded, on the inference side. Bound:
//! [`ROWS_MAX`] rows, [`VALUES_MAX`] values in all, and as many pairs.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Request, Response};
use serde::{Deserialize, Serialize};
use truststram_base::limits::{FEATURE_COUNT_MAX, TEXT_BYTES_MAX};
use truststram_base::{Kind, ModelId, RequestId};
use utoipa::ToSchema;

use crate::explain::{malformed, quote_non_finite};
use crate::filters::{self, invalid, json};
use crate::lists::AtMost;
use crate::options::{self, Haste};
use crate::ports::{EmbedAsk, EmbedInputs, SimilarityAsk};
use crate::predict::{json_body, request_id};
use crate::problem::Problem;
use crate::router::{Ports, Shared};

/// Most rows on either side.
const ROWS_MAX: usize = 2_048;
/// Most values on both sides together, and most pairs of rows.
const VALUES_MAX: usize = 4 << 20;

type Rows = AtMost<AtMost<f32, FEATURE_COUNT_MAX>, ROWS_MAX>;
type Texts = AtMost<String, ROWS_MAX>;

/// What to compare: either vectors, or texts with the model that embeds them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SimilarityRequest<'a> {
    /// Vectors, all of one length.
    #[schema(value_type = Option<Vec<Vec<f32>>>)]
    a: Option<Rows>,
    /// What they are compared with; with each other if absent.
    #[schema(value_type = Option<Vec<Vec<f32>>>)]
    b: Option<Rows>,
    /// Texts instead of `a`.
    #[schema(value_type = Option<Vec<String>>)]
    texts: Option<Texts>,
    /// Texts instead of `b`.
    #[schema(value_type = Option<Vec<String>>)]
    texts_b: Option<Texts>,
    /// The model that embeds the texts.
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    model_id: Option<Cow<'a, str>>,
    /// Answer with so many of the most similar rows for each row, instead of with all.
    top_k: Option<usize>,
}

/// How similar the rows are.
#[derive(Serialize, ToSchema)]
pub(crate) struct SimilarityResponse {
    /// For each row of `a` its cosine with each row of `b`, -1 to 1; 0 where either is all zeros.
    #[serde(skip_serializing_if = "Option::is_none")]
    similarities: Option<Vec<Vec<f32>>>,
    /// With `top_k`: for each row of `a` the most similar rows of `b`, the nearest first. A row is
    /// not compared with itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<Vec<Vec<Neighbour>>>,
    /// Values per row.
    dimension: usize,
    /// Tokens that the texts took; only with texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<u64>,
}

/// A similar row.
#[derive(Serialize, ToSchema)]
pub(crate) struct Neighbour {
    /// Its place, counted from 0.
    index: usize,
    /// The cosine.
    similarity: f32,
}

/// Compare vectors or texts.
#[utoipa::path(post, path = "/api/v1/similarity", tag = "embeddings",
    params(Haste),
    request_body = SimilarityRequest<'_>,
    responses(
        (status = 200, description = "The similarities", body = SimilarityResponse),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 404, description = "No such model", body = Problem),
        (status = 413, description = "The body is larger than the limit", body = Problem),
        (status = 415, description = "The body is not called JSON", body = Problem),
        (status = 422, description = "A value is not acceptable; see `errors`", body = Problem),
        (status = 503, description = "A queue is full; see Retry-After", body = Problem),
        (status = 504, description = "No answer within the deadline", body = Problem),
    ))]
pub(crate) async fn compare(State(ports): State<Shared>, request: Request<Body>) -> Response<Body> {
    answer(&ports, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(ports: &Ports, request: Request<Body>) -> Result<Response<Body>, Problem> {
    let haste = options::haste(request.headers())?;
    let id = request_id(&request);
    let body = json_body(request).await?;
    let parsed = read(&body)?;
    let is_itself = parsed.b.is_none() && parsed.texts_b.is_none();
    let top_k = parsed.top_k;
    if top_k == Some(0) {
        return Err(invalid("top_k", "must be at least 1"));
    }
    let (sides, tokens) = match (parsed.a, parsed.texts) {
        (Some(a), None) => {
            let wrong = |field| invalid(field, "belongs to `texts`, and `a` holds vectors");
            if parsed.texts_b.is_some() {
                return Err(wrong("texts_b"));
            }
            if parsed.model_id.is_some() {
                return Err(wrong("model_id"));
            }
            (Sides::of_rows(a, parsed.b)?, None)
        }
        (None, Some(texts)) => {
            if parsed.b.is_some() {
                return Err(invalid("b", "holds vectors, where `texts` are given; use `texts_b`"));
            }
            let model = filters::model("model_id", parsed.model_id.as_deref())?;
            let model =
                model.ok_or_else(|| invalid("model_id", "is missing: who embeds texts?"))?;
            let (sides, tokens) = embed(ports, id, model, haste, texts, parsed.texts_b).await?;
            (sides, Some(tokens))
        }
        (Some(_), Some(_)) => return Err(invalid("texts", "and `a` are both given; give one")),
        (None, None) => return Err(invalid("a", "is missing; give vectors in it, or `texts`")),
    };
    let Sides { a, b, dimension } = sides;
    let columns = b.as_ref().map_or(a.len(), Vec::len) / dimension;
    let ask = SimilarityAsk {
        rows_a: a,
        rows_b: b,
        dimension,
        priority: haste.priority,
        deadline_ms: haste.deadline_ms,
    };
    let found = ports.tensors.similarity(ask).await?;
    let rows = found.chunks_exact(columns.max(1));
    let (similarities, top) = match top_k {
        None => (Some(rows.map(<[f32]>::to_vec).collect()), None),
        Some(count) => {
            let rows = rows.enumerate();
            let top = rows.map(|(place, row)| nearest(row, count, is_itself.then_some(place)));
            (None, Some(top.collect()))
        }
    };
    Ok(json(&SimilarityResponse { similarities, top, dimension, tokens }))
}

fn read(body: &[u8]) -> Result<SimilarityRequest<'_>, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            return Problem::new(Kind::Invalid, format!("the body is not right: {error}"));
        }
        match matches!(quote_non_finite(body), Cow::Owned(_)) {
            true => {
                let message = "holds NaN, Infinity or a number too large; give finite numbers";
                invalid("body", message)
            }
            false => malformed(body, &error),
        }
    })
}

/// Both sides as the port takes them.
struct Sides {
    a: Vec<f32>,
    b: Option<Vec<f32>>,
    dimension: usize,
}

impl Sides {
    fn of_rows(a: Rows, b: Option<Rows>) -> Result<Self, Problem> {
        let vectors = |rows: Rows| rows.0.into_iter().map(|row| row.0).collect();
        Self::of_vectors(vectors(a), b.map(vectors))
    }

    fn of_vectors(a: Vec<Vec<f32>>, b: Option<Vec<Vec<f32>>>) -> Result<Self, Problem> {
        let dimension = a.first().map_or(0, Vec::len);
        let columns = b.as_ref().map_or(a.len(), Vec::len);
        if a.len().saturating_mul(columns) > VALUES_MAX {
            let message = format!("makes {} pairs, more than {VALUES_MAX}", a.len() * columns);
            return Err(invalid("a", message));
        }
        let a = flat("a", a, dimension)?;
        let b = b.map(|rows| flat("b", rows, dimension)).transpose()?;
        let values = a.len() + b.as_ref().map_or(0, Vec::len);
        if values > VALUES_MAX {
            return Err(invalid(
                "a",
                format!("has {values} values with b, more than {VALUES_MAX}"),
            ));
        }
        Ok(Self { a, b, dimension })
    }
}

fn flat(field: &'static str, rows: Vec<Vec<f32>>, dimension: usize) -> Result<Vec<f32>, Problem> {
    if rows.is_empty() || dimension == 0 {
        return Err(invalid(field, "must hold at least one vector of at least one number"));
    }
    for (index, row) in rows.iter().enumerate() {
        let place = format!("{field}[{index}]");
        if row.len() != dimension {
            let found = row.len();
            let message = format!("must have {dimension} numbers as a[0] has, found {found}");
            return Err(invalid(&place, message));
        }
        if let Some(at) = row.iter().position(|value| !value.is_finite()) {
            return Err(invalid(&format!("{place}[{at}]"), "is beyond the range of 32-bit floats"));
        }
    }
    Ok(rows.concat())
}

async fn embed(
    ports: &Ports,
    request: RequestId,
    model: ModelId,
    haste: Haste,
    texts: Texts,
    texts_b: Option<Texts>,
) -> Result<(Sides, u64), Problem> {
    for (field, texts) in [("texts", Some(&texts)), ("texts_b", texts_b.as_ref())] {
        let Some(AtMost(texts)) = texts else { continue };
        if texts.is_empty() {
            return Err(invalid(field, "holds no text"));
        }
        let wrong = texts.iter().position(|text| !(1..=TEXT_BYTES_MAX).contains(&text.len()));
        if let Some(index) = wrong {
            let message = format!("must have 1 to {TEXT_BYTES_MAX} bytes");
            return Err(invalid(&format!("{field}[{index}]"), message));
        }
    }
    let count_a = texts.0.len();
    let has_b = texts_b.is_some();
    let mut all = texts.0;
    all.extend(texts_b.unwrap_or_default().0);
    // Both sides at once, so that they share batches.
    let ask = EmbedAsk {
        request,
        model,
        version: None,
        user: None,
        inputs: EmbedInputs::Texts(all),
        priority: haste.priority,
        deadline_ms: haste.deadline_ms,
    };
    let answer = ports.tensors.embed(ask).await?;
    let tokens = answer.token_counts.iter().map(|&count| u64::from(count)).sum();
    let mut a = answer.vectors;
    let b = a.split_off(count_a.min(a.len()));
    Ok((Sides::of_vectors(a, has_b.then_some(b))?, tokens))
}

/// The `count` most similar of a row, the nearest first, but for the one at `itself`.
fn nearest(row: &[f32], count: usize, itself: Option<usize>) -> Vec<Neighbour> {
    let mut order: Vec<usize> = (0..row.len()).filter(|&index| Some(index) != itself).collect();
    order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
    order.truncate(count);
    order.into_iter().map(|index| Neighbour { index, similarity: row[index] }).collect()
}
