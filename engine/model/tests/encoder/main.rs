//! Encoders of Hugging Face folders against what the transformers and tokenizers libraries answer.
//!
//! Owns the cases in `tests/golden/encoder`. Refuses to make them: `make_encoder.py` beside that
//! folder does. Bound: 1e-5 of the largest number in f32, tokens exactly.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests by clippy")]

mod damaged;
mod right;
mod serving;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use truststram_model::ModelError;
use truststram_model::artifact::Artifact;
use truststram_model::encoder::EncoderFolder;
use truststram_model::graph::{Attribute, Graph};
use truststram_model::kernels::{Alone, Isa};
use truststram_model::program::{BuildOptions, Program, Session};
use truststram_model::tensor::Shape;

const CASES: [&str; 3] = ["bert_mean", "distilbert_classes", "roberta_classes"];

/// The files of a case, to be changed at will.
#[derive(Clone)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    fn of(case: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/encoder");
        let folder = root.join(case);
        let mut files = BTreeMap::new();
        let names = ["config.json", "model.safetensors", "tokenizer.json", "modules.json"];
        let more = ["sentence_bert_config.json", "1_Pooling/config.json", "expected.json"];
        for name in names.into_iter().chain(more) {
            if let Ok(bytes) = fs::read(folder.join(name)) {
                files.insert(name.to_owned(), bytes);
            }
        }
        assert!(files.len() >= 4, "{case}");
        Self(files)
    }

    fn parse(&self) -> Result<Artifact, ModelError> {
        let files = self.0.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        EncoderFolder::new(files).parse()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.0[name]).unwrap()
    }

    fn with(&self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let mut files = self.clone();
        files.0.insert(name.to_owned(), bytes.into());
        files
    }

    fn without(&self, name: &str) -> Self {
        let mut files = self.clone();
        files.0.remove(name);
        files
    }
}

/// What a text gives.
struct Expected {
    text: String,
    ids: Vec<u32>,
    answer: Vec<f32>,
}

fn expected(files: &Files) -> (usize, Vec<Expected>) {
    let file = files.json("expected.json");
    let length_max = file["length_max"].as_u64().unwrap() as usize;
    let cases = file["cases"].as_array().unwrap().iter().map(|case| Expected {
        text: case["text"].as_str().unwrap().to_owned(),
        ids: serde_json::from_value(case["ids"].clone()).unwrap(),
        answer: serde_json::from_value(case["answer"].clone()).unwrap(),
    });
    (length_max, cases.collect())
}

/// The same graph with all linear layers in another precision.
fn in_precision(graph: &Graph, precision: &str) -> Graph {
    let mut graph = graph.clone();
    for node in &mut graph.nodes {
        if node.operator == "Linear" {
            let value = Attribute::String(precision.to_owned());
            node.attributes.insert("precision".to_owned(), value);
        }
    }
    graph
}

fn session(graph: &Graph, isa: Isa) -> Session {
    let options = BuildOptions { isa, ..BuildOptions::default() };
    Session::new(Arc::new(Program::build(graph, &options).unwrap()))
}

/// The answers to a batch, one after the other.
fn run(session: &mut Session, texts: &[&[u32]]) -> Vec<f32> {
    let tokens = texts.concat();
    let mut offsets = vec![0u32];
    for text in texts {
        offsets.push(offsets[offsets.len() - 1] + text.len() as u32);
    }
    let types = vec![0; tokens.len()];
    let count = session.program().inputs().len();
    for (index, values) in [tokens, offsets, types].into_iter().take(count).enumerate() {
        let shape = Shape::new(&[values.len()]).unwrap();
        session.input_mut(index).reset_as::<u32>(shape).copy_from_slice(&values);
    }
    session.run(&Alone, None).unwrap();
    session.output(0).unwrap().values::<f32>().unwrap().to_vec()
}
