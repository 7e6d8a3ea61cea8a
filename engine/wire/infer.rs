//! Owns the joint of api and model: a question becomes a queued request.
//!
//! Refuses to know batches and threads. Bound: the inference queue; the deadline of each request.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, ready};
use truststram_api::ports::{Answer, Ask, Failure, Infer};
use truststram_base::Clock;
use truststram_model::ModelError;
use truststram_model::{Engine, InferRequest};

use super::replies::Replies;
use super::sink::{Outcome, Ticket, failure_of_model};

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
        let deadline_ms = self.deadline_ms;
        let Some(model) = self.engine.model(&ask.model, ask.version) else {
            return Err(self.unknown(ask));
        };
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
            features: ask.features,
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

    fn unknown(&self, ask: Ask) -> Failure {
        match ask.version {
            Some(version) if self.engine.model(&ask.model, None).is_some() => {
                Failure::UnknownVersion(ask.model, version)
            }
            _ => Failure::UnknownModel(ask.model),
        }
    }
}

impl Infer for EngineInfer {
    fn predict(&self, ask: Ask) -> BoxFuture<'static, Result<Answer, Failure>> {
        self.submit(ask).unwrap_or_else(|failure| ready(Err(failure)).boxed())
    }
}
