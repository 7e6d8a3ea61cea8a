//! ONNX Runtime's side of `benches/inference.sh`, through its C interface.
//!
//! Owns the sessions and how they are called: level 3 of its optimiser, threads that spin as by
//! default, inputs made once, the output copied out as a caller would. Refuses to know what is
//! measured against it. Bound: one session for each call that is open.

#[path = "../../measure.rs"]
mod measure;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use measure::{Call, Inputs, Outcome, number, serve, text};
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{DynTensor, Tensor};
use serde_json::Value;

fn main() -> ExitCode {
    let library = std::env::args().nth(1).unwrap_or_default();
    match run(&library) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "ONNX Runtime from `{library}`: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(library: &str) -> Outcome {
    let environment = ort::init_from(library)?.build()?;
    serve(|question| open(&environment, question))
}

fn open(environment: &Environment, question: &Value) -> Outcome<Call> {
    let mut builder = Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::Level3)
        .map_err(|error| error.to_string())?
        .with_intra_threads(number(question, "threads")?)
        .map_err(|error| error.to_string())?;
    let mut session = builder.commit_from_file(Path::new(text(question, "onnx")?))?;
    let tensors: Vec<DynTensor> = match Inputs::of(question)? {
        Inputs::Rows { rows, columns, sets } => sets
            .into_iter()
            .map(|values| Ok(Tensor::from_array(([rows, columns], values))?.upcast()))
            .collect::<Outcome<_>>()?,
        Inputs::Tokens { rows, length, sets } => sets
            .into_iter()
            .map(|ids| Ok(Tensor::from_array(([rows, length], ids))?.upcast()))
            .collect::<Outcome<_>>()?,
    };
    // Classifiers put their labels first; the numbers are what the other side gives, too.
    let last = session.outputs().len() - 1;
    Ok(Box::new(move |index, output| {
        let outputs = session.run(ort::inputs![&tensors[index % tensors.len()]])?;
        let (_, values) = outputs[last].try_extract_tensor::<f32>()?;
        output.clear();
        output.extend_from_slice(values);
        Ok(())
    }))
}
