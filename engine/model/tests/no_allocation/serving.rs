//! A whole engine: submit, queue, batch, compute, deliver.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};

use truststram_base::{ModelId, ModelVersion, SystemClock};
use truststram_machine::{CountingAllocator, Priority};
use truststram_model::artifact::Artifact;
use truststram_model::{
    BatchDecision, Batcher, Engine, EngineOptions, InferRequest, Inference, LoadOptions,
    LoadedModel, ModelError, PRIORITY_NORMAL, Payload, QueueView, Sink, WorkerPlace,
};

use crate::{FEATURES, dense_net};

const WORKERS: usize = 2;
const BATCH_MAX: usize = 32;
const PREDICTIONS: usize = 2_000;

/// What the workers and the submitting thread share.
struct Desk {
    /// Inputs that have come back, by the number of their request.
    payloads: Mutex<Vec<Option<Payload>>>,
    come_back: Condvar,
    /// What each worker has taken from memory so far.
    taken: [AtomicU64; WORKERS],
    /// Batches of fewer requests wait for more.
    wanted: AtomicU32,
    /// While it is set each worker waits after a batch for all others and for the submitting
    /// thread, so that each has one.
    meets: AtomicBool,
    all: Barrier,
}

struct Teller(Arc<Desk>, usize);

impl Sink<usize> for Teller {
    fn deliver(
        &mut self,
        reply: usize,
        payload: Payload,
        result: Result<Inference<'_>, ModelError>,
    ) {
        let class = result.unwrap().answer.class(0).unwrap();
        assert_eq!(class.probabilities.len(), 2);
        self.0.payloads.lock().unwrap()[reply] = Some(payload);
    }

    fn flush(&mut self) {
        let taken = CountingAllocator::allocations_of_this_thread();
        self.0.taken[self.1].store(taken, Ordering::SeqCst);
        self.0.come_back.notify_all();
        if self.0.meets.load(Ordering::SeqCst) {
            self.0.all.wait();
        }
    }
}

struct Patient(Arc<Desk>);

impl Batcher for Patient {
    fn decide(&mut self, view: &QueueView) -> Option<BatchDecision> {
        let enough = view.queued >= self.0.wanted.load(Ordering::SeqCst);
        let take = if enough { view.queued } else { 0 };
        Some(BatchDecision { take, wait_us: u32::MAX })
    }
}

/// Submits so many requests.
fn submit(engine: &Engine<usize>, model: &Arc<LoadedModel>, desk: &Desk, count: usize) {
    for reply in 0..count {
        let payload = desk.payloads.lock().unwrap()[reply].take().unwrap();
        let request = InferRequest {
            payload,
            priority: PRIORITY_NORMAL,
            deadline_us: u64::MAX,
            enqueued_us: 0,
            reply,
        };
        engine.submit(model, request).map_err(|refused| refused.error).unwrap();
    }
}

/// Waits for the inputs of so many requests.
fn await_answers(desk: &Desk, count: usize) {
    let mut payloads = desk.payloads.lock().unwrap();
    while payloads[..count].iter().any(Option::is_none) {
        payloads = desk.come_back.wait(payloads).unwrap();
    }
}

fn ask(engine: &Engine<usize>, model: &Arc<LoadedModel>, desk: &Desk, count: usize) {
    submit(engine, model, desk, count);
    await_answers(desk, count);
}

fn taken(desk: &Desk) -> [u64; WORKERS] {
    desk.taken.each_ref().map(|taken| taken.load(Ordering::SeqCst))
}

#[test]
fn steady_predictions_take_no_memory() {
    let desk = Arc::new(Desk {
        payloads: Mutex::new(vec![
            Some(Payload::Features(vec![0.25; FEATURES]));
            WORKERS * BATCH_MAX
        ]),
        come_back: Condvar::new(),
        taken: [const { AtomicU64::new(0) }; WORKERS],
        wanted: AtomicU32::new(BATCH_MAX as u32),
        meets: AtomicBool::new(true),
        all: Barrier::new(WORKERS + 1),
    });
    let place = |core| WorkerPlace { core, memory_node: None };
    let options = EngineOptions {
        workers: (0..WORKERS as u32).map(place).collect(),
        requests_max: 1_024,
        batch_max: BATCH_MAX as u32,
        target_us: u32::MAX,
        loaded_max: 2,
        memory_bytes_max: None,
        priority: Priority::Normal,
        inline_cores: Vec::new(),
        inline_us: 0,
    };
    let batcher = |_| -> Box<dyn Batcher> { Box::new(Patient(Arc::clone(&desk))) };
    let sink = |index| -> Box<dyn Sink<usize>> { Box::new(Teller(Arc::clone(&desk), index)) };
    let clock = Arc::new(SystemClock::new());
    let engine = Engine::start(&options, clock, batcher, sink).unwrap();
    let bytes = Arc::new(Artifact::of_dense(dense_net()).to_bytes().unwrap());
    let id = ModelId::new("dense").unwrap();
    let model = engine.load(&id, ModelVersion(1), bytes, &LoadOptions::default()).unwrap();

    // Each worker computes one of the largest batches, and while all of them wait the queue gets as
    // long as it ever will.
    ask(&engine, &model, &desk, WORKERS * BATCH_MAX);
    submit(&engine, &model, &desk, WORKERS * BATCH_MAX);
    desk.all.wait();
    await_answers(&desk, WORKERS * BATCH_MAX);
    desk.all.wait();
    assert!(engine.stats().iter().all(|worker| worker.answered == 2 * BATCH_MAX as u64));
    desk.meets.store(false, Ordering::SeqCst);
    desk.wanted.store(1, Ordering::SeqCst);
    ask(&engine, &model, &desk, 1);

    let (before, workers_before) = (CountingAllocator::allocations_of_this_thread(), taken(&desk));
    for _ in 0..PREDICTIONS {
        ask(&engine, &model, &desk, 1);
    }
    for index in 0..PREDICTIONS / 10 {
        ask(&engine, &model, &desk, 1 + index % (WORKERS * BATCH_MAX));
    }
    let submitting = CountingAllocator::allocations_of_this_thread() - before;
    assert_eq!((submitting, taken(&desk)), (0, workers_before), "of the submits and the workers");
    engine.close().unwrap();
}
