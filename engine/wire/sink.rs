//! Owns what becomes of a batch: its records go to the store in one queue operation, its answers
//! to the network threads in one wake-up each.
//!
//! Refuses to know HTTP. A record that the store cannot take turns its answer into a 503, or is
//! dropped and counted, as configured. Bound: one batch.

use std::sync::Arc;

use truststram_api::ports::{Answer, Failure, WireTensor};
use truststram_base::{Clock, Counter, ModelVersion, PredictionRecord, RequestId, UserId};
use truststram_model::ModelError;
use truststram_model::{Inference, LoadedModel, Payload, Sink};
use truststram_store::Store;

use super::convert::to_wire;
use super::replies::{Address, Outbox, Replies};

/// What is wanted of an inference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The class of its one row.
    Class,
    /// These outputs.
    Outputs(Vec<usize>),
    /// The direction of its one row.
    Vector,
}

/// What was wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// The class of the row.
    Class(Answer),
    /// The outputs that were asked for.
    Outputs(Vec<WireTensor>),
    /// The direction of the row.
    Vector(Vec<f32>),
}

/// What an inference gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The version that answered.
    pub version: ModelVersion,
    /// How long it waited, microseconds.
    pub queue_us: u32,
    /// How long its batch was computed, microseconds.
    pub compute_us: u32,
    /// What was wanted.
    pub given: Given,
}

/// What an inference ends with.
pub type Outcome = Result<Reply, Failure>;

/// What travels with a request through the engine.
pub struct Ticket {
    /// The request it belongs to.
    pub request: RequestId,
    /// Who asks.
    pub user: Option<UserId>,
    /// What of the answer is wanted.
    pub wanted: Wanted,
    /// Whether the answer waits for the commit.
    pub durable: bool,
    /// The model that answers.
    pub model: Arc<LoadedModel>,
    /// Milliseconds that the request had, for the error text.
    pub deadline_ms: u64,
    /// Where the outcome goes.
    pub address: Address<Outcome>,
}

/// Where one worker's answers go.
pub struct RecordingSink {
    store: Arc<Store>,
    replies: Arc<Replies<Outcome>>,
    clock: Arc<dyn Clock>,
    rejects_when_full: bool,
    dropped: Arc<Counter>,
    outbox: Outbox<Outcome>,
    records: Vec<PredictionRecord>,
    answers: Vec<(Address<Outcome>, Reply)>,
    durable_records: Vec<PredictionRecord>,
    durable_answers: Vec<(Address<Outcome>, Reply)>,
}

impl RecordingSink {
    /// A sink for one worker. `dropped` counts records that the store could not take and whose
    /// answers were given all the same.
    pub fn new(
        store: Arc<Store>,
        replies: Arc<Replies<Outcome>>,
        clock: Arc<dyn Clock>,
        rejects_when_full: bool,
        dropped: Arc<Counter>,
    ) -> Self {
        Self {
            store,
            outbox: Outbox::new(replies.clone()),
            replies,
            clock,
            rejects_when_full,
            dropped,
            records: Vec::new(),
            answers: Vec::new(),
            durable_records: Vec::new(),
            durable_answers: Vec::new(),
        }
    }

    /// Hands the batch's records over, and its answers with them.
    fn keep(&mut self) {
        if self.records.is_empty() {
            return;
        }
        let refusal = self.store.submit_many(&mut self.records).err();
        let refused = self.records.len();
        self.records.clear();
        if refusal.is_some() && !self.rejects_when_full {
            self.dropped.add(refused as u64);
        }
        let failure = refusal.filter(|_| self.rejects_when_full).map(|error| failure_of(&error));
        for (address, answer) in self.answers.drain(..) {
            let outcome = failure.clone().map_or(Ok(answer), Err);
            self.outbox.put(address, outcome);
        }
    }

    /// The same for those whose answers wait for the commit.
    fn keep_durably(&mut self) {
        if self.durable_records.is_empty() {
            return;
        }
        // The answers are needed on either way: by the writer once it has committed, or here if
        // the store does not take the records.
        let waiting = Arc::new(std::sync::Mutex::new(std::mem::take(&mut self.durable_answers)));
        let (replies, handed_over) = (self.replies.clone(), waiting.clone());
        let on_commit = Box::new(move |result: Result<(), truststram_store::CommitFailure>| {
            let failure = result.err().map(|error| failure_of(error.error()));
            let mut outbox = Outbox::new(replies);
            answer_all(&handed_over, failure.as_ref(), &mut outbox);
            outbox.send();
        });
        let taken = self.store.submit_many_durable(&mut self.durable_records, on_commit);
        if let Err(error) = taken {
            self.durable_records.clear();
            answer_all(&waiting, Some(&failure_of(&error)), &mut self.outbox);
        }
    }
}

type Waiting = std::sync::Mutex<Vec<(Address<Outcome>, Reply)>>;

fn answer_all(waiting: &Waiting, failure: Option<&Failure>, outbox: &mut Outbox<Outcome>) {
    let mut waiting = waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for (address, answer) in waiting.drain(..) {
        outbox.put(address, failure.cloned().map_or(Ok(answer), Err));
    }
}

impl Sink<Ticket> for RecordingSink {
    fn deliver(
        &mut self,
        ticket: Ticket,
        payload: Payload,
        result: Result<Inference<'_>, ModelError>,
    ) {
        let inference = match result {
            Ok(inference) => inference,
            Err(error) => {
                let failure = failure_of_model(&error, ticket.deadline_ms);
                self.outbox.put(ticket.address, Err(failure));
                return;
            }
        };
        let timestamp_us = self.clock.utc_us();
        let Some(given) = given(&ticket, &inference, timestamp_us) else {
            // The engine has checked the outputs against the signature, and the question with it.
            let reason = "an inference lacks what was asked of it".to_owned();
            self.outbox.put(ticket.address, Err(Failure::Internal { reason }));
            return;
        };
        let Inference { version, queue_us, compute_us, .. } = inference;
        let reply = Reply { version, queue_us, compute_us, given };
        let (records, answers) = match ticket.durable {
            true => (&mut self.durable_records, &mut self.durable_answers),
            false => (&mut self.records, &mut self.answers),
        };
        let before = records.len();
        record(&ticket, payload, &inference, timestamp_us, records);
        if records.len() == before {
            self.outbox.put(ticket.address, Ok(reply));
        } else {
            answers.push((ticket.address, reply));
        }
    }

    fn flush(&mut self) {
        self.keep();
        self.keep_durably();
        self.outbox.send();
    }
}

/// What was wanted of an inference.
fn given(ticket: &Ticket, inference: &Inference<'_>, timestamp_us: i64) -> Option<Given> {
    let answer = inference.answer;
    Some(match &ticket.wanted {
        Wanted::Class => {
            let class = answer.class(0)?;
            Given::Class(Answer {
                label: label(&ticket.model, class.index),
                confidence: class.confidence,
                probabilities: class.probabilities.to_vec(),
                version: inference.version,
                timestamp_us,
                queue_us: inference.queue_us,
                compute_us: inference.compute_us,
            })
        }
        Wanted::Outputs(outputs) => {
            let outputs = outputs.iter().map(|output| Some(to_wire(&answer.output(*output)?)));
            Given::Outputs(outputs.collect::<Option<_>>()?)
        }
        Wanted::Vector => Given::Vector(answer.embedding(0)?.to_vec()),
    })
}

/// Adds a record for each row that was given a class. Rows of other models than classifiers have
/// none, and neither have rows with a value that is no number: nobody could ask for them.
fn record(
    ticket: &Ticket,
    payload: Payload,
    inference: &Inference<'_>,
    timestamp_us: i64,
    records: &mut Vec<PredictionRecord>,
) {
    let rows = inference.answer.rows();
    let mut add = |row: usize, features: Vec<f32>| {
        let Some(class) = inference.answer.class(row) else { return };
        if !features.iter().all(|feature| feature.is_finite()) {
            return;
        }
        records.push(PredictionRecord {
            // One id per row, next to each other.
            request: RequestId(ticket.request.0.wrapping_add(row as u128)),
            model: ticket.model.id().clone(),
            version: inference.version,
            user: ticket.user.clone(),
            timestamp_us,
            features,
            class: class.index,
            confidence: class.confidence,
        });
    };
    match payload {
        Payload::Features(features) => add(0, features),
        // What texts and other inputs said is not kept, only what was answered.
        Payload::Tokens { .. } => add(0, Vec::new()),
        Payload::Tensors(tensors) => {
            let values = match tensors.as_slice() {
                [tensor] => tensor.values::<f32>(),
                _ => None,
            };
            let width = values.map_or(0, |values| values.len() / rows.max(1));
            for row in 0..rows {
                let features = values.and_then(|values| values.get(row * width..)?.get(..width));
                add(row, features.unwrap_or_default().to_vec());
            }
        }
    }
}

/// The name of a class, or its index where the model names none.
fn label(model: &LoadedModel, class: u32) -> String {
    model.classes().get(class as usize).cloned().unwrap_or_else(|| class.to_string())
}

/// What an inference error means to the caller.
pub fn failure_of_model(error: &ModelError, deadline_ms: u64) -> Failure {
    match error {
        ModelError::QueueFull { .. } => Failure::QueueFull("inference"),
        ModelError::Expired { .. } => Failure::Deadline(deadline_ms),
        ModelError::Closed => Failure::Draining,
        ModelError::Undecided => Failure::Undecided,
        other => Failure::Internal { reason: other.to_string() },
    }
}

/// What a store error means to the caller.
pub fn failure_of(error: &truststram_store::StoreError) -> Failure {
    use truststram_store::StoreError;
    match error {
        StoreError::QueueFull { .. } => Failure::QueueFull("store"),
        StoreError::Closed => Failure::Draining,
        StoreError::Corrupt { .. } => Failure::Corrupt { reason: error.to_string() },
        other if other.kind() == truststram_base::Kind::NoSpace => Failure::NoSpace,
        other => Failure::NotKept { reason: other.to_string() },
    }
}
