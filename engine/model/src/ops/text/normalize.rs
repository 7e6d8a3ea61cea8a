//! Owns the removal of stop words and the change of case.
//!
//! Refuses locales whose letters change in their own way, and letters that become several.
//! Bound: one pass over the text.

use std::collections::HashSet;

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// This family.
pub const OPERATORS: Family = &[("", "StringNormalizer", string_normalizer)];

/// What becomes of letters.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Case {
    Same,
    Lower,
    Upper,
}

#[derive(Debug)]
struct StringNormalizer {
    case: Case,
    /// In lower case unless case is told apart.
    stop_words: HashSet<String>,
    is_case_sensitive: bool,
}

impl Case {
    /// The text in this case; none if a letter becomes several, which not all agree on.
    fn of(self, text: &str) -> Option<String> {
        fn single(mut letters: impl Iterator<Item = char>) -> Option<char> {
            let first = letters.next();
            if letters.next().is_some() { None } else { first }
        }
        text.chars()
            .map(|letter| match self {
                Self::Same => Some(letter),
                Self::Lower => single(letter.to_lowercase()),
                Self::Upper => single(letter.to_uppercase()),
            })
            .collect()
    }
}

fn changed(case: Case, text: &str) -> Result<String, RunError> {
    let wrong = || RunError::input(format_args!("`{text}`"), "letters that become one letter");
    case.of(text).ok_or_else(wrong)
}

impl StringNormalizer {
    fn keeps(&self, text: &str) -> Result<bool, RunError> {
        if self.stop_words.is_empty() {
            return Ok(true);
        }
        Ok(match self.is_case_sensitive {
            true => !self.stop_words.contains(text),
            false => !self.stop_words.contains(&changed(Case::Lower, text)?),
        })
    }
}

impl Operator for StringNormalizer {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, texts) = inputs.values::<String>(0)?;
        let mut kept = Vec::with_capacity(texts.len());
        for text in texts {
            if self.keeps(text)? {
                kept.push(changed(self.case, text)?);
            }
        }
        if kept.is_empty() {
            kept.push(String::new());
        }
        let dims = [1, kept.len()];
        let dims = match shape[..] {
            [_] => &dims[1..],
            [1, _] => &dims[..],
            _ => return Err(RunError::input(shape, "one row")),
        };
        let out = context.shape_as::<String>(&mut outputs[0], dims)?;
        out.iter_mut().zip(kept).for_each(|(out, text)| *out = text);
        Ok(())
    }
}

fn string_normalizer(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["case_change_action", "is_case_sensitive", "locale", "stopwords"])?;
    view.dtype_among(0, &[DType::String])?;
    let case = match view.string("case_change_action")?.unwrap_or("NONE") {
        "NONE" => Case::Same,
        "LOWER" => Case::Lower,
        "UPPER" => Case::Upper,
        other => return Err(view.refuse(format_args!("case `{other}` is not known"))),
    };
    let locale = view.string("locale")?.unwrap_or_default();
    if !matches!(locale, "" | "C" | "en_US" | "en_US.UTF-8" | "en-US") {
        return Err(view.refuse(format_args!("locale `{locale}` is not known")));
    }
    let is_case_sensitive = view.int_or("is_case_sensitive", 0)? != 0;
    let words = view.strings("stopwords")?.unwrap_or_default().iter();
    let stop_words = words.map(|word| match is_case_sensitive {
        true => Ok(word.clone()),
        false => Case::Lower.of(word).ok_or_else(|| view.refuse(format_args!("word `{word}`"))),
    });
    let stop_words = stop_words.collect::<Result<_, _>>()?;
    let operator = StringNormalizer { case, stop_words, is_case_sensitive };
    Ok(Built::one(operator, DType::String))
}
