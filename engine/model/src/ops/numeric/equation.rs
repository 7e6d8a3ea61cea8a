//! Owns the reading of an equation of `Einsum`, and the labels of dimensions once ranks are known.
//!
//! Refuses what is no equation. Bound: 52 letters, and as many further dimensions as `...` stands
//! for.

use crate::ops::support::Few;
use crate::program::RunError;
use crate::tensor::Shape;

/// A dimension by its letter, or by its place from the right in what `...` stands for.
pub type Label = u8;

/// The first label of dimensions that `...` stands for.
const DOTS: Label = 128;

/// What a term says: letters, and where dimensions without letters stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Term {
    letters: Vec<Label>,
    dots: Option<usize>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equation {
    inputs: Vec<Term>,
    output: Term,
}

impl Term {
    fn read(text: &str) -> Result<Self, String> {
        let mut term = Self::default();
        let mut rest = text;
        while let Some(first) = rest.bytes().next() {
            if let Some(after) = rest.strip_prefix("...") {
                if term.dots.replace(term.letters.len()).is_some() {
                    return Err(format!("`...` twice in `{text}`"));
                }
                rest = after;
            } else if first.is_ascii_alphabetic() {
                term.letters.push(first);
                rest = &rest[1..];
            } else {
                return Err(format!("`{text}` has more than letters and `...`"));
            }
        }
        Ok(term)
    }

    /// The labels of so many dimensions; none if they do not fit.
    fn labels(&self, rank: usize) -> Option<Result<Few<Label>, RunError>> {
        let hidden = rank.checked_sub(self.letters.len())?;
        let place = match self.dots {
            Some(place) => place,
            None if hidden == 0 => 0,
            None => return None,
        };
        let (before, after) = self.letters.split_at(place);
        let dots = (0..hidden).rev().map(|from_right| DOTS + from_right as Label);
        let labels = before.iter().copied().chain(dots).chain(after.iter().copied());
        let mut few = Few::new();
        Some(labels.into_iter().try_for_each(|label| few.push(label)).map(|()| few))
    }
}

impl Equation {
    /// Reads an equation for so many inputs.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str, inputs: usize) -> Result<Self, String> {
        let text: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (text.as_str(), None),
        };
        let terms = left.split(',').map(Term::read).collect::<Result<Vec<_>, _>>()?;
        if terms.len() != inputs {
            return Err(format!("{} terms for {inputs} inputs", terms.len()));
        }
        let count = |letter: Label| {
            terms.iter().flat_map(|term| &term.letters).filter(|own| **own == letter).count()
        };
        let has_dots = terms.iter().any(|term| term.dots.is_some());
        let output = match right {
            Some(right) => Term::read(right)?,
            // Those that stand once, in their order.
            None => Term {
                letters: (0..DOTS).filter(|letter| count(*letter) == 1).collect(),
                dots: has_dots.then_some(0),
            },
        };
        for (index, letter) in output.letters.iter().enumerate() {
            if count(*letter) == 0 || output.letters[..index].contains(letter) {
                return Err(format!("`{}` of the result", char::from(*letter)));
            }
        }
        match output.dots.is_none() && has_dots {
            // Sums over dimensions without letters: NumPy refuses them.
            true => Err("a result without the dimensions of `...`".to_owned()),
            false => Ok(Self { inputs: terms, output }),
        }
    }

    /// The labels of an input of a shape.
    ///
    /// # Errors
    /// [`RunError::Input`] if it has another number of dimensions.
    pub fn input(&self, index: usize, shape: &Shape) -> Result<Few<Label>, RunError> {
        let wrong = || RunError::input(shape, "dimensions that the equation has");
        self.inputs.get(index).and_then(|term| term.labels(shape.len())).ok_or_else(wrong)?
    }

    /// The labels of the result, where `...` stands for so many dimensions.
    ///
    /// # Errors
    /// [`RunError::Input`] for too many.
    pub fn output(&self, hidden: usize) -> Result<Few<Label>, RunError> {
        let hidden = if self.output.dots.is_some() { hidden } else { 0 };
        let wrong = || RunError::input("dimensions of `...`", "those of an input");
        self.output.labels(self.output.letters.len() + hidden).ok_or_else(wrong)?
    }
}

/// How many dimensions `...` stands for, judged by the labels of an input.
pub fn hidden(labels: &[Label]) -> usize {
    labels.iter().filter(|label| **label >= DOTS).count()
}
