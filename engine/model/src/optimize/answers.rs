//! Owns what a model answers to a data set: a class per row where it classifies, and the numbers
//! behind it.
//!
//! Refuses answers that are not finite. Bound: the numbers of all rows, in memory.

use std::sync::Arc;

use super::data::{DataSet, fill};
use super::figures::BATCH_ROWS;
use crate::artifact::{Signature, Task};
use crate::error::ModelError;
use crate::kernels::Alone;
use crate::program::{Program, RunError, Session};
use crate::tensor::{Data, Tensor};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answers {
    /// By row, of a model that classifies: an index into its classes.
    pub classes: Vec<usize>,
    /// The probabilities, or whatever the first output is: row by row.
    pub numbers: Vec<f64>,
}

/// Asks a program every row of a data set.
pub(super) fn ask(
    program: &Arc<Program>,
    signature: &Signature,
    data: &DataSet,
) -> Result<Answers, ModelError> {
    let mut session = Session::new(Arc::clone(program));
    let mut answers = Answers::default();
    let step = if signature.batchable { BATCH_ROWS } else { 1 };
    for start in (0..data.row_count()).step_by(step) {
        let end = (start + step).min(data.row_count());
        fill(&mut session, data.inputs(signature, start..end)?);
        session.run(&Alone, None)?;
        let index = match &signature.task {
            Task::Classify { probabilities, .. } => *probabilities,
            _ => 0,
        };
        let numbers = numbers(&session, index)?;
        if !numbers.iter().all(|number| number.is_finite()) {
            return Err(ModelError::NotFinite);
        }
        if let Task::Classify { classes, label, .. } = &signature.task {
            let found = match label.and_then(|label| session.output(label)) {
                Some(labels) => named(labels, classes),
                None => numbers.chunks(classes.len()).map(largest).collect(),
            };
            if found.len() != end - start {
                return Err(wrong(format!("{} classes", found.len()), end - start));
            }
            answers.classes.extend(found);
        }
        answers.numbers.extend(numbers);
    }
    Ok(answers)
}

fn wrong(found: impl ToString, rows: usize) -> ModelError {
    let source = RunError::input(found.to_string(), format_args!("one for each of {rows} rows"));
    ModelError::Run { place: "the outputs".into(), source }
}

fn numbers(session: &Session, index: usize) -> Result<Vec<f64>, ModelError> {
    let output = session.output(index).ok_or_else(|| wrong("no output", 1))?;
    match output.data() {
        Data::F32(values) => Ok(values.iter().map(|value| f64::from(*value)).collect()),
        Data::F64(values) => Ok(values.clone()),
        // Nothing to measure a distance by.
        _ => Ok(Vec::new()),
    }
}

/// The place of the first of the largest numbers.
fn largest(row: &[f64]) -> usize {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best
}

/// The classes that an output names; one that is not known counts as one more class.
fn named(labels: &Tensor, classes: &[String]) -> Vec<usize> {
    let place = |name: &str| classes.iter().position(|class| class == name);
    let place = |name: &str| place(name).unwrap_or(classes.len());
    match labels.data() {
        Data::String(names) => names.iter().map(|name| place(name)).collect(),
        Data::I64(names) => names.iter().map(|name| place(&name.to_string())).collect(),
        _ => Vec::new(),
    }
}
