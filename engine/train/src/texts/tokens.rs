//! Owns the way from texts to rows of tokens, and from those to what a program takes.
//!
//! Refuses to know networks. Bound: `length_max` numbers for each text, those behind the last
//! token below 0.

use truststram_model::encoder::Tokenizer;
use truststram_model::program::Session;
use truststram_model::tensor::Shape;

use super::rows::TextRows;
use crate::data::Dataset;
use crate::encoder::EncoderSpec;
use crate::error::TrainError;
use crate::rows::{VALUE_COUNT_MAX, labelled};

/// Behind the last token.
const NOTHING: f32 = -1.0;

/// The tokens of texts, cut at `length_max`, with their classes or numbers.
pub(super) fn dataset(
    rows: &TextRows,
    tokenizer: &Tokenizer,
    length_max: usize,
    is_of_classes: bool,
) -> Result<Dataset, TrainError> {
    let count = rows.texts.len().checked_mul(length_max).filter(|count| *count <= VALUE_COUNT_MAX);
    let count = count.ok_or(TrainError::Dataset("is more than can be trained on"))?;
    let mut features = Vec::with_capacity(count);
    for text in &rows.texts {
        let tokens = tokenizer.encode(text, length_max)?;
        features.extend(tokens.ids.iter().map(|token| *token as f32));
        features.resize(features.len().next_multiple_of(length_max), NOTHING);
    }
    labelled(features, &rows.labels, length_max, is_of_classes)
        .map_err(|what| TrainError::Label { what })
}

/// Checks that rows are tokens below the vocabulary, at least one each.
pub(crate) fn check(data: &Dataset, spec: &EncoderSpec) -> Result<(), TrainError> {
    if data.feature_count != spec.length_max || data.packed.is_some() {
        return Err(TrainError::Dataset("has rows that are no texts of `length_max` tokens"));
    }
    let is_token = |token: &f32| *token < spec.vocabulary as f32 && token.fract() == 0.0;
    let holds = data.features.chunks_exact(data.feature_count).all(|row| {
        let length = row.iter().position(|token| *token < 0.0).unwrap_or(row.len());
        length > 0 && row[..length].iter().all(is_token)
    });
    match holds {
        true => Ok(()),
        false => Err(TrainError::Dataset("has texts without a token or beyond the vocabulary")),
    }
}

/// Gives rows of tokens to a program that reads texts.
pub(crate) fn give(session: &mut Session, rows: &[&[f32]]) {
    let mut offsets = vec![0_u32];
    let mut tokens = Vec::new();
    for row in rows {
        tokens.extend(row.iter().take_while(|token| **token >= 0.0).map(|token| *token as u32));
        offsets.push(tokens.len() as u32);
    }
    let kinds = vec![0; tokens.len()];
    let count = session.program().inputs().len();
    for (index, values) in [tokens, offsets, kinds].into_iter().take(count).enumerate() {
        let shape = Shape::new(&[values.len()]).unwrap_or_default();
        session.input_mut(index).reset_as::<u32>(shape).copy_from_slice(&values);
    }
}
