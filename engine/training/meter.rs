//! Owns the pace of a job: rows in a second and the time that is left.
//!
//! Refuses to look at a clock: it is told the time. Bound: two numbers.

use truststram_train::Step;

/// Rows and steps since a job was begun or gone on with.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    begun_us: u64,
    rows: u64,
    steps: u64,
}

impl Meter {
    /// Begins now.
    pub fn new(now_us: u64) -> Self {
        Self { begun_us: now_us, rows: 0, steps: 0 }
    }

    /// Takes in a step; gives back rows in a second and the seconds that are left, once they can
    /// be told.
    pub fn add(&mut self, step: &Step, now_us: u64) -> Option<(f64, f64)> {
        self.rows += step.rows as u64;
        self.steps += 1;
        let elapsed_s = now_us.saturating_sub(self.begun_us) as f64 / 1e6;
        let left = step.steps.saturating_sub(step.step);
        let eta_s = elapsed_s / self.steps as f64 * left as f64;
        (elapsed_s > 0.0).then(|| (self.rows as f64 / elapsed_s, eta_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_since_the_beginning() {
        let step = |number| Step {
            epoch: 0,
            epochs: 1,
            step: number,
            steps: 110,
            loss: 1.0,
            held_out_loss: None,
            held_out_accuracy: None,
            rate: 0.1,
            rows: 32,
            part_rows: 32,
        };
        let mut meter = Meter::new(5_000_000);
        assert_eq!(meter.add(&step(101), 5_000_000), None);
        assert_eq!(meter.add(&step(102), 7_000_000), Some((32.0, 8.0)));
    }
}
