//! Owns `POST /api/v1/predict`: body in, prediction out.
//!
//! Refuses to know how a prediction is made. The path is hot: the body is read once into the
//! typed form with a list of features, and only a body that this refuses is read again, as one
//! with another input or to say why. Bound: features by [`FEATURE_COUNT_MAX`], the body by the
//! gateway.

pub(crate) mod input;
pub(crate) mod texts;

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use truststram_base::limits::{BODY_BYTES_MAX, FEATURE_COUNT_MAX};
use truststram_base::{Kind, ModelId, ModelVersion, RequestId};
use utoipa::{IntoParams, ToSchema};

use crate::explain::explain;
use crate::options::{self, Haste};
use crate::ports::{Answer, Ask, Input};
use crate::problem::Problem;
use crate::router::{Ports, Shared, query_of};
use crate::tensor::TensorBody;
use crate::timestamp;

/// One prediction to make. Either `data` or `text` is given.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PredictRequest<'a> {
    /// The model to ask.
    #[serde(borrow)]
    #[schema(example = "digits")]
    model_id: Cow<'a, str>,
    /// The version to ask; the active one if absent.
    version: Option<u32>,
    /// Who asks, kept with the prediction.
    #[serde(borrow)]
    user_id: Option<Cow<'a, str>>,
    /// The features: as many finite numbers as the model takes; or an object with a value for each
    /// of their names; or `{"inputs": [...]}` with tensors of the Open Inference Protocol.
    #[schema(value_type = Option<Data<'_>>)]
    data: Vec<f32>,
    /// A text, for models that take texts.
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

/// What a prediction is made from.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it describes what `input` reads")]
pub(crate) enum Data<'a> {
    /// The features in the model's order.
    Features(Vec<f32>),
    /// Tensors.
    Tensors {
        /// Each name once.
        #[serde(borrow)]
        inputs: Vec<TensorBody<'a>>,
    },
    /// Values by the names of features: numbers, texts, `true`, `false`, `null`, or lists.
    Named(BTreeMap<String, Value>),
}

/// One prediction made.
#[derive(Serialize, ToSchema)]
pub(crate) struct PredictResponse<'a> {
    /// The name of the predicted class.
    prediction: &'a str,
    /// Probability of the predicted class, 0 to 1.
    confidence: f32,
    /// Probability per class, in the model's order; only with `probabilities=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    probabilities: Option<&'a [f32]>,
    /// The model that answered.
    model_id: &'a str,
    /// The version that answered.
    model_version: u32,
    /// When, RFC 3339 in UTC.
    timestamp: String,
    /// The id under which the prediction is kept.
    request_id: String,
}

/// How a prediction is answered.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct PredictOptions {
    /// Answer only after the record is on disk and survives a power loss.
    pub durable: bool,
    /// Include the probability of every class.
    pub probabilities: bool,
}

/// Reads one body into an [`Ask`].
pub(crate) fn parse(
    body: &[u8],
    request: RequestId,
    durable: bool,
    haste: Haste,
) -> Result<Ask, Problem> {
    let Haste { priority, deadline_ms } = haste;
    let Ok(typed) = serde_json::from_slice::<PredictRequest<'_>>(body) else {
        let other = input::parse(body)?;
        let input::OtherAsk { model, version, user, input } = other;
        return Ok(Ask { request, model, version, user, input, durable, priority, deadline_ms });
    };
    let finite = typed.data.iter().all(|value| value.is_finite());
    if !finite || typed.data.len() > FEATURE_COUNT_MAX {
        return Err(explain(body));
    }
    if typed.text.is_some() {
        return Err(input::both_given());
    }
    let (model, user) = input::ids(body, &typed.model_id, typed.user_id.as_deref())?;
    let version = typed.version.map(ModelVersion);
    let input = Input::Features(typed.data);
    Ok(Ask { request, model, version, user, input, durable, priority, deadline_ms })
}

/// The answer's JSON.
pub(crate) fn render(
    model: &ModelId,
    request: RequestId,
    answer: &Answer,
    options: PredictOptions,
) -> PredictResponseJson {
    let response = PredictResponse {
        prediction: &answer.label,
        confidence: answer.confidence,
        probabilities: options.probabilities.then_some(&answer.probabilities),
        model_id: model.as_str(),
        model_version: answer.version.0,
        timestamp: timestamp::format(answer.timestamp_us),
        request_id: request.to_string(),
    };
    // Plain texts and finite numbers always serialise.
    PredictResponseJson(serde_json::to_vec(&response).unwrap_or_default())
}

/// A prediction, serialised.
pub(crate) struct PredictResponseJson(pub Vec<u8>);

/// Takes the body out of a request whose media type is JSON.
pub(crate) async fn json_body(request: Request<Body>) -> Result<Bytes, Problem> {
    if !is_media(&request, "application/json") {
        let detail = "send the body with `content-type: application/json`";
        return Err(Problem::media_type(detail));
    }
    body_of(request.into_body()).await
}

/// Reads a whole body.
pub(crate) async fn body_of(body: Body) -> Result<Bytes, Problem> {
    axum::body::to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|error| Problem::new(Kind::TooLarge, format!("the body cannot be read: {error}")))
}

/// Whether the body is called `name`.
pub(crate) fn is_media(request: &Request<Body>, name: &str) -> bool {
    let media = request.headers().get(header::CONTENT_TYPE);
    let found = media.and_then(|media| media.as_bytes().split(|&byte| byte == b';').next());
    found.is_some_and(|found| found.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

/// The id that the gateway gave this request; zero outside the gateway.
pub(crate) fn request_id<B>(request: &Request<B>) -> RequestId {
    request.extensions().get::<RequestId>().copied().unwrap_or(RequestId(0))
}

/// A 200 with a JSON body.
pub(crate) fn json_response(body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Make one prediction.
#[utoipa::path(
    post, path = "/api/v1/predict", tag = "predictions",
    params(PredictOptions, Haste),
    request_body = PredictRequest<'_>,
    responses(
        (status = 200, description = "The prediction, which is kept",
         body = PredictResponse<'_>),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 404, description = "No such model or version", body = Problem),
        (status = 413, description = "The body is larger than the limit", body = Problem),
        (status = 415, description = "The body is not called JSON", body = Problem),
        (status = 422, description = "A value is not acceptable; see `errors`", body = Problem),
        (status = 503, description = "A queue is full; see Retry-After", body = Problem),
        (status = 504, description = "No answer within the deadline", body = Problem),
        (status = 507, description = "The disk is full", body = Problem),
    )
)]
pub(crate) async fn predict(State(ports): State<Shared>, request: Request<Body>) -> Response<Body> {
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
    let ask = parse(&body, id, options.durable, haste)?;
    let model = ask.model.clone();
    let answer = ports.infer.predict(ask).await?;
    let mut response = json_response(render(&model, id, &answer, options).0);
    if ports.server_timing {
        server_timing(&mut response, answer.queue_us, answer.compute_us);
    }
    Ok(response)
}

/// Says how long a request waited and how long its batch was computed, in microseconds.
pub(crate) fn server_timing(response: &mut Response<Body>, queue_us: u32, compute_us: u32) {
    let (queue_ms, compute_ms) = (f64::from(queue_us) / 1e3, f64::from(compute_us) / 1e3);
    let timing = format!("queue;dur={queue_ms:.3}, compute;dur={compute_ms:.3}");
    if let Ok(value) = HeaderValue::try_from(timing) {
        response.headers_mut().insert("server-timing", value);
    }
}
