//! Owns a request and the check of its input against the model's signature, before it is queued.
//!
//! Refuses to know queues and computation. Bound: one look at each dimension and each token; what
//! passes here cannot make its batch fail for want of shape.

use std::ops::Deref;
use std::sync::Arc;

use super::loaded::LoadedModel;
use crate::artifact::TokenInput;
use crate::error::ModelError;
use crate::tensor::Tensor;

/// Priorities of requests: 0 first, 3 last.
pub const PRIORITY_COUNT: usize = 4;
/// The priority of a request that asks for none.
pub const PRIORITY_NORMAL: u8 = 1;

/// What a model is asked about.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// One row of features, for a model with one floating-point input.
    Features(Vec<f32>),
    /// One tensor per input in the signature's order, with the rows in dimension 0.
    Tensors(Vec<Tensor>),
    /// One text, for a model that reads tokens.
    Tokens {
        /// The tokens.
        ids: Vec<u32>,
        /// The type of each; empty for all 0.
        types: Vec<u32>,
    },
}

/// One question. `T` is whatever the caller needs to hand the answer back.
#[derive(Debug)]
pub struct InferRequest<T> {
    /// The input; it comes back with the answer.
    pub payload: Payload,
    /// 0 to 3, 0 first; a larger number counts as 3.
    pub priority: u8,
    /// Monotonic microseconds of the engine's clock after which no answer is wanted.
    pub deadline_us: u64,
    /// Monotonic microseconds when the request was made.
    pub enqueued_us: u64,
    /// Comes back with the answer.
    pub reply: T,
}

/// A request that was not accepted, with the reason; nothing of it is lost.
#[derive(Debug)]
pub struct Refused<T> {
    /// Why.
    pub error: ModelError,
    /// The request as it was given.
    pub request: InferRequest<T>,
}

/// A version's promise of one answer: it stays in memory and counts the request as unanswered
/// until this is dropped, whatever becomes of the request.
#[derive(Debug)]
pub struct Accepted(Arc<LoadedModel>);

impl Accepted {
    /// None while as many requests wait as the version may have.
    pub fn of(model: &Arc<LoadedModel>) -> Option<Self> {
        model.accept().then(|| Self(Arc::clone(model)))
    }
}

impl Deref for Accepted {
    type Target = Arc<LoadedModel>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// A request on its way.
#[derive(Debug)]
pub struct Queued<T> {
    pub model: Accepted,
    pub request: InferRequest<T>,
    pub size: Size,
    /// Its place in the order of arrival; the queue gives it.
    pub arrived: u64,
}

/// How large a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Rows of its answer.
    pub rows: u32,
    /// What its cost grows with: rows, or tokens of a text.
    pub units: u32,
    /// Requests of one bucket are computed together.
    pub bucket: u8,
    /// Requests of one bucket that differ here cannot be computed together.
    pub shape: u64,
}

impl Size {
    /// Measures an input for a model.
    ///
    /// # Errors
    /// [`ModelError::FeatureCount`], [`ModelError::BatchSize`], or [`ModelError::Input`] names the
    /// input that does not fit the signature.
    pub fn of(model: &LoadedModel, payload: &Payload) -> Result<Self, ModelError> {
        match payload {
            Payload::Features(features) => of_features(model, features),
            Payload::Tensors(tensors) => of_tensors(model, tensors),
            Payload::Tokens { ids, types } => of_tokens(model, ids, types),
        }
    }
}

fn input_error(
    input: impl ToString,
    found: impl ToString,
    expected: impl ToString,
) -> Result<Size, ModelError> {
    let (input, found, expected) = (input.to_string(), found.to_string(), expected.to_string());
    Err(ModelError::Input { input, found, expected })
}

/// What the model wants, for whoever gives something else.
fn wanted(model: &LoadedModel) -> String {
    match model.signature().tokens {
        Some(_) => "the tokens of a text".to_owned(),
        None => format!("{} tensors", model.signature().inputs.len()),
    }
}

fn of_features(model: &LoadedModel, features: &[f32]) -> Result<Size, ModelError> {
    let found = features.len();
    match model.signature().feature_count() {
        Some(expected) if expected == found => Ok(Size { rows: 1, units: 1, bucket: 0, shape: 0 }),
        Some(expected) => Err(ModelError::FeatureCount { found, expected }),
        None => input_error("features", "one row of numbers", wanted(model)),
    }
}

fn of_tensors(model: &LoadedModel, tensors: &[Tensor]) -> Result<Size, ModelError> {
    let signature = model.signature();
    if signature.tokens.is_some() {
        return input_error("inputs", "tensors", wanted(model));
    }
    if tensors.len() != signature.inputs.len() {
        return input_error("inputs", format_args!("{} tensors", tensors.len()), wanted(model));
    }
    let mut rows = None;
    let mut shape = 0;
    for (tensor, input) in tensors.iter().zip(&signature.inputs) {
        let dims = tensor.shape();
        let fits = tensor.dtype() == input.dtype
            && dims.len() == input.dims.len()
            && dims.iter().zip(&input.dims).all(|(found, wanted)| {
                *wanted == -1 || i64::try_from(*found).is_ok_and(|found| found == *wanted)
            });
        if !fits {
            let found = format!("{} {dims}", tensor.dtype());
            return input_error(
                &input.name,
                found,
                format_args!("{} {:?}", input.dtype, input.dims),
            );
        }
        if !signature.batchable {
            continue;
        }
        let count = dims[0];
        if *rows.get_or_insert(count) != count || count == 0 {
            let expected = "as many rows in each input, at least 1";
            return input_error(&input.name, format_args!("{count} rows"), expected);
        }
        for (dim, wanted) in dims[1..].iter().zip(&input.dims[1..]) {
            // The offset basis and prime of FNV-1a; what is fixed needs no part in it.
            if *wanted == -1 {
                shape = (shape ^ 0xcbf2_9ce4_8422_2325 ^ *dim as u64)
                    .wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
    }
    let rows = rows.unwrap_or(1);
    let rows_max = if signature.batchable { model.limits().batch_max as usize } else { 1 };
    match u32::try_from(rows) {
        Ok(rows) if rows as usize <= rows_max => Ok(Size { rows, units: rows, bucket: 0, shape }),
        _ => Err(ModelError::BatchSize { rows, rows_max }),
    }
}

fn of_tokens(model: &LoadedModel, ids: &[u32], types: &[u32]) -> Result<Size, ModelError> {
    let Some(tokens) = model.signature().tokens else {
        return input_error("tokens", "a text", wanted(model));
    };
    let TokenInput { length_max, vocabulary, types: type_count } = tokens;
    let length = ids.len();
    if !(1..=length_max).contains(&length) {
        let found = format!("{length} tokens");
        return input_error("tokens", found, format_args!("1 to {length_max}"));
    }
    if let Some(id) = ids.iter().find(|id| **id >= vocabulary) {
        return input_error(
            "tokens",
            format_args!("token {id}"),
            format_args!("below {vocabulary}"),
        );
    }
    if !types.is_empty() && types.len() != length {
        let found = format!("{} types", types.len());
        return input_error("types", found, format_args!("{length}, as there are tokens"));
    }
    if let Some(kind) = types.iter().find(|kind| **kind >= type_count.max(1)) {
        let expected = format!("below {}", type_count.max(1));
        return input_error("types", format_args!("type {kind}"), expected);
    }
    let units = u32::try_from(length).unwrap_or(u32::MAX);
    // Lengths up to 2^bucket.
    let bucket = units.next_power_of_two().trailing_zeros() as u8;
    Ok(Size { rows: 1, units, bucket, shape: 0 })
}
