//! Owns the first runs of a version, before anybody is answered by it: does it compute at all, are
//! its outputs what its signature says, are its answers numbers, and is a row's answer its own,
//! whatever else is in its batch?
//!
//! Refuses to know whether the answers are good. Bound: a few runs within a time limit.

use std::sync::Arc;
use std::time::Instant;

use crate::artifact::{Signature, SignaturePort, Task, TokenInput};
use crate::error::ModelError;
use crate::kernels::Alone;
use crate::program::{Program, Session};
use crate::tensor::{DType, Data, Element, Tensor};

/// What dimensions are tried that the signature leaves open, where there are no samples.
const OPEN_DIMS: [usize; 4] = [1, 2, 32, 224];
/// Numbers may differ by this share of the largest: sums of quantised numbers depend a little on
/// the batch that they are scaled with.
const TOLERANCE: f64 = 0.05;

/// Runs a program on samples, or on zeros and ones.
///
/// # Errors
/// [`ModelError::Run`] if it cannot, [`ModelError::Validation`] if its outputs are not as its
/// signature says.
pub fn validate(
    program: &Arc<Program>,
    signature: &Signature,
    samples: &[Tensor],
    until: Instant,
) -> Result<(), ModelError> {
    for (port, output) in signature.outputs.iter().zip(program.outputs()) {
        if port.dtype != output.dtype {
            return Err(wrong(port, output.dtype, port.dtype));
        }
    }
    let mut run = Run { session: Session::new(Arc::clone(program)), signature, until };
    if let Some(tokens) = signature.tokens {
        return run.check_texts(tokens);
    }
    if !samples.is_empty() {
        return run.check(samples);
    }
    let mut result = Ok(());
    for inputs in first_inputs(&signature.inputs, signature.batchable) {
        result = inputs.and_then(|inputs| run.check(&inputs));
        // What an open dimension can be is the model's to know: one size that runs is enough.
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Ones of one row for each input, once for each size that open dimensions are tried with.
pub fn first_inputs(
    inputs: &[SignaturePort],
    batchable: bool,
) -> impl Iterator<Item = Result<Vec<Tensor>, ModelError>> + '_ {
    let is_open =
        |port: &SignaturePort| port.dims.iter().skip(usize::from(batchable)).any(|dim| *dim == -1);
    let sizes = match inputs.iter().any(is_open) {
        true => &OPEN_DIMS[..],
        false => &OPEN_DIMS[..1],
    };
    sizes.iter().map(|size| inputs.iter().map(|port| ones(port, *size)).collect())
}

fn wrong(port: &SignaturePort, found: impl ToString, expected: impl ToString) -> ModelError {
    ModelError::Validation {
        what: format!("`{}`", port.name),
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

/// One row of ones in the port's shape.
fn ones(port: &SignaturePort, open: usize) -> Result<Tensor, ModelError> {
    let dims: Vec<usize> = port
        .dims
        .iter()
        .enumerate()
        .map(|(index, dim)| match usize::try_from(*dim) {
            Ok(dim) => dim,
            Err(_) if index == 0 => 1,
            Err(_) => open,
        })
        .collect();
    let count = dims.iter().try_fold(1usize, |count, dim| count.checked_mul(*dim));
    let count = count.filter(|count| *count <= 1 << 28);
    let count = count.ok_or_else(|| wrong(port, "too large for a run of ones", "samples"))?;
    let data = match port.dtype {
        DType::F32 => Data::F32(vec![1.0; count]),
        DType::F64 => Data::F64(vec![1.0; count]),
        DType::F16 => Data::F16(vec![half::f16::ONE; count]),
        DType::Bf16 => Data::Bf16(vec![half::bf16::ONE; count]),
        DType::I8 => Data::I8(vec![1; count]),
        DType::I16 => Data::I16(vec![1; count]),
        DType::I32 => Data::I32(vec![1; count]),
        DType::I64 => Data::I64(vec![1; count]),
        DType::U8 => Data::U8(vec![1; count]),
        DType::U16 => Data::U16(vec![1; count]),
        DType::U32 => Data::U32(vec![1; count]),
        DType::U64 => Data::U64(vec![1; count]),
        DType::Bool => Data::Bool(vec![true; count]),
        DType::String => Data::String(vec![String::new(); count]),
    };
    Tensor::new(&dims, data).ok_or_else(|| wrong(port, "no shape", "one"))
}

struct Run<'a> {
    session: Session,
    signature: &'a Signature,
    until: Instant,
}

impl Run<'_> {
    /// Runs inputs, checks the outputs' shapes and returns them.
    fn outputs(&mut self, inputs: Vec<Tensor>, rows: usize) -> Result<Vec<Tensor>, ModelError> {
        for (index, input) in inputs.into_iter().enumerate() {
            *self.session.input_mut(index) = input;
        }
        self.session.run(&Alone, Some(self.until))?;
        let mut outputs = Vec::with_capacity(self.signature.outputs.len());
        for (index, port) in self.signature.outputs.iter().enumerate() {
            let output = self.session.output(index);
            let output = output.ok_or_else(|| wrong(port, "missing", "an output"))?;
            let dims = output.shape();
            let fits = dims.len() == port.dims.len()
                && dims.iter().zip(&port.dims).all(|(found, wanted)| {
                    *wanted == -1 || i64::try_from(*found).is_ok_and(|found| found == *wanted)
                });
            let batched = !self.signature.batchable || dims.first() == Some(&rows);
            if !fits || !batched || output.dtype() != port.dtype {
                let found = format!("{} {dims}", output.dtype());
                let expected = format!("{} {:?} of {rows} rows", port.dtype, port.dims);
                return Err(wrong(port, found, expected));
            }
            outputs.push(output.clone());
        }
        self.check_width(&outputs)?;
        Ok(outputs)
    }

    /// Checks that there is a probability per class, or a direction as long as promised.
    fn check_width(&self, outputs: &[Tensor]) -> Result<(), ModelError> {
        let (output, width) = match &self.signature.task {
            Task::Classify { classes, probabilities, .. } => (*probabilities, classes.len()),
            Task::Embed { dimension, .. } => (0, *dimension),
            Task::Regress | Task::Tensors => return Ok(()),
        };
        match outputs[output].shape().get(1) {
            Some(found) if *found == width => Ok(()),
            _ => {
                let found = outputs[output].shape();
                Err(wrong(&self.signature.outputs[output], found, format!("[rows, {width}]")))
            }
        }
    }

    /// Checks that the answers are numbers: weights that are none make every answer none.
    fn check_finite(&self, outputs: &[Tensor]) -> Result<(), ModelError> {
        let answer = match &self.signature.task {
            Task::Classify { probabilities, .. } => *probabilities,
            Task::Embed { .. } | Task::Regress => 0,
            Task::Tensors => return Ok(()),
        };
        let values = numbers(&outputs[answer]).unwrap_or_default();
        match values.iter().find(|value| !value.is_finite()) {
            None => Ok(()),
            Some(value) => {
                let expected = "finite for the samples of its file, or for ones without any";
                Err(wrong(&self.signature.outputs[answer], value, expected))
            }
        }
    }

    /// Runs the inputs alone and, where the model takes batches, behind a row of zeros: the answer
    /// must be the same.
    fn check(&mut self, inputs: &[Tensor]) -> Result<(), ModelError> {
        let rows = inputs.first().and_then(|input| input.shape().first().copied()).unwrap_or(1);
        let alone = self.outputs(inputs.to_vec(), rows)?;
        self.check_finite(&alone)?;
        if !self.signature.batchable || rows == 0 {
            return Ok(());
        }
        let joined: Option<Vec<_>> = inputs.iter().map(behind_zeros).collect();
        let joined = joined.ok_or(ModelError::BatchSize { rows: rows + 1, rows_max: rows })?;
        let together = self.outputs(joined, rows + 1)?;
        self.compare(&alone, &together, rows, 1)
    }

    /// The same for texts: one of them alone, and behind another one of another length.
    fn check_texts(&mut self, tokens: TokenInput) -> Result<(), ModelError> {
        let token = |index: usize| (index as u32 + 1) % tokens.vocabulary;
        let length = tokens.length_max.min(3);
        let other = tokens.length_max.min(5);
        let second: Vec<u32> = (0..length).map(token).collect();
        let first: Vec<u32> = (0..other).rev().map(token).collect();
        let inputs = self.texts(&[&second])?;
        let alone = self.outputs(inputs, 1)?;
        self.check_finite(&alone)?;
        if !self.signature.batchable {
            return Ok(());
        }
        let inputs = self.texts(&[&first, &second])?;
        let together = self.outputs(inputs, 2)?;
        self.compare(&alone, &together, 1, 1)
    }

    fn texts(&self, texts: &[&[u32]]) -> Result<Vec<Tensor>, ModelError> {
        let texts: Vec<(&[u32], &[u32])> = texts.iter().map(|ids| (*ids, &[][..])).collect();
        let first = &self.signature.inputs[0];
        self.signature.text_inputs(&texts).ok_or_else(|| wrong(first, "no shape", "one"))
    }

    /// Checks that the last `rows` rows of `together`, behind `before` others, are those of
    /// `alone`, as far as they are numbers with a fraction.
    fn compare(
        &self,
        alone: &[Tensor],
        together: &[Tensor],
        rows: usize,
        before: usize,
    ) -> Result<(), ModelError> {
        for ((alone, together), port) in alone.iter().zip(together).zip(&self.signature.outputs) {
            let (a, b) = (numbers(alone), numbers(together));
            let (Some(a), Some(b)) = (a, b) else { continue };
            let row = a.len() / rows.max(1);
            let b = b.get(before * row..).unwrap_or_default();
            let finite = a.iter().map(|value| value.abs()).filter(|value| value.is_finite());
            let allowed = TOLERANCE * finite.fold(1e-3, f64::max);
            let same =
                |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= allowed;
            let differs = a.iter().zip(b).find(|(a, b)| !same(**a, **b));
            if a.len() != b.len() || differs.is_some() {
                let found = format!("another in a batch than alone ({differs:?})");
                return Err(wrong(port, found, "the same; the model is not batchable"));
            }
        }
        Ok(())
    }
}

/// The values, if they have a fraction.
fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    match tensor.data() {
        Data::F32(values) => Some(values.iter().map(|value| f64::from(*value)).collect()),
        Data::F64(values) => Some(values.clone()),
        _ => None,
    }
}

/// The same rows with one row of zeros in front.
fn behind_zeros(tensor: &Tensor) -> Option<Tensor> {
    fn joined<T: Element>(values: &[T], row: usize) -> Data {
        let mut all = vec![T::default(); row];
        all.extend_from_slice(values);
        T::data(all)
    }
    let rows = *tensor.shape().first()?;
    let row = tensor.count() / rows.max(1);
    let mut dims = tensor.shape().to_vec();
    dims[0] = rows.checked_add(1)?;
    let data = crate::with_values!(tensor.data(), values => joined(values, row));
    Tensor::new(&dims, data)
}
