//! Owns numbers for the tests of this crate.
//!
//! Refuses to be of use elsewhere. Bound: as many as asked for.

use crate::random::Random;

impl Random {
    /// A number within ±1.
    pub fn number(&mut self) -> f32 {
        (2.0 * self.unit() - 1.0) as f32
    }

    pub fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.number()).collect()
    }
}
