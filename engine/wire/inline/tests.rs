//! Brief batches on a network thread, and what becomes of requests once nobody is there for them.

use std::sync::Arc;

use tokio::sync::oneshot;
use truststram_base::{ManualClock, ModelId, ModelVersion};
use truststram_machine::Priority;
use truststram_model::artifact::Artifact;
use truststram_model::{
    EngineOptions, Inference, LayerWeights, LoadOptions, ModelError, ModelFile, ModelSpec,
    NativeBatcher, PRIORITY_NORMAL, Payload, Preprocessing, Sink, WorkerPlace,
};

use super::*;
use crate::wire::replies::Replies;

/// Who answered, and how many requests the batch had.
type Told = (&'static str, u32);

/// Says who answers.
struct Teller(&'static str);

impl Sink<oneshot::Sender<Told>> for Teller {
    fn deliver(
        &mut self,
        reply: oneshot::Sender<Told>,
        _: Payload,
        result: Result<Inference<'_>, ModelError>,
    ) {
        reply.send((self.0, result.unwrap().batch_size)).unwrap();
    }

    fn flush(&mut self) {}
}

fn model() -> Vec<u8> {
    let preprocessing = Preprocessing { mean: vec![0.0; 2], scale: vec![1.0; 2] };
    let classes = ["low", "high"].map(str::to_owned).into();
    let spec = ModelSpec::dense(vec![2, 2], classes, preprocessing).unwrap();
    let weights = LayerWeights { weight: vec![0.5; 4], bias: vec![0.0; 2] };
    let file = ModelFile::new(spec, vec![weights]).unwrap();
    Artifact::of_dense(file).to_bytes().unwrap()
}

#[tokio::test]
async fn what_arrives_together_is_answered_here_and_by_workers_once_the_task_is_gone() {
    let options = EngineOptions {
        workers: vec![WorkerPlace { core: 0, memory_node: None }],
        requests_max: 16,
        batch_max: 8,
        target_us: 0,
        loaded_max: 1,
        memory_bytes_max: None,
        priority: Priority::Normal,
        inline_cores: vec![0],
        inline_us: 50,
    };
    let engine = Engine::start(
        &options,
        Arc::new(ManualClock::at(0)),
        |_| Box::new(NativeBatcher),
        |_| Box::new(Teller("worker")),
    );
    let engine = engine.unwrap();
    let id = ModelId::new("m").unwrap();
    let loaded =
        engine.load(&id, ModelVersion(1), Arc::new(model()), &LoadOptions::default()).unwrap();
    let worker = engine.inline_worker(0, Box::new(NativeBatcher), Box::new(Teller("thread")));
    // The first network thread shares its core with nobody.
    let inline = Arc::new(InlineWorkers::new(vec![None, Some(worker.unwrap())]));
    let ask = || {
        let (reply, answer) = oneshot::channel();
        let request = InferRequest {
            payload: Payload::Features(vec![1.0; 2]),
            priority: PRIORITY_NORMAL,
            deadline_us: u64::MAX,
            enqueued_us: 0,
            reply,
        };
        assert!(inline.submit(&engine, &loaded, request).is_ok());
        answer
    };
    assert_eq!(ask().await, Ok(("worker", 1)), "this is no network thread");
    Replies::<()>::new(2).adopt_thread(1);
    inline.adopt_thread(0);
    assert_eq!(ask().await, Ok(("worker", 1)), "nor has it a task yet");
    inline.adopt_thread(1);
    for answer in [ask(), ask()] {
        assert_eq!(answer.await, Ok(("thread", 2)));
    }
    assert!(inline.of(1).unwrap().runs.load(Ordering::Relaxed));
    drop(Running(inline.clone(), 1));
    assert_eq!(ask().await, Ok(("worker", 1)));
    assert_eq!(engine.stats()[0].inline, 1);
}
