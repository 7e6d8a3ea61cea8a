//! Owns the way of a batch into a session: rows that lie apart become one tensor per input, texts
//! become tokens and the offsets between them.
//!
//! Refuses to know where requests came from; their inputs were checked when they were submitted.
//! Bound: one copy of each value, into buffers that the session keeps.

use super::loaded::LoadedModel;
use super::request::{Payload, Queued};
use crate::error::ModelError;
use crate::program::{RunError, Session};
use crate::tensor::{DType, Data, Element, RANK_MAX, Shape, Tensor};
use crate::with_values;

/// Fills the inputs of a session with a batch of one model.
///
/// # Errors
/// [`ModelError::Run`] if the rows are more than a tensor can have.
pub fn gather<T>(
    model: &LoadedModel,
    session: &mut Session,
    batch: &[Queued<T>],
) -> Result<(), ModelError> {
    if model.signature().tokens.is_some() {
        return gather_tokens(model, session, batch);
    }
    for (index, port) in model.signature().inputs.iter().enumerate() {
        let rows: usize = batch.iter().map(|queued| queued.size.rows as usize).sum();
        let mut dims = [0; RANK_MAX];
        let rank = port.dims.len();
        // The first request stands for all where the signature leaves dimensions open.
        match batch.first().map(|queued| &queued.request.payload) {
            Some(Payload::Tensors(tensors)) => {
                let first = tensors.get(index).map(Tensor::shape);
                dims[..rank].copy_from_slice(first.map_or(&[0; RANK_MAX][..rank], |dims| dims));
            }
            _ => {
                for (dim, known) in dims.iter_mut().zip(&port.dims) {
                    *dim = usize::try_from(*known).unwrap_or(1);
                }
            }
        }
        if model.signature().batchable {
            dims[0] = rows;
        }
        let shape = Shape::new(&dims[..rank]).ok_or_else(|| too_large(rows))?;
        let input = session.input_mut(index);
        input.reset(port.dtype, shape);
        let mut at = 0;
        for queued in batch {
            at += match &queued.request.payload {
                Payload::Features(features) => put_features(input.data_mut(), at, features),
                Payload::Tensors(tensors) => match tensors.get(index) {
                    Some(tensor) => put(input.data_mut(), at, tensor.data()),
                    None => 0,
                },
                Payload::Tokens { .. } => 0,
            };
        }
        if at != input.count() {
            let source = RunError::input(format_args!("{at} values"), input.count());
            return Err(ModelError::Run { place: port.name.as_str().into(), source });
        }
    }
    Ok(())
}

/// Copies one tensor into another, keeping its buffer.
pub fn copy(target: &mut Tensor, source: &Tensor) {
    target.reset(source.dtype(), *source.shape());
    put(target.data_mut(), 0, source.data());
}

fn too_large(bytes: usize) -> ModelError {
    let source = RunError::TooLarge { bytes, bytes_max: isize::MAX as usize };
    ModelError::Run { place: "the inputs".into(), source }
}

/// Copies values to a place; returns how many, 0 where they do not fit.
fn put(target: &mut Data, at: usize, source: &Data) -> usize {
    fn put_values<T: Element>(target: &mut Data, at: usize, values: &[T]) -> usize {
        let place = T::values_mut(target).and_then(|all| all.get_mut(at..at + values.len()));
        let Some(place) = place else { return 0 };
        place.clone_from_slice(values);
        values.len()
    }
    with_values!(source, values => put_values(target, at, values))
}

fn put_features(target: &mut Data, at: usize, features: &[f32]) -> usize {
    let range = at..at + features.len();
    match target {
        Data::F32(values) => match values.get_mut(range) {
            Some(place) => place.copy_from_slice(features),
            None => return 0,
        },
        Data::F64(values) => match values.get_mut(range) {
            Some(place) => {
                for (to, from) in place.iter_mut().zip(features) {
                    *to = (*from).into();
                }
            }
            None => return 0,
        },
        _ => return 0,
    }
    features.len()
}

/// Tokens, offsets and types of texts, one after the other.
fn gather_tokens<T>(
    model: &LoadedModel,
    session: &mut Session,
    batch: &[Queued<T>],
) -> Result<(), ModelError> {
    let total: usize = batch.iter().map(|queued| texts(queued).0.len()).sum();
    let counts = [total, batch.len() + 1, total];
    for (index, port) in model.signature().inputs.iter().enumerate().take(counts.len()) {
        let shape = Shape::new(&[counts[index]]).ok_or_else(|| too_large(counts[index]))?;
        let input = session.input_mut(index);
        input.reset(port.dtype, shape);
        match port.dtype {
            DType::I64 => fill(input, index, batch, i64::from),
            // Tokens are below 2^31 by the signature, and a batch has fewer of them.
            DType::I32 => fill(input, index, batch, |value| value as i32),
            _ => fill(input, index, batch, |value| value),
        }
    }
    Ok(())
}

fn texts<T>(queued: &Queued<T>) -> (&[u32], &[u32]) {
    match &queued.request.payload {
        Payload::Tokens { ids, types } => (ids, types),
        _ => (&[], &[]),
    }
}

fn fill<T, E: Element>(
    input: &mut Tensor,
    index: usize,
    batch: &[Queued<T>],
    make: impl Fn(u32) -> E,
) {
    let mut places = input.values_mut::<E>().unwrap_or_default().iter_mut();
    let mut put = |value: u32| {
        if let Some(place) = places.next() {
            *place = make(value);
        }
    };
    let mut end = 0u32;
    if index == 1 {
        put(end);
    }
    for queued in batch {
        let (ids, types) = texts(queued);
        match index {
            0 => ids.iter().for_each(|id| put(*id)),
            1 => {
                end += ids.len() as u32;
                put(end);
            }
            _ if types.is_empty() => ids.iter().for_each(|_| put(0)),
            _ => types.iter().for_each(|kind| put(*kind)),
        }
    }
}
