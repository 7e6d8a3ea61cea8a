//! This engine's side of `benches/inference.sh`: answers the questions of run.py.
//!
//! Owns the choice of what is called: the program as a worker runs it, the same through the serving
//! engine, or a single kernel. Refuses to know what is measured against it. Bound: one thread on
//! the first of the cores that it is given, and what the calls start.

mod functions;
mod helper;
mod measure;
mod ours;
mod served;

use std::io::Write;
use std::process::ExitCode;

use measure::{Outcome, serve, text};
use truststram_machine::{Placement, ThreadSpec, spawn};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome {
    // Cargo gives a bench arguments of its own, beginning with two hyphens.
    let given = std::env::args().skip(1).find(|word| !word.starts_with("--"));
    let given = given.ok_or("which cores? as in 0,1")?;
    let cores = given.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    let first = cores.iter().copied().take(1).collect();
    let spec = ThreadSpec { name: "bench".into(), cores: first, ..ThreadSpec::default() };
    let thread = spawn(spec, move |_: Placement| {
        serve(|question| match text(question, "way")? {
            "program" => ours::open(question, &cores),
            "engine" => served::open(question, &cores),
            "function" => functions::open(question, &cores),
            other => Err(format!("`{other}` is no way to call").into()),
        })
    })?;
    thread.join()?
}
