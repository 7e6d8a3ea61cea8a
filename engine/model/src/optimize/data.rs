//! Owns the rows that a version is calibrated and compared on.
//!
//! Refuses rows that the model does not take. Bound: [`DATA_ROW_COUNT_MAX`] rows, held in memory.

use std::ops::Range;

use super::options::refused;
use crate::artifact::Signature;
use crate::error::ModelError;
use crate::program::Session;
use crate::tensor::Tensor;

/// Most rows of a data set.
pub const DATA_ROW_COUNT_MAX: usize = 1 << 20;

const STEP: &str = "data";

/// One text as its tokenizer gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextTokens {
    /// The tokens.
    pub ids: Vec<u32>,
    /// The type of each; empty for 0 throughout.
    pub types: Vec<u32>,
}

/// What a model is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum DataRows {
    /// Rows of features.
    Features(Vec<Vec<f32>>),
    /// Texts.
    Texts(Vec<TextTokens>),
}

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSet {
    /// The rows.
    pub rows: DataRows,
    /// The class of each, as an index into the signature's classes.
    pub labels: Option<Vec<u32>>,
}

impl DataSet {
    /// How many rows there are.
    pub fn row_count(&self) -> usize {
        match &self.rows {
            DataRows::Features(rows) => rows.len(),
            DataRows::Texts(texts) => texts.len(),
        }
    }

    /// Checks that the model takes the rows and knows the labels.
    pub(super) fn check(&self, signature: &Signature) -> Result<(), ModelError> {
        let count = self.row_count();
        if count == 0 || count > DATA_ROW_COUNT_MAX {
            let reason = format!("{count} rows, expected 1 to {DATA_ROW_COUNT_MAX}");
            return Err(refused(STEP, reason));
        }
        match &self.rows {
            DataRows::Features(rows) => check_features(rows, signature)?,
            DataRows::Texts(texts) => check_texts(texts, signature)?,
        }
        let Some(labels) = &self.labels else { return Ok(()) };
        if labels.len() != count {
            return Err(refused(STEP, format!("{} labels of {count} rows", labels.len())));
        }
        let class_count = signature.classes().len();
        let unknown = labels.iter().position(|label| *label as usize >= class_count);
        unknown.map_or(Ok(()), |row| {
            let label = labels[row];
            let reason = format!("row {row} has class {label}, the model has {class_count}");
            Err(refused(STEP, reason))
        })
    }

    /// The inputs for some of the rows; they were checked.
    pub(super) fn inputs(
        &self,
        signature: &Signature,
        rows: Range<usize>,
    ) -> Result<Vec<Tensor>, ModelError> {
        let made = match &self.rows {
            DataRows::Features(all) => {
                let rows: Vec<&[f32]> = all[rows].iter().map(Vec::as_slice).collect();
                signature.feature_input(&rows).map(|input| vec![input])
            }
            DataRows::Texts(all) => {
                let texts = all[rows].iter().map(|text| (&text.ids[..], &text.types[..]));
                signature.text_inputs(&texts.collect::<Vec<_>>())
            }
        };
        made.ok_or_else(|| refused(STEP, "the rows do not fit the model's inputs"))
    }
}

/// Fills the inputs of a session.
pub(super) fn fill(session: &mut Session, inputs: Vec<Tensor>) {
    for (index, input) in inputs.into_iter().enumerate() {
        *session.input_mut(index) = input;
    }
}

fn check_features(rows: &[Vec<f32>], signature: &Signature) -> Result<(), ModelError> {
    let Some(count) = signature.feature_count() else {
        let reason = "rows of features, and the model takes none: it needs texts as tokens, or \
                      has several inputs or dimensions that are not fixed";
        return Err(refused(STEP, reason));
    };
    for (index, row) in rows.iter().enumerate() {
        if row.len() != count {
            let reason = format!("row {index} has {} features, the model {count}", row.len());
            return Err(refused(STEP, reason));
        }
        if row.iter().any(|value| !value.is_finite()) {
            return Err(refused(STEP, format!("row {index} has a value that is not finite")));
        }
    }
    Ok(())
}

fn check_texts(texts: &[TextTokens], signature: &Signature) -> Result<(), ModelError> {
    let Some(tokens) = signature.tokens else {
        return Err(refused(STEP, "texts, and the model takes rows of features"));
    };
    for (index, text) in texts.iter().enumerate() {
        let count = text.ids.len();
        let is_known = text.ids.iter().all(|id| *id < tokens.vocabulary)
            && text.types.iter().all(|kind| *kind < tokens.types);
        let is_whole = text.types.is_empty() || text.types.len() == count;
        if !is_known || !is_whole || count == 0 || count > tokens.length_max {
            let reason = format!(
                "text {index} has {count} tokens and {} types, expected 1 to {} tokens below {} \
                 and as many types below {} or none",
                text.types.len(),
                tokens.length_max,
                tokens.vocabulary,
                tokens.types,
            );
            return Err(refused(STEP, reason));
        }
    }
    Ok(())
}
