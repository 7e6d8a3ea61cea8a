//! The engine with real threads and a small model. Batchers that hold requests back until a test
//! lets go make every batch predictable; nothing depends on time passing.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use truststram_base::{Clock, Kind, ManualClock, ModelId, ModelVersion, SystemClock};
use truststram_machine::Priority;

use super::*;
use crate::error::ModelError;
use crate::testing::small_model;

type Answer = (u32, Vec<f32>, Result<Inference, ModelError>);

/// Sends each answer on; `flush` marks the end of a batch by its size.
struct Forward {
    answers: SyncSender<Answer>,
}

impl Sink<u32> for Forward {
    fn deliver(&mut self, reply: u32, features: Vec<f32>, result: Result<Inference, ModelError>) {
        let _ = self.answers.send((reply, features, result));
    }

    fn flush(&mut self) {}
}

/// Says that it is asked, then waits to be told what to decide.
struct Asked {
    views: SyncSender<QueueView>,
    decisions: Arc<Mutex<Receiver<Option<BatchDecision>>>>,
}

impl Batcher for Asked {
    fn decide(&mut self, view: &QueueView) -> Option<BatchDecision> {
        let _ = self.views.send(*view);
        let told = self.decisions.lock().unwrap().recv();
        // At the end of a test nobody tells any more.
        told.unwrap_or_else(|_| NativeBatcher.decide(view))
    }
}

struct Fixture {
    engine: Engine<u32>,
    answers: Receiver<Answer>,
    views: Receiver<QueueView>,
    decisions: SyncSender<Option<BatchDecision>>,
}

fn options(workers: usize, requests_max: usize) -> EngineOptions {
    EngineOptions {
        workers: vec![WorkerPlace { core: 0, memory_node: None }; workers],
        requests_max,
        batch_max: 4,
        target_us: u32::MAX,
        loaded_max: 3,
        priority: Priority::Normal,
    }
}

/// One worker whose batches are decided by the test.
fn told(requests_max: usize, clock: Arc<dyn Clock>) -> Fixture {
    let (answer, answers) = sync_channel(64);
    let (view, views) = sync_channel(64);
    let (decisions, decided) = sync_channel(64);
    let decided = Arc::new(Mutex::new(decided));
    let batcher = move |_| -> Box<dyn Batcher> {
        Box::new(Asked { views: view.clone(), decisions: decided.clone() })
    };
    let sink = move |_| -> Box<dyn Sink<u32>> { Box::new(Forward { answers: answer.clone() }) };
    let engine = Engine::start(&options(1, requests_max), clock, batcher, sink).unwrap();
    Fixture { engine, answers, views, decisions }
}

fn id(text: &str) -> ModelId {
    ModelId::new(text).unwrap()
}

fn load(engine: &Engine<u32>, name: &str, version: u32, shift: f32) -> Arc<LoadedModel> {
    let bytes = Arc::new(small_model(shift).to_bytes().unwrap());
    engine.load(&id(name), ModelVersion(version), bytes).unwrap()
}

fn request(reply: u32) -> InferRequest<u32> {
    let features = vec![reply as f32 * 0.1, -1.0];
    InferRequest { features, deadline_us: u64::MAX, enqueued_us: 0, reply }
}

fn take(take: u32) -> Option<BatchDecision> {
    Some(BatchDecision { take, wait_us: 0 })
}

#[test]
fn batches_are_formed_as_decided_and_of_one_model() {
    let Fixture { engine, answers, views, decisions } = told(16, Arc::new(SystemClock::new()));
    let (a, b) = (load(&engine, "a", 1, 0.0), load(&engine, "b", 1, 0.0));
    engine.submit(&a, request(0)).unwrap();
    assert_eq!(views.recv().unwrap().queued, 1);
    // These come in while the worker is busy with its decision.
    for (model, reply) in [(&a, 1), (&b, 2), (&a, 3), (&b, 4), (&a, 5)] {
        engine.submit(model, request(reply)).unwrap();
    }
    let batch = |expected: &[u32]| {
        for reply in expected {
            let (found, features, result) = answers.recv().unwrap();
            assert_eq!((found, features), (*reply, request(*reply).features));
            assert_eq!(result.unwrap().batch_size as usize, expected.len());
        }
    };
    decisions.send(take(1)).unwrap();
    batch(&[0]);
    assert_eq!(views.recv().unwrap().queued, 3);
    decisions.send(take(2)).unwrap();
    batch(&[1, 3]);
    assert_eq!(views.recv().unwrap().queued, 2, "the oldest is of the other model");
    decisions.send(take(9)).unwrap();
    batch(&[2, 4]);
    assert_eq!(views.recv().unwrap().queued, 1);
    decisions.send(take(1)).unwrap();
    batch(&[5]);
}

#[test]
fn a_wait_ends_with_the_next_request() {
    let Fixture { engine, answers, views, decisions } = told(16, Arc::new(ManualClock::at(0)));
    let model = load(&engine, "a", 1, 0.0);
    engine.submit(&model, request(0)).unwrap();
    views.recv().unwrap();
    decisions.send(Some(BatchDecision { take: 0, wait_us: u32::MAX })).unwrap();
    engine.submit(&model, request(1)).unwrap();
    assert_eq!(views.recv().unwrap().queued, 2);
    decisions.send(take(2)).unwrap();
    for _ in 0..2 {
        assert_eq!(answers.recv().unwrap().2.unwrap().batch_size, 2);
    }
    // A wait of nothing is no decision: the native default takes what is there.
    engine.submit(&model, request(2)).unwrap();
    decisions.send(take(0)).unwrap();
    assert_eq!(answers.recv().unwrap().0, 2);
}

/// The reply of the next answer, which must be the refusal for want of a decision.
fn refused(answers: &Receiver<Answer>) -> u32 {
    let (reply, _, result) = answers.recv().unwrap();
    assert!(matches!(result, Err(ModelError::Undecided)), "{result:?}");
    reply
}

#[test]
fn without_a_decision_what_could_have_run_is_refused() {
    let Fixture { engine, answers, views, decisions } = told(16, Arc::new(ManualClock::at(0)));
    let model = load(&engine, "a", 1, 0.0);
    engine.submit(&model, request(0)).unwrap();
    views.recv().unwrap();
    for reply in 1..4 {
        engine.submit(&model, request(reply)).unwrap();
    }
    decisions.send(None).unwrap();
    // Those that came in after the question are asked about anew.
    assert_eq!(refused(&answers), 0);
    assert_eq!(views.recv().unwrap().queued, 3);
    decisions.send(None).unwrap();
    for reply in 1..4 {
        assert_eq!(refused(&answers), reply);
    }
    engine.submit(&model, request(4)).unwrap();
    views.recv().unwrap();
    decisions.send(take(1)).unwrap();
    assert!(answers.recv().unwrap().2.is_ok(), "it goes on");
}

/// The test's batcher always wants to wait for as long as it can; it must not get its way.
#[test]
fn a_wait_ends_when_the_batch_is_full_the_target_is_reached_or_the_engine_closes() {
    let wait = Some(BatchDecision { take: 0, wait_us: u32::MAX });
    let check = |requests: u32, age_us: i64, closes: bool| {
        let clock = Arc::new(ManualClock::at(0));
        let Fixture { engine, answers, views, decisions } = told(16, clock.clone());
        let model = load(&engine, "a", 1, 0.0);
        engine.submit(&model, request(0)).unwrap();
        views.recv().unwrap();
        for reply in 1..requests {
            engine.submit(&model, request(reply)).unwrap();
        }
        clock.advance(age_us);
        decisions.send(wait).unwrap();
        if closes {
            engine.close().unwrap();
        } else {
            assert_eq!(views.recv().unwrap().queued, requests);
            decisions.send(wait).unwrap();
        }
        for reply in 0..requests {
            let (found, _, result) = answers.recv().unwrap();
            assert_eq!((found, result.unwrap().batch_size), (reply, requests));
        }
    };
    check(4, 0, false);
    check(2, u32::MAX.into(), false);
    check(1, 0, true);
}

#[test]
fn a_batch_gives_what_its_rows_give_alone() {
    let Fixture { engine, answers, views, decisions } = told(16, Arc::new(ManualClock::at(0)));
    let model = load(&engine, "a", 1, 0.0);
    engine.submit(&model, request(0)).unwrap();
    views.recv().unwrap();
    for reply in 1..4 {
        engine.submit(&model, request(reply)).unwrap();
    }
    decisions.send(Some(BatchDecision { take: 0, wait_us: u32::MAX })).unwrap();
    assert_eq!(views.recv().unwrap().queued, 4);
    decisions.send(take(4)).unwrap();
    let together: Vec<Answer> = answers.iter().take(4).collect();
    for (reply, features, result) in together {
        let together = result.unwrap();
        assert_eq!(together.batch_size, 4);
        engine.submit(&model, InferRequest { features, ..request(reply) }).unwrap();
        views.recv().unwrap();
        decisions.send(take(1)).unwrap();
        let alone = answers.recv().unwrap().2.unwrap();
        assert_eq!((alone.batch_size, alone.class), (1, together.class));
        for (alone, together) in alone.probabilities.iter().zip(&together.probabilities) {
            assert!((alone - together).abs() < 1e-6, "{reply}: {together} for {alone}");
        }
    }
}

#[test]
fn late_requests_are_answered_without_computation() {
    let clock = Arc::new(ManualClock::at(0));
    let Fixture { engine, answers, views, decisions } = told(16, clock.clone());
    let model = load(&engine, "a", 1, 0.0);
    engine.submit(&model, InferRequest { deadline_us: 10, ..request(0) }).unwrap();
    engine.submit(&model, InferRequest { deadline_us: 100, ..request(1) }).unwrap();
    views.recv().unwrap();
    clock.advance(50);
    decisions.send(take(1)).unwrap();
    let (reply, _, result) = answers.recv().unwrap();
    let error = result.unwrap_err();
    assert_eq!((reply, error.kind()), (0, Kind::Timeout));
    drop(decisions);
    assert!(answers.recv().unwrap().2.is_ok());
    engine.close().unwrap();
    let stats = &engine.stats()[0];
    assert_eq!((stats.expired, stats.answered, stats.unanswered), (1, 1, 0));
}

#[test]
fn what_cannot_be_queued_comes_back() {
    let Fixture { engine, answers, views, decisions } = told(2, Arc::new(SystemClock::new()));
    let model = load(&engine, "a", 1, 0.0);
    engine.submit(&model, request(0)).unwrap();
    views.recv().unwrap();
    engine.submit(&model, request(1)).unwrap();
    let refused = engine.submit(&model, request(2)).unwrap_err();
    assert_eq!((refused.error.kind(), refused.request.reply), (Kind::Overloaded, 2));
    let short = InferRequest { features: vec![1.0], ..request(3) };
    let refused = engine.submit(&model, short).unwrap_err();
    assert!(matches!(refused.error, ModelError::FeatureCount { found: 1, expected: 2 }));
    // Closing answers what was accepted and refuses the rest.
    drop(decisions);
    engine.close().unwrap();
    assert_eq!(answers.iter().take(2).filter(|answer| answer.2.is_ok()).count(), 2);
    let refused = engine.submit(&model, request(4)).unwrap_err();
    assert_eq!(refused.error.kind(), Kind::Unavailable);
}

#[test]
fn a_new_version_takes_over_while_requests_run_and_batches_equal_singles() {
    let (answer, answers) = sync_channel(4_096);
    let sink = move |_| -> Box<dyn Sink<u32>> { Box::new(Forward { answers: answer.clone() }) };
    let clock = Arc::new(SystemClock::new());
    let native = |_| -> Box<dyn Batcher> { Box::new(NativeBatcher) };
    let engine = Engine::start(&options(2, 4_096), clock, native, sink).unwrap();
    let first = load(&engine, "a", 1, 0.0);
    let mut single = crate::dense::DenseNet::new(small_model(0.0), 1).unwrap();
    for reply in 0..1_000 {
        if reply == 500 {
            load(&engine, "a", 2, 1e6);
        }
        let model = engine.model(&id("a"), None).unwrap();
        assert_eq!(model.version().0, if reply < 500 { 1 } else { 2 });
        engine.submit(&model, request(reply)).unwrap();
    }
    engine.close().unwrap();
    let mut seen = 0;
    for (reply, features, result) in answers.try_iter() {
        let inference = result.unwrap();
        seen += 1;
        if reply >= 500 {
            assert_eq!((inference.version.0, inference.class), (2, 2));
            continue;
        }
        assert_eq!(inference.version, first.version());
        let mut expected = Vec::new();
        single.forward(&[features], &mut expected).unwrap();
        for (found, expected) in inference.probabilities.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-5, "{reply}: {found} for {expected}");
        }
    }
    assert_eq!(seen, 1_000);
}

#[test]
fn the_registry_keeps_its_rules() {
    let Fixture { engine, .. } = told(16, Arc::new(SystemClock::new()));
    load(&engine, "a", 1, 0.0);
    load(&engine, "a", 2, 0.0);
    let bytes = || Arc::new(small_model(0.0).to_bytes().unwrap());
    let twice = engine.load(&id("a"), ModelVersion(2), bytes()).unwrap_err();
    assert_eq!(twice.kind(), Kind::Conflict);
    let broken = engine.load(&id("b"), ModelVersion(1), Arc::new(vec![0u8; 16])).unwrap_err();
    assert_eq!(broken.kind(), Kind::Malformed);
    assert!(engine.model(&id("b"), None).is_none());
    load(&engine, "b", 1, 0.0);
    let full = engine.load(&id("c"), ModelVersion(1), bytes()).unwrap_err();
    assert!(matches!(full, ModelError::TooManyLoaded { loaded_max: 3 }));
    let active = |name: &str| engine.model(&id(name), None).unwrap().version().0;
    assert_eq!(active("a"), 2);
    assert!(engine.unload(&id("a"), ModelVersion(2)).is_err(), "the active one stays");
    engine.activate(&id("a"), ModelVersion(1)).unwrap();
    engine.unload(&id("a"), ModelVersion(2)).unwrap();
    assert_eq!(active("a"), 1);
    assert!(engine.activate(&id("a"), ModelVersion(2)).is_err());
}
