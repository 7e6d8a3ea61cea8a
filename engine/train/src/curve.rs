//! Owns what is remembered of a training's way: the loss at some of its steps, and the figures of
//! its epochs.
//!
//! Refuses to know files. What is kept depends on the numbers of steps alone, so that a training
//! that was killed leaves the same curve. Bound: [`POINTS_MAX`] points of each kind; where there
//! are more, every second one is dropped.

use serde::{Deserialize, Serialize};

use crate::fit::Step;

/// Most points of one kind.
const POINTS_MAX: usize = 1_024;

/// The way of a training so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    /// The loss after steps.
    pub steps: Thinned<StepPoint>,
    /// What held-out rows said after epochs.
    pub epochs: Thinned<EpochPoint>,
}

/// Points whose numbers are multiples of a power of two, the first ones besides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thinned<T> {
    stride: u64,
    /// The points, by their numbers.
    pub points: Vec<T>,
}

/// The loss after a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepPoint {
    /// Steps done.
    pub step: u64,
    /// Mean loss of the epoch so far.
    pub loss: f64,
}

/// The figures of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochPoint {
    /// Epochs done.
    pub epoch: u64,
    /// Steps done.
    pub step: u64,
    /// Mean loss of the epoch.
    pub loss: f64,
    /// Mean loss of held-out rows.
    pub held_out_loss: f64,
    /// The share of held-out rows that get their class.
    pub held_out_accuracy: Option<f64>,
}

/// A point that has a number, and the step it belongs to.
pub trait Numbered {
    /// Its number.
    fn number(&self) -> u64;
    /// Its step.
    fn step(&self) -> u64;
}

impl Numbered for StepPoint {
    fn number(&self) -> u64 {
        self.step
    }

    fn step(&self) -> u64 {
        self.step
    }
}

impl Numbered for EpochPoint {
    fn number(&self) -> u64 {
        self.epoch
    }

    fn step(&self) -> u64 {
        self.step
    }
}

impl<T> Default for Thinned<T> {
    fn default() -> Self {
        Self { stride: 1, points: Vec::new() }
    }
}

impl<T: Numbered> Thinned<T> {
    fn add(&mut self, point: T) {
        if !point.number().is_multiple_of(self.stride) {
            return;
        }
        self.points.push(point);
        while self.points.len() > POINTS_MAX {
            self.stride = self.stride.saturating_mul(2);
            self.points.retain(|point| point.number().is_multiple_of(self.stride));
        }
    }
}

impl Curve {
    /// Takes in a step. What is known of it and of later ones is from before a kill, and goes.
    pub fn add(&mut self, step: &Step) {
        let is_before = |known: u64| known < step.step;
        while self.steps.points.pop_if(|point| !is_before(point.step())).is_some() {}
        while self.epochs.points.pop_if(|point| !is_before(point.step())).is_some() {}
        self.steps.add(StepPoint { step: step.step, loss: step.loss });
        if let Some(held_out_loss) = step.held_out_loss {
            self.epochs.add(EpochPoint {
                epoch: step.epoch as u64,
                step: step.step,
                loss: step.loss,
                held_out_loss,
                held_out_accuracy: step.held_out_accuracy,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(number: u64) -> Step {
        let is_end = number.is_multiple_of(4);
        Step {
            epoch: (number / 4) as usize,
            epochs: 10_000,
            step: number,
            steps: 40_000,
            loss: 1.0 / number as f64,
            held_out_loss: is_end.then_some(0.5),
            held_out_accuracy: is_end.then_some(0.75),
            rate: 0.1,
            rows: 8,
            part_rows: 8,
        }
    }

    #[test]
    fn a_curve_is_bounded_and_the_same_after_a_kill() {
        let mut whole = Curve::default();
        (1..=9_999).for_each(|number| whole.add(&step(number)));
        assert!((512..=POINTS_MAX).contains(&whole.steps.points.len()));
        assert!((512..=POINTS_MAX).contains(&whole.epochs.points.len()));
        assert!(whole.steps.points.is_sorted_by_key(|point| point.step));
        let mut killed = Curve::default();
        (1..=3_000).for_each(|number| killed.add(&step(number)));
        // The checkpoint was older than what is known.
        let text = serde_json::to_string(&killed).unwrap();
        let mut killed: Curve = serde_json::from_str(&text).unwrap();
        (2_049..=9_999).for_each(|number| killed.add(&step(number)));
        let numbers = |curve: &Curve| {
            let steps: Vec<u64> = curve.steps.points.iter().map(|point| point.step).collect();
            let epochs: Vec<u64> = curve.epochs.points.iter().map(|point| point.epoch).collect();
            (steps, epochs)
        };
        assert_eq!(numbers(&whole), numbers(&killed));
    }
}
