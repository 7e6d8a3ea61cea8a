//! Owns the way through the serving engine: submit, queue, worker, sink, and back to the caller.
//!
//! Refuses to know transports. Bound: one request at a time, one worker for each core.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde_json::Value;
use truststram_base::{Clock, ModelId, ModelVersion, SystemClock};
use truststram_machine::Priority;
use truststram_model::{
    Engine, EngineOptions, InferRequest, Inference, LoadOptions, ModelError, NativeBatcher,
    PRIORITY_NORMAL, Payload, Sink, WorkerPlace,
};

use crate::measure::{Call, Outcome};
use crate::ours;

type Answered = Result<(Vec<f32>, Payload), String>;

/// Hands the last output back to the caller, who waits.
struct Waiting(SyncSender<Answered>);

impl Sink<Vec<f32>> for Waiting {
    fn deliver(
        &mut self,
        mut reply: Vec<f32>,
        payload: Payload,
        result: Result<Inference<'_>, ModelError>,
    ) {
        let answered = result.map_err(|error| error.to_string()).and_then(|inference| {
            let answer = inference.answer;
            let output = answer.output_count().checked_sub(1).and_then(|last| answer.output(last));
            let values = output.as_ref().and_then(|output| output.values::<f32>());
            reply.clear();
            reply.extend_from_slice(values.ok_or("no output of f32")?);
            Ok((reply, payload))
        });
        // Nobody waits any more when the caller is gone.
        let _ = self.0.send(answered);
    }

    fn flush(&mut self) {}
}

/// A call through an engine of its own.
pub fn open(question: &Value, cores: &[u32]) -> Outcome<Call> {
    let artifact = ours::artifact(question)?;
    let mut payloads: Vec<Option<Payload>> =
        ours::payloads(question)?.into_iter().map(Some).collect();
    let place = |core: &u32| WorkerPlace { core: *core, memory_node: None };
    let options = EngineOptions {
        workers: cores.iter().map(place).collect(),
        requests_max: 64,
        batch_max: 64,
        target_us: 0,
        loaded_max: 1,
        memory_bytes_max: None,
        priority: Priority::Normal,
        inline_cores: Vec::new(),
        inline_us: 0,
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (sender, answers): (SyncSender<Answered>, Receiver<Answered>) = sync_channel(1);
    let engine = Engine::start(
        &options,
        Arc::clone(&clock),
        |_| Box::new(NativeBatcher),
        |_| Box::new(Waiting(sender.clone())),
    )?;
    let bytes = Arc::new(artifact.to_bytes()?);
    let id = ModelId::new("bench").map_err(|error| error.to_string())?;
    let model = engine.load(&id, ModelVersion(1), bytes, &LoadOptions::default())?;
    Ok(Box::new(move |index, out| {
        let count = payloads.len();
        let payload = payloads[index % count].take().ok_or("an input did not come back")?;
        let request = InferRequest {
            payload,
            priority: PRIORITY_NORMAL,
            deadline_us: u64::MAX,
            enqueued_us: clock.monotonic_us(),
            reply: std::mem::take(out),
        };
        engine.submit(&model, request).map_err(|refused| refused.error.to_string())?;
        let (reply, payload) = answers.recv()??;
        payloads[index % count] = Some(payload);
        *out = reply;
        Ok(())
    }))
}
