//! Owns the joint of api and model: a question becomes a queued request.
//!
//! Refuses to know batches and threads. Bound: the inference queue; the deadline of each request;
//! the queue of the thread that makes tokens of texts, or [`BRIEF_TEXT_BYTES`] of them at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use truststram_api::ports::{Failure, PRIORITY_MAX};
use truststram_base::{Clock, ModelId, ModelVersion, RequestId, UserId};
use truststram_model::ModelError;
use truststram_model::encoder::TokenizedText;
use truststram_model::{Engine, InferRequest, LoadedModel, Payload};

use super::background::Background;
use super::convert::wrong;
use super::inline::InlineWorkers;
use super::reload::Reloads;
use super::replies::Replies;
use super::sink::{Outcome, Ticket, Wanted, failure_of_model};

/// Texts of at most so many bytes together become tokens on the thread that read them: to wake
/// another one would take as long.
const BRIEF_TEXT_BYTES: usize = 128;

/// The engine as the API sees it.
pub struct EngineInfer {
    /// The inference engine.
    pub engine: Arc<Engine<Ticket>>,
    /// The workers of network threads.
    pub inline: Arc<InlineWorkers<Ticket>>,
    /// The way back.
    pub replies: Arc<Replies<Outcome>>,
    /// Time for deadlines.
    pub clock: Arc<dyn Clock>,
    /// Milliseconds that each request has.
    pub deadline_ms: u64,
    /// The thread that makes tokens of texts which are not brief.
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
        self.inline.submit(&self.engine, model, request).map_err(|refused| {
            match refused.error {
                ModelError::FeatureCount { found, expected } => {
                    Failure::FeatureCount { model: model.id().clone(), expected, found }
                }
                ModelError::Input { input, found, expected } => {
                    wrong(input, format!("has {found}, expected {expected}"))
                }
                error @ ModelError::BatchSize { .. } => wrong("inputs", error.to_string()),
                other => failure_of_model(&other, deadline_ms),
            }
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

    /// Does what takes as long as texts of so many bytes: at once where they are brief, on their
    /// thread otherwise.
    pub async fn with_texts<T: Send + 'static>(
        texts: &Background,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        match bytes {
            0..=BRIEF_TEXT_BYTES => Ok(work()),
            _ => texts.run(work).await,
        }
    }

    /// The tokens of texts.
    pub async fn tokens(
        texts: &Background,
        model: Arc<LoadedModel>,
        inputs: Vec<String>,
    ) -> Result<Vec<TokenizedText>, Failure> {
        let bytes = inputs.iter().map(String::len).sum();
        let tokenize = move || {
            let one = |(index, text): (usize, &String)| {
                tokens_of(&model, &format!("input[{index}]"), text)
            };
            inputs.iter().enumerate().map(one).collect()
        };
        Self::with_texts(texts, bytes, tokenize).await?
    }
}

/// The tokens of a text, cut to the length that the model reads; `place` is where it was given.
pub fn tokens_of(model: &LoadedModel, place: &str, text: &str) -> Result<TokenizedText, Failure> {
    let (Some(tokenizer), Some(tokens)) = (model.tokenizer(), model.signature().tokens) else {
        return Err(unsupported(model, "it takes numbers, not texts"));
    };
    let tokenized = tokenizer.encode(text, tokens.length_max);
    tokenized.map_err(|error| wrong(place, error.to_string()))
}

/// That the model cannot do what is asked.
pub fn unsupported(model: &LoadedModel, reason: &str) -> Failure {
    Failure::Unsupported { model: model.id().clone(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brief_texts_wait_for_nobody() {
        let texts = Background::start("text-tokens", "texts", 1).unwrap();
        let here = std::thread::current().id();
        let place = |bytes| {
            let work = || std::thread::current().id();
            let done = EngineInfer::with_texts(&texts, bytes, work);
            done.now_or_never()
        };
        assert_eq!(place(BRIEF_TEXT_BYTES).unwrap().unwrap(), here);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let work = || std::thread::current().id();
        let long = EngineInfer::with_texts(&texts, BRIEF_TEXT_BYTES + 1, work);
        assert_ne!(runtime.block_on(long).unwrap(), here);
        texts.close().unwrap();
        assert_eq!(place(0).unwrap().unwrap(), here);
        assert!(matches!(place(BRIEF_TEXT_BYTES + 1), Some(Err(Failure::Draining))));
    }
}
