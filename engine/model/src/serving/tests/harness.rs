//! An engine whose answers come through a channel and whose workers stop where a test wants it.
//!
//! The clock is the test's own. A dropped request shows in that its channel closes.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use truststram_base::{ManualClock, ModelId, ModelVersion};
use truststram_machine::Priority;

use crate::artifact::Artifact;
use crate::program::{BuildOptions, evaluate};
use crate::serving::{
    Batcher, Computes, Engine, EngineOptions, InferRequest, Inference, InlineWorker, LoadOptions,
    LoadedModel, NativeBatcher, PRIORITY_NORMAL, Payload, Refused, Sink, WorkerPlace,
};
use crate::tensor::Tensor;
use crate::{ModelError, testing};

/// How long a test waits for something that comes at once unless the engine is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// More outcomes than any test leaves unread, so that no worker waits for its test.
const OUTCOMES_MAX: usize = 10_000;

/// What becomes of a request.
#[derive(Debug)]
pub struct Outcome {
    /// The request's number.
    pub number: usize,
    /// The worker that answered.
    pub worker: usize,
    pub payload: Payload,
    pub result: Result<Told, ModelError>,
}

/// An answer, copied.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub version: ModelVersion,
    pub batch_size: u32,
    /// Output 0.
    pub values: Vec<f32>,
}

/// Travels with a request.
pub struct Reply {
    number: usize,
    to: SyncSender<Outcome>,
    /// Where the worker stops after it has answered.
    gate: Option<Arc<Gate>>,
    /// Whether the worker is to die after the answer.
    kills: bool,
}

/// A place where one worker stops until it is opened.
#[derive(Debug, Default)]
pub struct Gate {
    /// Whether somebody has come, and whether it is open.
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 = true;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| !state.1).unwrap());
    }

    /// Waits until a worker stands before it.
    pub fn await_worker(&self) {
        let state = self.state.lock().unwrap();
        let (_state, late) =
            self.changed.wait_timeout_while(state, PATIENCE, |state| !state.0).unwrap();
        assert!(!late.timed_out(), "no worker comes");
    }

    pub fn open(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

/// Sends answers to the test.
pub struct Channel {
    pub worker: usize,
}

impl Sink<Reply> for Channel {
    fn deliver(
        &mut self,
        reply: Reply,
        payload: Payload,
        result: Result<Inference<'_>, ModelError>,
    ) {
        let result = result.map(|inference| {
            let output = inference.answer.output(0).unwrap();
            let values = output.values::<f32>().unwrap().to_vec();
            Told { version: inference.version, batch_size: inference.batch_size, values }
        });
        let outcome = Outcome { number: reply.number, worker: self.worker, payload, result };
        // A test that has ended does not listen.
        let _ = reply.to.send(outcome);
        assert!(!reply.kills, "the sink dies, as the test wants");
        if let Some(gate) = reply.gate {
            gate.pass();
        }
    }

    fn flush(&mut self) {}
}

/// An engine under test.
pub struct House {
    pub engine: Arc<Engine<Reply>>,
    pub clock: Arc<ManualClock>,
    to: SyncSender<Outcome>,
    outcomes: Receiver<Outcome>,
}

/// One worker without limits that matter.
pub fn options() -> EngineOptions {
    EngineOptions {
        workers: vec![WorkerPlace { core: 0, memory_node: None }],
        requests_max: 10_000,
        batch_max: 16,
        target_us: 1_000,
        loaded_max: 8,
        memory_bytes_max: None,
        priority: Priority::Normal,
        inline_cores: Vec::new(),
        inline_us: 0,
    }
}

/// Workers in groups of their own, by pretending that each is on a node of its own.
pub fn apart(workers: u32) -> EngineOptions {
    let place = |worker| WorkerPlace { core: 0, memory_node: Some(worker) };
    EngineOptions { workers: (0..workers).map(place).collect(), ..options() }
}

pub fn id(name: &str) -> ModelId {
    ModelId::new(name).unwrap()
}

/// The bytes of the small model with a shift; version `n` is usually that of shift `n`.
pub fn small(shift: f32) -> Vec<u8> {
    testing::small_model(shift).to_bytes().unwrap()
}

/// What the small model with this shift answers, computed alone.
pub fn expected(shift: f32, features: [f32; 2]) -> Vec<f32> {
    let graph = Artifact::of_dense(testing::small_model(shift)).graph;
    let input = Tensor::of(&[1, 2], features.to_vec()).unwrap();
    let outputs = evaluate(&graph, &BuildOptions::default(), vec![input]).unwrap();
    outputs[0].values::<f32>().unwrap().to_vec()
}

impl House {
    pub fn new(options: &EngineOptions) -> Self {
        let clock = Arc::new(ManualClock::at(1_000_000));
        let engine = Engine::start(
            options,
            Arc::clone(&clock) as _,
            |_| Box::new(NativeBatcher),
            |worker| Box::new(Channel { worker }),
        );
        let (to, outcomes) = sync_channel(OUTCOMES_MAX);
        Self { engine: Arc::new(engine.unwrap()), clock, to, outcomes }
    }

    /// Loads a version as it is asked for.
    pub fn load_with(
        &self,
        name: &str,
        version: u32,
        bytes: Vec<u8>,
        options: &LoadOptions,
    ) -> Result<Arc<LoadedModel>, ModelError> {
        self.engine.load(&id(name), ModelVersion(version), Arc::new(bytes), options)
    }

    /// Loads the small model whose shift is the version's number.
    pub fn load(&self, name: &str, version: u32, activate: bool) -> Arc<LoadedModel> {
        let options = LoadOptions { activate, ..LoadOptions::default() };
        self.load_with(name, version, small(version as f32), &options).unwrap()
    }

    /// A request of priority normal without a deadline.
    pub fn request(&self, number: usize, features: [f32; 2]) -> InferRequest<Reply> {
        InferRequest {
            payload: Payload::Features(features.to_vec()),
            priority: PRIORITY_NORMAL,
            deadline_us: u64::MAX,
            enqueued_us: self.now_us(),
            reply: Reply { number, to: self.to.clone(), gate: None, kills: false },
        }
    }

    pub fn now_us(&self) -> u64 {
        truststram_base::Clock::monotonic_us(&*self.clock)
    }

    #[allow(clippy::result_large_err)]
    pub fn submit(
        &self,
        model: &Arc<LoadedModel>,
        request: InferRequest<Reply>,
    ) -> Result<(), Refused<Reply>> {
        self.engine.submit(model, request)
    }

    /// The inline worker of the options' first core; its answers name it as worker `number`.
    pub fn inline(&self, number: usize, batcher: impl Batcher + 'static) -> InlineWorker<Reply> {
        let sink = Box::new(Channel { worker: number });
        self.engine.inline_worker(0, Box::new(batcher), sink).unwrap()
    }

    /// Waits until a worker of each group sleeps.
    pub fn await_rest(&self) {
        let is_busy = || self.engine.crew.groups.iter().any(|group| group.load().0);
        while is_busy() {
            std::thread::yield_now();
        }
    }

    /// Submits a request for the inline worker that must be accepted.
    pub fn ask_inline(
        &self,
        model: &Arc<LoadedModel>,
        number: usize,
        features: [f32; 2],
    ) -> Computes {
        let request = self.request(number, features);
        self.engine.submit_inline(0, model, request).map_err(|refused| refused.error).unwrap()
    }

    /// Submits a request that must be accepted.
    pub fn ask(&self, model: &Arc<LoadedModel>, number: usize, features: [f32; 2]) {
        assert!(self.submit(model, self.request(number, features)).is_ok());
    }

    /// Keeps a worker busy until the gate is opened.
    pub fn block(&self, model: &Arc<LoadedModel>) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        let mut request = self.request(usize::MAX, [0.0, 0.0]);
        request.reply.gate = Some(Arc::clone(&gate));
        assert!(self.submit(model, request).is_ok());
        gate.await_worker();
        assert_eq!(self.next().number, usize::MAX);
        gate
    }

    /// Submits a request after whose answer the worker dies.
    pub fn kill(&self, model: &Arc<LoadedModel>) {
        let mut request = self.request(usize::MAX, [0.0, 0.0]);
        request.reply.kills = true;
        assert!(self.submit(model, request).is_ok());
    }

    pub fn next(&self) -> Outcome {
        self.outcomes.recv_timeout(PATIENCE).unwrap()
    }

    /// The next outcomes, in the order in which they came.
    pub fn take(&self, count: usize) -> Vec<Outcome> {
        (0..count).map(|_| self.next()).collect()
    }

    /// Stops the engine; returns it with what had not been taken yet. Nothing comes after that.
    pub fn close(self) -> (Arc<Engine<Reply>>, Vec<Outcome>) {
        self.engine.close().unwrap();
        drop(self.to);
        let left = self.outcomes.try_iter().collect();
        let closed = self.outcomes.try_recv();
        assert_eq!(closed.err(), Some(std::sync::mpsc::TryRecvError::Disconnected), "a lost reply");
        (self.engine, left)
    }
}

impl Outcome {
    pub fn told(&self) -> &Told {
        self.result.as_ref().unwrap()
    }
}
