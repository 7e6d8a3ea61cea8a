//! Owns what is done to the scores of a row at the end: the setting `post_transform`.
//!
//! The formulas are those of ONNX Runtime in binary32, its short inverse of the error function
//! among them. Refuses to know who scored. Bound: the scores of one row.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::support::Wide;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostTransform {
    /// Nothing.
    None,
    /// Probabilities that sum to 1.
    Softmax,
    /// Each score's own probability.
    Logistic,
    /// As softmax, with scores of 0 left out.
    SoftmaxZero,
    /// The inverse of the normal distribution.
    Probit,
}

impl PostTransform {
    /// The setting of a node; nothing is done without it.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for a name that is none.
    pub fn of(view: &NodeView<'_>) -> Result<Self, ModelError> {
        Ok(match view.string("post_transform")?.unwrap_or("NONE") {
            "NONE" => Self::None,
            "SOFTMAX" => Self::Softmax,
            "LOGISTIC" => Self::Logistic,
            "SOFTMAX_ZERO" => Self::SoftmaxZero,
            "PROBIT" => Self::Probit,
            other => return Err(view.refuse(format_args!("`post_transform` {other} is none"))),
        })
    }

    /// Changes the scores of one row.
    pub fn apply<T: Wide>(self, scores: &mut [T]) {
        match self {
            Self::None => {}
            Self::Softmax => softmax(scores),
            Self::SoftmaxZero => softmax_zero(scores),
            Self::Logistic => each(scores, logistic),
            Self::Probit => each(scores, probit),
        }
    }
}

fn each<T: Wide>(scores: &mut [T], function: fn(f32) -> f32) {
    for score in scores {
        *score = T::of(f64::from(function(score.to_f64() as f32)));
    }
}

/// `1 / (1 + e^-x)`.
pub fn logistic(x: f32) -> f32 {
    let upper = 1.0 / (1.0 + (-x.abs()).exp());
    if x < 0.0 { 1.0 - upper } else { upper }
}

/// The inverse of the normal distribution; beyond 0 and 1 it is no number.
pub fn probit(x: f32) -> f32 {
    std::f32::consts::SQRT_2 * inverse_erf(2.0 * x - 1.0)
}

/// Winitzki's formula for the inverse of the error function, good to about 2e-3.
fn inverse_erf(x: f32) -> f32 {
    const A: f32 = 0.147;
    let sign = if x < 0.0 { -1.0 } else { 1.0 };
    let log = ((1.0 - x) * (1.0 + x)).ln();
    // The Runtime's constant has these six digits.
    #[allow(clippy::approx_constant, reason = "the same digits give the same scores")]
    let half = 2.0 / (3.14159 * A) + 0.5 * log;
    sign * (-half + (half * half - 1.0 / A * log).sqrt()).sqrt()
}

fn largest<T: Wide>(scores: &[T]) -> T {
    scores.iter().copied().fold(T::LOWEST, |most, score| if score > most { score } else { most })
}

fn softmax<T: Wide>(scores: &mut [T]) {
    let most = largest(scores);
    let mut total = T::ZERO;
    for score in &mut *scores {
        *score = (*score - most).exp();
        total += *score;
    }
    scores.iter_mut().for_each(|score| *score = *score / total);
}

fn softmax_zero<T: Wide>(scores: &mut [T]) {
    let most = largest(scores);
    let scale = (-most).exp();
    let mut total = T::ZERO;
    for score in &mut *scores {
        if score.abs() > T::of(1e-7) {
            *score = (*score - most).exp();
            total += *score;
        } else {
            *score = *score * scale;
        }
    }
    scores.iter_mut().for_each(|score| *score = *score / total);
}
