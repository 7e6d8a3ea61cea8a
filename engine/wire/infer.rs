//! Owns the joint of api and model: a question becomes a queued request.
//!
//! Refuses to know batches and threads. Bound: the inference queue; the deadline of each request;
//! the queue of the thread that makes tokens of texts.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use truststram_api::ports::{Answer, Ask, Failure, FieldValue, Infer, Input, PRIORITY_MAX};
use truststram_base::{Clock, ModelId, ModelVersion, RequestId, UserId};
use truststram_model::ModelError;
use truststram_model::artifact::{SignaturePort, Task};
use truststram_model::encoder::TokenizedText;
use truststram_model::tensor::{DType, Tensor};
use truststram_model::{Engine, InferRequest, LoadedModel, Payload};

use super::background::Background;
use super::convert::wrong;
use super::reload::Reloads;
use super::replies::Replies;
use super::sink::{Given, Outcome, Reply, Ticket, Wanted, failure_of_model};
use super::tensors::{ordered, rows_of};

/// The engine as the API sees it.
pub struct EngineInfer {
    /// The inference engine.
    pub engine: Arc<Engine<Ticket>>,
    /// The way back.
    pub replies: Arc<Replies<Outcome>>,
    /// Time for deadlines.
    pub clock: Arc<dyn Clock>,
    /// Milliseconds that each request has.
    pub deadline_ms: u64,
    /// The thread that makes tokens of texts.
    pub texts: Arc<Background>,
    /// What loads versions again that had to make room.
    pub reloads: Reloads,
}

/// One request to the engine.
pub struct Question {
    /// The request it belongs to.
    pub request: RequestId,
    /// Who asks.
    pub user: Option<UserId>,
    /// The input.
    pub payload: Payload,
    /// What is wanted of the answer.
    pub wanted: Wanted,
    /// Whether the answer waits for the commit.
    pub durable: bool,
    /// How urgent it is, 0 to [`PRIORITY_MAX`].
    pub priority: u8,
    /// Milliseconds that the caller waits.
    pub deadline_ms: Option<u64>,
}

impl EngineInfer {
    /// Queues a request at a model; the future ends with its outcome.
    pub fn send(
        &self,
        model: &Arc<LoadedModel>,
        question: Question,
    ) -> Result<BoxFuture<'static, Outcome>, Failure> {
        let Question { request, user, payload, wanted, durable, priority, deadline_ms } = question;
        // Who waits less long is answered by then; nobody waits longer than is configured.
        let deadline_ms = deadline_ms.map_or(self.deadline_ms, |ms| ms.min(self.deadline_ms));
        let (address, waiting) = self.replies.address();
        let enqueued_us = self.clock.monotonic_us();
        let model_of_ticket = model.clone();
        let ticket =
            Ticket { request, user, wanted, durable, model: model_of_ticket, deadline_ms, address };
        let request = InferRequest {
            payload,
            priority: PRIORITY_MAX - priority.min(PRIORITY_MAX),
            deadline_us: enqueued_us.saturating_add(deadline_ms.saturating_mul(1_000)),
            enqueued_us,
            reply: ticket,
        };
        self.engine.submit(model, request).map_err(|refused| match refused.error {
            ModelError::FeatureCount { found, expected } => {
                Failure::FeatureCount { model: model.id().clone(), expected, found }
            }
            ModelError::Input { input, found, expected } => {
                wrong(input, format!("has {found}, expected {expected}"))
            }
            error @ ModelError::BatchSize { .. } => wrong("inputs", error.to_string()),
            other => failure_of_model(&other, deadline_ms),
        })?;
        let answered = waiting.map(|outcome| outcome.unwrap_or(Err(Failure::Draining)));
        if !durable {
            // The worker answers every request, the late ones with the failure.
            return Ok(answered.boxed());
        }
        // A commit waits for the disk, which knows no deadline.
        let limit = Duration::from_millis(deadline_ms);
        let limited = async move {
            let outcome = tokio::time::timeout(limit, answered).await;
            outcome.unwrap_or(Err(Failure::Deadline(deadline_ms)))
        };
        Ok(limited.boxed())
    }

    /// The loaded version of this number; `None` means the active one.
    pub fn find(
        &self,
        model: &ModelId,
        version: Option<ModelVersion>,
    ) -> Result<Arc<LoadedModel>, Failure> {
        self.engine.model(model, version).ok_or_else(|| self.unknown(model, version))
    }

    /// Who answers: as [`EngineInfer::find`], or the canary for its share of those who name none.
    pub fn route(
        &self,
        model: &ModelId,
        version: Option<ModelVersion>,
        user: Option<&UserId>,
    ) -> Result<Arc<LoadedModel>, Failure> {
        let user = user.map(UserId::as_str);
        self.engine.route(model, version, user).map_err(|error| match error {
            ModelError::NotLoaded { .. } => self.unknown(model, version),
            ModelError::Evicted { version, .. } => {
                self.reloads.ask(model, version);
                let reason = "it had to make room for others and is being loaded again".to_owned();
                Failure::NotReady { model: model.clone(), reason }
            }
            other => Failure::NotReady { model: model.clone(), reason: other.to_string() },
        })
    }

    fn unknown(&self, model: &ModelId, version: Option<ModelVersion>) -> Failure {
        let known = self.engine.models().into_iter().filter(|info| info.id == *model);
        let versions: Vec<ModelVersion> = known.map(|info| info.version).collect();
        match version {
            _ if versions.is_empty() => Failure::UnknownModel(model.clone()),
            Some(version) if !versions.contains(&version) => {
                Failure::UnknownVersion(model.clone(), version)
            }
            Some(_) => {
                let reason = "this version is not loaded; activate it".to_owned();
                Failure::NotReady { model: model.clone(), reason }
            }
            None => {
                let reason = "it has no active version that is loaded; activate one".to_owned();
                Failure::NotReady { model: model.clone(), reason }
            }
        }
    }

    /// Makes tokens of texts on their thread.
    pub async fn tokens(
        texts: Arc<Background>,
        model: Arc<LoadedModel>,
        inputs: Vec<String>,
    ) -> Result<Vec<TokenizedText>, Failure> {
        let tokenized = texts.run(move || {
            let (Some(tokenizer), Some(tokens)) = (model.tokenizer(), model.signature().tokens)
            else {
                return Err(unsupported(&model, "it takes numbers, not texts"));
            };
            let one = |(index, text): (usize, &String)| {
                let tokenized = tokenizer.encode(text, tokens.length_max);
                tokenized.map_err(|error| wrong(format!("input[{index}]"), error.to_string()))
            };
            inputs.iter().enumerate().map(one).collect()
        });
        tokenized.await?
    }

    async fn ask(self: Arc<Self>, ask: Ask) -> Result<Answer, Failure> {
        let model = self.route(&ask.model, ask.version, ask.user.as_ref())?;
        if !matches!(model.signature().task, Task::Classify { .. }) {
            let reason = "it gives no classes; POST /v2/models/{id}/infer gives its outputs";
            return Err(unsupported(&model, reason));
        }
        let payload = match ask.input {
            Input::Features(features) => Payload::Features(features),
            Input::Tensors(tensors) => {
                let (tensors, _) = rows_of(&model, ordered(&model, tensors)?)?;
                match tensors.iter().all(|tensor| tensor.shape().first() == Some(&1)) {
                    true => Payload::Tensors(tensors),
                    false => {
                        let reason = "a prediction is made from one row; /v2 takes more";
                        return Err(unsupported(&model, reason));
                    }
                }
            }
            Input::Named(fields) => Payload::Tensors(columns(&model, fields)?),
            Input::Text(text) => {
                let tokens = Self::tokens(self.texts.clone(), model.clone(), vec![text]).await?;
                let TokenizedText { ids, types } =
                    tokens.into_iter().next().ok_or(Failure::Draining)?;
                Payload::Tokens { ids, types }
            }
        };
        let question = Question {
            request: ask.request,
            user: ask.user,
            payload,
            wanted: Wanted::Class,
            durable: ask.durable,
            priority: ask.priority,
            deadline_ms: ask.deadline_ms,
        };
        match self.send(&model, question)?.await? {
            Reply { given: Given::Class(answer), .. } => Ok(answer),
            reply => Err(Failure::Internal { reason: format!("no class but {reply:?}") }),
        }
    }
}

/// That the model cannot do what is asked.
pub fn unsupported(model: &LoadedModel, reason: &str) -> Failure {
    Failure::Unsupported { model: model.id().clone(), reason: reason.to_owned() }
}

/// One row of a model that has an input per column, by the names of its inputs.
fn columns(
    model: &LoadedModel,
    mut fields: Vec<(String, FieldValue)>,
) -> Result<Vec<Tensor>, Failure> {
    let inputs = &model.signature().inputs;
    let is_column = |port: &SignaturePort| matches!(port.dims[..], [-1 | 1] | [-1 | 1, 1]);
    if inputs.len() < 2 || !inputs.iter().all(is_column) {
        return Err(unsupported(model, "its features have no names; give them as a list"));
    }
    let mut row = Vec::with_capacity(inputs.len());
    for port in inputs {
        let place = format!("data.{}", port.name);
        let at = fields.iter().position(|(name, _)| *name == port.name);
        let (_, value) = at
            .map(|at| fields.swap_remove(at))
            .ok_or_else(|| wrong(place.clone(), "is missing"))?;
        let dims = vec![1; port.dims.len()];
        let number = match value {
            FieldValue::Missing => Some(f64::NAN),
            FieldValue::Bool(value) => Some(f64::from(u8::from(value))),
            FieldValue::Number(value) => Some(value),
            FieldValue::Numbers(_) | FieldValue::Texts(_) | FieldValue::Text(_) => None,
        };
        let tensor = match (port.dtype, number, value) {
            (DType::F32, Some(number), _) => Tensor::of(&dims, vec![number as f32]),
            (DType::F64, Some(number), _) => Tensor::of(&dims, vec![number]),
            (DType::I64, Some(number), _) if number.fract() == 0.0 && number.abs() < 9e15 => {
                Tensor::of(&dims, vec![number as i64])
            }
            (DType::Bool, Some(_), FieldValue::Bool(value)) => Tensor::of(&dims, vec![value]),
            (DType::String, None, FieldValue::Text(text)) => Tensor::of(&dims, vec![text]),
            _ => None,
        };
        let expected = || wrong(place, format!("must be one value of {}", port.dtype));
        row.push(tensor.ok_or_else(expected)?);
    }
    match fields.first() {
        None => Ok(row),
        Some((name, _)) => Err(wrong(format!("data.{name}"), "is no input of the model")),
    }
}

/// The engine behind the port of predictions.
pub struct Predictions(pub Arc<EngineInfer>);

impl Infer for Predictions {
    fn predict(&self, ask: Ask) -> BoxFuture<'static, Result<Answer, Failure>> {
        self.0.clone().ask(ask).boxed()
    }
}
