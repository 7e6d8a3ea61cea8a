//! Owns the way from texts to rows of tokens, and from those to what a program takes.
//!
//! Refuses to know networks. Bound: `length_max` numbers for each text, those behind the last
//! token below 0.

use truststram_model::encoder::Tokenizer;
use truststram_model::program::Session;
use truststram_model::tensor::Shape;

use crate::data::Dataset;
use crate::encoder::EncoderSpec;
use crate::error::TrainError;

/// Behind the last token.
const NOTHING: f32 = -1.0;

/// Adds the row of a text to `row`: its tokens, cut at `length_max`.
pub(super) fn add(
    text: &str,
    tokenizer: &Tokenizer,
    length_max: usize,
    row: &mut Vec<f32>,
) -> Result<(), TrainError> {
    let tokens = tokenizer.encode(text, length_max)?;
    if tokens.ids.is_empty() {
        return Err(TrainError::Dataset("has a text without a token; leave it out"));
    }
    let end = row.len() + length_max;
    row.extend(tokens.ids.iter().map(|token| *token as f32));
    row.resize(end, NOTHING);
    Ok(())
}

/// Checks that rows are tokens below the vocabulary, at least one each.
pub(crate) fn check(data: &Dataset, spec: &EncoderSpec) -> Result<(), TrainError> {
    if data.feature_count != spec.length_max {
        return Err(TrainError::Dataset("has rows that are no texts of `length_max` tokens"));
    }
    let is_token = |token: &f32| *token < spec.vocabulary as f32 && token.fract() == 0.0;
    let mut holds = true;
    data.each_row(&mut |row| {
        let length = row.iter().position(|token| *token < 0.0).unwrap_or(row.len());
        holds &= length > 0 && row[..length].iter().all(is_token);
    })?;
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
