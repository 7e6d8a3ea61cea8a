//! ONNX Runtime's side of `benches/inference.sh`, through its C interface.
//!
//! Owns the sessions and how they are called: level 3 of its optimiser, inputs made once, the output
//! copied out as a caller would. Refuses to know what is measured against it. Bound: a session and
//! its threads live as long as one question.

#[path = "../../measure.rs"]
mod measure;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Barrier;
use std::time::Instant;

use measure::{Input, Outcome, Window, answer, number, resident_bytes, serve, text};
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{DynTensor, Tensor};
use serde_json::{Value, json};

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
    serve(|question| ask(&environment, question))
}

fn open(environment: &Environment, path: &Path, threads: usize) -> Outcome<Session> {
    let mut builder = Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::Level3)
        .map_err(|error| error.to_string())?
        .with_intra_threads(threads)
        .map_err(|error| error.to_string())?;
    Ok(builder.commit_from_file(path)?)
}

fn ask(environment: &Environment, question: &Value) -> Outcome<Value> {
    let path = Path::new(text(question, "onnx")?);
    let (threads, clients) = (number(question, "threads")?, number(question, "clients")?);
    let before = resident_bytes()?;
    let started = Instant::now();
    let mut sessions = vec![open(environment, path, threads)?];
    let load_ms = started.elapsed().as_secs_f64() * 1e3;
    for _ in 1..clients {
        sessions.push(open(environment, path, threads)?);
    }
    let seconds = question["seconds"].as_f64().ok_or("the question has no `seconds`")?;
    let input = Input::of(question)?;
    let barrier = Barrier::new(clients);
    let mut windows = Vec::new();
    let mut output = Vec::new();
    let results: Vec<Outcome<(Window, Vec<f32>)>> = std::thread::scope(|scope| {
        let clients: Vec<_> = sessions
            .iter_mut()
            .map(|session| {
                let (input, barrier) = (&input, &barrier);
                scope.spawn(move || client(session, input, seconds, barrier))
            })
            .collect();
        let join = |client: std::thread::ScopedJoinHandle<'_, _>| client.join().expect("a client");
        clients.into_iter().map(join).collect()
    });
    for result in results {
        let (window, last) = result?;
        windows.push(window);
        output = last;
    }
    let mut answered = answer(windows, &output);
    answered["load_ms"] = json!(load_ms);
    answered["resident_bytes"] = json!(resident_bytes()?.saturating_sub(before));
    Ok(answered)
}

fn client(
    session: &mut Session,
    input: &Input,
    seconds: f64,
    barrier: &Barrier,
) -> Outcome<(Window, Vec<f32>)> {
    let tensor: DynTensor = match input {
        Input::Rows { rows, columns, values } => {
            Tensor::from_array(([*rows, *columns], values.clone()))?.upcast()
        }
        Input::Tokens { rows, length, ids } => {
            Tensor::from_array(([*rows, *length], ids.clone()))?.upcast()
        }
    };
    // Classifiers put their labels first; the numbers are what the other side gives, too.
    let last = session.outputs().len() - 1;
    let mut output = Vec::new();
    barrier.wait();
    let window = Window::measure(seconds, || {
        let outputs = session.run(ort::inputs![&tensor])?;
        let (_, values) = outputs[last].try_extract_tensor::<f32>()?;
        output.clear();
        output.extend_from_slice(values);
        Ok(())
    })?;
    Ok((window, output))
}
