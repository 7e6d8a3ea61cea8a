//! Owns this engine's way from a model file to the call: the graph that its program is built of, and
//! the program run as a worker runs it.
//!
//! Refuses to know queues (`served.rs`) and functions (`functions.rs`). Bound: one session for each
//! call; with two threads, one more that helps.

use std::fs;
use std::sync::Arc;

use serde_json::Value;
use truststram_model::graph::{Attribute, Graph, Node};
use truststram_model::kernels::{Alone, Team};
use truststram_model::onnx;
use truststram_model::passes;
use truststram_model::program::{BuildOptions, Program, Session};
use truststram_model::tensor::Tensor;

use crate::helper::Helper;
use crate::measure::{Call, Inputs, Outcome, number, text};

/// The graph of the file that a question names, as an import makes it.
pub fn graph(question: &Value) -> Outcome<Graph> {
    let model = onnx::parse(&fs::read(text(question, "onnx")?)?)?;
    let mut graph = passes::optimize(model.graph, &BuildOptions::default())?;
    if text(question, "precision")? == "int8" {
        for node in &mut graph.nodes {
            if node.domain == Node::OWN_DOMAIN && node.operator == "Linear" {
                let precision = Attribute::String("int8".to_owned());
                node.attributes.insert("precision".to_owned(), precision);
            }
        }
    }
    Ok(graph)
}

/// The inputs of a question, as tensors.
pub fn tensors(question: &Value) -> Outcome<Vec<Tensor>> {
    let made: Option<Vec<Tensor>> = match Inputs::of(question)? {
        Inputs::Rows { rows, columns, sets } => {
            sets.into_iter().map(|values| Tensor::of(&[rows, columns], values)).collect()
        }
        Inputs::Tokens { rows, length, sets } => {
            sets.into_iter().map(|ids| Tensor::of(&[rows, length], ids)).collect()
        }
    };
    Ok(made.ok_or("the inputs have no shape")?)
}

/// Replaces `out` by the values of an output.
pub fn read(output: Option<&Tensor>, out: &mut Vec<f32>) -> Outcome {
    let values = output.and_then(Tensor::values::<f32>).ok_or("no output of f32")?;
    out.clear();
    out.extend_from_slice(values);
    Ok(())
}

/// A call of the program: inputs in, run, outputs out.
pub fn open(question: &Value, cores: &[u32]) -> Outcome<Call> {
    let program = Program::build(&graph(question)?, &BuildOptions::default())?;
    // Classifiers put their labels first.
    let last = program.outputs().len() - 1;
    let mut session = Session::new(Arc::new(program));
    let tensors = tensors(question)?;
    let helper = match number(question, "threads")? {
        1 => None,
        _ => Some(Helper::start(cores.get(1).copied().ok_or("a second core is wanted")?)?),
    };
    Ok(Box::new(move |index, out| {
        let given = &tensors[index % tensors.len()];
        let input = session.input_mut(0);
        match given.values::<f32>() {
            Some(values) => input.reset_as::<f32>(*given.shape()).copy_from_slice(values),
            None => {
                let ids = given.values::<i64>().ok_or("inputs of another type")?;
                input.reset_as::<i64>(*given.shape()).copy_from_slice(ids);
            }
        }
        let mut run = |team: &dyn Team| session.run(team, None);
        match &helper {
            Some(helper) => helper.team(&mut run)?,
            None => run(&Alone)?,
        }
        read(session.output(last), out)
    }))
}
