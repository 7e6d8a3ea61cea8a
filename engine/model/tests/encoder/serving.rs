//! The whole way: a folder becomes a file, the engine loads it, texts become answers.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use truststram_base::{ModelId, ModelVersion, SystemClock};
use truststram_machine::Priority;
use truststram_model::encoder::Tokenizer;
use truststram_model::{
    Engine, EngineOptions, InferRequest, Inference, LoadOptions, ModelError, NativeBatcher,
    PRIORITY_NORMAL, Payload, Sink, WorkerPlace,
};

use crate::{CASES, Files, expected};

type Answer = Result<Vec<f32>, String>;

/// Hands numbers back by a channel that came with the request.
struct Channels;

impl Sink<SyncSender<Answer>> for Channels {
    fn deliver(
        &mut self,
        reply: SyncSender<Answer>,
        _payload: Payload,
        result: Result<Inference<'_>, ModelError>,
    ) {
        let answer = result.map_err(|error| error.to_string()).map(|inference| {
            let answer = inference.answer;
            let class = answer.class(0).map(|class| class.probabilities.to_vec());
            class.or_else(|| answer.embedding(0).map(<[f32]>::to_vec)).unwrap_or_default()
        });
        // The test may have failed and gone.
        let _ = reply.send(answer);
    }

    fn flush(&mut self) {}
}

#[test]
fn texts_are_answered_by_the_engine() {
    let options = EngineOptions {
        workers: vec![WorkerPlace { core: 0, memory_node: None }],
        requests_max: 64,
        batch_max: 8,
        target_us: 0,
        loaded_max: 4,
        memory_bytes_max: None,
        priority: Priority::Normal,
        inline_cores: Vec::new(),
        inline_us: 0,
    };
    let clock = Arc::new(SystemClock::new());
    let engine =
        Engine::start(&options, clock, |_| Box::new(NativeBatcher), |_| Box::new(Channels))
            .unwrap();
    for case in CASES {
        let files = Files::of(case);
        let artifact = files.parse().unwrap();
        let bytes = Arc::new(artifact.to_bytes().unwrap());
        let id = ModelId::new(&case.replace('_', "-")).unwrap();
        let version = ModelVersion(1);
        let model = engine.load(&id, version, bytes, &LoadOptions::default()).unwrap();
        let tokenizer = Tokenizer::parse(&artifact.tokenizer.unwrap()).unwrap();
        let (length_max, cases) = expected(&files);
        let (reply, answers) = sync_channel(1);
        for expected in &cases {
            let text = tokenizer.encode(&expected.text, length_max).unwrap();
            let request = InferRequest {
                payload: Payload::Tokens { ids: text.ids, types: text.types },
                priority: PRIORITY_NORMAL,
                deadline_us: u64::MAX,
                enqueued_us: 0,
                reply: reply.clone(),
            };
            engine.submit(&model, request).unwrap();
            let answer = answers.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
            assert_eq!(answer.len(), expected.answer.len(), "{case}");
            for (found, wanted) in answer.iter().zip(&expected.answer) {
                assert!((found - wanted).abs() < 1e-4, "{case} `{}`", expected.text);
            }
        }
    }
    engine.close().unwrap();
}
