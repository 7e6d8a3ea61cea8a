//! Owns this engine's way from a model file to the call: the graph that its program is built of,
//! and the program run as a worker runs it.
//!
//! Refuses to know queues (`served.rs`) and functions (`functions.rs`). Bound: one session for each
//! call; with two threads, one more that helps.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use truststram_model::Payload;
use truststram_model::artifact::{Artifact, Signature, Task};
use truststram_model::encoder::EncoderFolder;
use truststram_model::graph::{Attribute, Node};
use truststram_model::kernels::{Alone, Team};
use truststram_model::onnx::{self, Model};
use truststram_model::passes;
use truststram_model::program::{BuildOptions, Program, Session};
use truststram_model::tensor::{Data, Tensor};

use crate::helper::Helper;
use crate::measure::{Call, Inputs, Outcome, number, text};

/// The files of an encoder's folder that are read.
const FILES: [&str; 5] =
    ["config.json", "model.safetensors", "tokenizer.json", "modules.json", "1_Pooling/config.json"];

/// The model of the file or folder that a question names, as an import makes it.
pub fn artifact(question: &Value) -> Outcome<Artifact> {
    let mut artifact = match text(question, "folder") {
        Ok(folder) => encoder(Path::new(folder))?,
        Err(_) => {
            let Model { graph, .. } = onnx::parse(&fs::read(text(question, "onnx")?)?)?;
            let signature = Signature::of_graph(&graph, Task::Tensors, true)?;
            Artifact { graph, signature, tokenizer: None, dense: None, samples: Vec::new() }
        }
    };
    let mut graph = passes::optimize(artifact.graph, &BuildOptions::default())?;
    if text(question, "precision")? == "int8" {
        for node in &mut graph.nodes {
            if node.domain == Node::OWN_DOMAIN && node.operator == "Linear" {
                let precision = Attribute::String("int8".to_owned());
                node.attributes.insert("precision".to_owned(), precision);
            }
        }
    }
    artifact.graph = graph;
    Ok(artifact)
}

fn encoder(folder: &Path) -> Outcome<Artifact> {
    let read = |name: &&'static str| Ok((*name, fs::read(folder.join(name))?));
    let files = FILES.iter().map(read).collect::<Outcome<Vec<_>>>()?;
    let files = files.iter().map(|(name, bytes)| (*name, bytes.as_slice()));
    Ok(EncoderFolder::new(files).parse()?)
}

/// The inputs of a question, as tensors: one, or of texts the tokens, the offsets between the texts
/// and the types.
fn tensors(question: &Value) -> Outcome<Vec<Vec<Tensor>>> {
    let made: Option<Vec<Vec<Tensor>>> = match Inputs::of(question)? {
        Inputs::Rows { rows, columns, sets } => sets
            .into_iter()
            .map(|values| Some(vec![Tensor::of(&[rows, columns], values)?]))
            .collect(),
        Inputs::Tokens { rows, length, sets } => {
            let flat = |values: Vec<u32>| Tensor::of(&[values.len()], values);
            let one = |ids: Vec<i64>| {
                let types = vec![0; ids.len()];
                let offsets = (0..=rows).map(|text| (text * length) as u32).collect();
                let ids = ids.into_iter().map(|id| id as u32).collect();
                Some(vec![flat(ids)?, flat(offsets)?, flat(types)?])
            };
            sets.into_iter().map(one).collect()
        }
    };
    Ok(made.ok_or("the inputs have no shape")?)
}

/// The same inputs as requests of the serving engine.
pub fn payloads(question: &Value) -> Outcome<Vec<Payload>> {
    Ok(match Inputs::of(question)? {
        Inputs::Rows { .. } => tensors(question)?.into_iter().map(Payload::Tensors).collect(),
        Inputs::Tokens { rows: 1, sets, .. } => {
            let ids = |set: Vec<i64>| set.into_iter().map(|id| id as u32).collect();
            let one = |set| Payload::Tokens { ids: ids(set), types: Vec::new() };
            sets.into_iter().map(one).collect()
        }
        Inputs::Tokens { .. } => return Err("a request is one text".into()),
    })
}

fn fill(input: &mut Tensor, given: &Tensor) -> Outcome {
    let shape = *given.shape();
    match given.data() {
        Data::F32(values) => input.reset_as::<f32>(shape).copy_from_slice(values),
        Data::U32(values) => input.reset_as::<u32>(shape).copy_from_slice(values),
        _ => return Err("inputs of another type".into()),
    }
    Ok(())
}

/// Replaces `out` by the values of an output.
fn read(output: Option<&Tensor>, out: &mut Vec<f32>) -> Outcome {
    let values = output.and_then(Tensor::values::<f32>).ok_or("no output of f32")?;
    out.clear();
    out.extend_from_slice(values);
    Ok(())
}

/// A call of the program: inputs in, run, outputs out.
pub fn open(question: &Value, cores: &[u32]) -> Outcome<Call> {
    let program = Program::build(&artifact(question)?.graph, &BuildOptions::default())?;
    // Classifiers put their labels first.
    let last = program.outputs().len() - 1;
    let mut session = Session::new(Arc::new(program));
    let tensors = tensors(question)?;
    let helper = match number(question, "threads")? {
        1 => None,
        _ => Some(Helper::start(cores.get(1).copied().ok_or("a second core is wanted")?)?),
    };
    Ok(Box::new(move |index, out| {
        for (place, given) in tensors[index % tensors.len()].iter().enumerate() {
            fill(session.input_mut(place), given)?;
        }
        let mut run = |team: &dyn Team| session.run(team, None);
        match &helper {
            Some(helper) => helper.team(&mut run)?,
            None => run(&Alone)?,
        }
        read(session.output(last), out)
    }))
}
