//! Owns the losses: of what a network gave and what it should have given, the loss and its
//! gradient, both summed over rows, and the weight of those rows, which the sums are divided by.
//!
//! Refuses to know networks. Bound: one row at a time; sums over rows in f64.

use serde::{Deserialize, Serialize};
use truststram_model::kernels::{Isa, softmax_rows};

use crate::error::TrainError;

/// How far answers are from targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Loss {
    /// Of classes: minus the logarithm of the probability of the right one, by softmax.
    #[default]
    CrossEntropy,
    /// Of classes with smoothed targets: `smoothing` is divided among all classes.
    SmoothedCrossEntropy {
        /// From 0 to below 1.
        smoothing: f32,
    },
    /// Of two classes by one number: minus the logarithm of the probability, by a sigmoid.
    BinaryCrossEntropy,
    /// Of numbers: the mean square of the differences.
    Mse,
    /// Of numbers: half the square of a difference up to `delta`, and straight on from there.
    Huber {
        /// Above 0.
        delta: f32,
    },
}

/// What rows should give.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// A class per row.
    Classes(&'a [u32]),
    /// A number per output of each row.
    Numbers(&'a [f32]),
}

impl<'a> Targets<'a> {
    /// Those of rows from `first` on, `outputs` numbers each.
    pub(crate) fn rows(self, first: usize, count: usize, outputs: usize) -> Self {
        match self {
            Self::Classes(classes) => Self::Classes(&classes[first..first + count]),
            Self::Numbers(numbers) => {
                Self::Numbers(&numbers[first * outputs..(first + count) * outputs])
            }
        }
    }
}

/// Sums over rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Of the losses, times their weights.
    pub loss: f64,
    /// Of the weights.
    pub weight: f64,
}

impl Sums {
    /// Of both.
    pub fn and(self, other: Self) -> Self {
        Self { loss: self.loss + other.loss, weight: self.weight + other.weight }
    }

    /// The mean.
    pub fn mean(self) -> f64 {
        self.loss / self.weight
    }
}

impl Loss {
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        let (option, expected, holds) = match self {
            Self::SmoothedCrossEntropy { smoothing } => {
                ("loss.smoothing", "from 0 to below 1", (0.0..1.0).contains(smoothing))
            }
            Self::Huber { delta } => ("loss.delta", "a positive number", *delta > 0.0),
            Self::CrossEntropy | Self::BinaryCrossEntropy | Self::Mse => return Ok(()),
        };
        if holds { Ok(()) } else { Err(TrainError::Option { option, expected }) }
    }

    /// Whether targets are classes.
    pub fn is_of_classes(&self) -> bool {
        !matches!(self, Self::Mse | Self::Huber { .. })
    }

    /// Computes rows of `outputs` numbers, `given`, against their targets, and writes the gradient
    /// of each number. `given` may be overwritten. `class_weights` are one per class, or none.
    pub(crate) fn compute(
        &self,
        isa: Isa,
        outputs: usize,
        given: &mut [f32],
        targets: Targets<'_>,
        class_weights: &[f32],
        gradients: &mut [f32],
    ) -> Sums {
        match (self, targets) {
            (Self::BinaryCrossEntropy, Targets::Classes(classes)) => {
                binary(given, classes, class_weights, gradients)
            }
            (Self::CrossEntropy, Targets::Classes(classes)) => {
                cross_entropy(isa, outputs, given, (classes, class_weights, 0.0), gradients)
            }
            (Self::SmoothedCrossEntropy { smoothing }, Targets::Classes(classes)) => {
                let targets = (classes, class_weights, *smoothing);
                cross_entropy(isa, outputs, given, targets, gradients)
            }
            (Self::Huber { delta }, Targets::Numbers(numbers)) => {
                distances(given, numbers, gradients, |off| match off.abs() < *delta {
                    true => (0.5 * off * off, off),
                    false => (delta * (off.abs() - 0.5 * delta), delta * off.signum()),
                })
            }
            (_, Targets::Numbers(numbers)) => {
                distances(given, numbers, gradients, |off| (off * off, 2.0 * off))
            }
            // A loss of numbers has no answer for classes; NaN stops the training.
            (_, Targets::Classes(_)) => Sums { loss: f64::NAN, weight: 1.0 },
        }
    }
}

fn weight_of(class_weights: &[f32], class: u32) -> f32 {
    class_weights.get(class as usize).copied().unwrap_or(1.0)
}

fn cross_entropy(
    isa: Isa,
    outputs: usize,
    given: &mut [f32],
    (classes, class_weights, smoothing): (&[u32], &[f32], f32),
    gradients: &mut [f32],
) -> Sums {
    let mut sums = Sums::default();
    gradients.copy_from_slice(given);
    softmax_rows(isa, gradients, outputs);
    let share = smoothing / outputs as f32;
    let rows = given.chunks_exact(outputs).zip(gradients.chunks_exact_mut(outputs)).zip(classes);
    for ((scores, probabilities), &class) in rows {
        // The logarithm of a probability, from the scores where the probability has underflowed.
        let top = (0..outputs).fold(0, |top, at| if scores[at] > scores[top] { at } else { top });
        let of_top = probabilities[top].ln() - scores[top];
        let weight = weight_of(class_weights, class);
        let right = (1.0 - smoothing) * weight;
        let mut loss = -f64::from(right * (scores[class as usize] + of_top));
        sums.weight += f64::from(weight);
        if smoothing == 0.0 {
            probabilities.iter_mut().for_each(|value| *value *= weight);
        } else {
            let mut total = right;
            for (other, score) in scores.iter().enumerate() {
                let part = share * weight_of(class_weights, other as u32);
                total += part;
                loss -= f64::from(part * (score + of_top));
            }
            for (other, value) in probabilities.iter_mut().enumerate() {
                *value = *value * total - share * weight_of(class_weights, other as u32);
            }
        }
        probabilities[class as usize] -= right;
        sums.loss += loss;
    }
    sums
}

fn binary(given: &[f32], classes: &[u32], class_weights: &[f32], gradients: &mut [f32]) -> Sums {
    let mut sums = Sums::default();
    for ((score, &class), gradient) in given.iter().zip(classes).zip(gradients) {
        let weight = weight_of(class_weights, class);
        let target = class as f32;
        let rest = (-score.abs()).exp();
        let loss = score.max(0.0) - score * target + rest.ln_1p();
        let probability = if *score < 0.0 { rest / (1.0 + rest) } else { 1.0 / (1.0 + rest) };
        *gradient = weight * (probability - target);
        sums = sums.and(Sums { loss: f64::from(weight * loss), weight: 1.0 });
    }
    sums
}

fn distances(
    given: &[f32],
    numbers: &[f32],
    gradients: &mut [f32],
    loss: impl Fn(f32) -> (f32, f32),
) -> Sums {
    let mut sums = Sums::default();
    for ((given, number), gradient) in given.iter().zip(numbers).zip(gradients) {
        let (loss, slope) = loss(given - number);
        *gradient = slope;
        sums = sums.and(Sums { loss: f64::from(loss), weight: 1.0 });
    }
    sums
}
