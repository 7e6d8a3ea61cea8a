//! Owns the joint of api and model: a question becomes a queued request.
//!
//! Refuses to know batches and threads. Bound: the inference queue; the deadline of each request.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, ready};
use truststram_api::ports::{Answer, Ask, Failure, Infer, Input, PRIORITY_MAX};
use truststram_base::{Clock, ModelId, ModelVersion, UserId};
use truststram_model::ModelError;
use truststram_model::{Engine, InferRequest, LoadedModel, Payload};

use super::replies::Replies;
use super::sink::{Outcome, Ticket, failure_of_model};
use super::tensors::rows_of;

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
}

impl EngineInfer {
    fn submit(&self, ask: Ask) -> Result<BoxFuture<'static, Result<Answer, Failure>>, Failure> {
        let user = ask.user.as_ref().map(UserId::as_str);
        let model = self.route(&ask.model, ask.version, user)?;
        let features = features_of(&model, ask.input)?;
        // Who waits less long is answered by then; nobody waits longer than is configured.
        let deadline_ms = ask.deadline_ms.map_or(self.deadline_ms, |ms| ms.min(self.deadline_ms));
        let (address, waiting) = self.replies.address();
        let enqueued_us = self.clock.monotonic_us();
        let durable = ask.durable;
        let ticket = Ticket {
            request: ask.request,
            user: ask.user,
            durable,
            model: model.clone(),
            deadline_ms,
            address,
        };
        let request = InferRequest {
            payload: Payload::Features(features),
            priority: PRIORITY_MAX - ask.priority.min(PRIORITY_MAX),
            deadline_us: enqueued_us.saturating_add(deadline_ms.saturating_mul(1_000)),
            enqueued_us,
            reply: ticket,
        };
        self.engine.submit(&model, request).map_err(|refused| match refused.error {
            ModelError::FeatureCount { found, expected } => {
                Failure::FeatureCount { model: ask.model, expected, found }
            }
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
    fn route(
        &self,
        model: &ModelId,
        version: Option<ModelVersion>,
        user: Option<&str>,
    ) -> Result<Arc<LoadedModel>, Failure> {
        self.engine.route(model, version, user).map_err(|error| match error {
            ModelError::NotLoaded { .. } => self.unknown(model, version),
            other => Failure::NotReady { model: model.clone(), reason: other.to_string() },
        })
    }

    fn unknown(&self, model: &ModelId, version: Option<ModelVersion>) -> Failure {
        match version {
            Some(version) if self.engine.model(model, None).is_some() => {
                Failure::UnknownVersion(model.clone(), version)
            }
            _ => Failure::UnknownModel(model.clone()),
        }
    }
}

/// The features that an input holds.
fn features_of(model: &LoadedModel, input: Input) -> Result<Vec<f32>, Failure> {
    let reason = match input {
        Input::Features(features) => return Ok(features),
        Input::Tensors(tensors) => {
            let mut rows = rows_of(model, tensors)?;
            match (rows.pop(), rows.is_empty()) {
                (Some(row), true) => return Ok(row),
                _ => "a prediction is made from one row; /v2 takes more",
            }
        }
        Input::Named(_) => "its features have no names; give them as a list",
        Input::Text(_) => "it takes numbers, not texts",
    };
    Err(Failure::Unsupported { model: model.id().clone(), reason: reason.to_owned() })
}

impl Infer for EngineInfer {
    fn predict(&self, ask: Ask) -> BoxFuture<'static, Result<Answer, Failure>> {
        self.submit(ask).unwrap_or_else(|failure| ready(Err(failure)).boxed())
    }
}
