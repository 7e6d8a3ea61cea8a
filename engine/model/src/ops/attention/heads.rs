//! Owns where the heads of a tensor lie, in three dimensions or in four.
//!
//! Refuses widths that heads do not divide. Bound: arithmetic on the shape.

use crate::program::RunError;
use crate::tensor::Shape;

/// Vectors by batch, head and position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Sequences.
    pub batch: usize,
    /// Heads of a sequence.
    pub count: usize,
    /// Positions of a sequence.
    pub length: usize,
    /// Values of a head at a position.
    pub width: usize,
    /// Values from one position to the next.
    pub step: usize,
    /// Values from one head to the next.
    between: usize,
}

impl Heads {
    /// Of `[batch, heads, length, width]`, or of `[batch, length, heads · width]` where the number
    /// of heads is given.
    ///
    /// # Errors
    /// [`RunError::Input`] for other shapes.
    pub fn of(shape: &Shape, count: usize) -> Result<Self, RunError> {
        match shape[..] {
            [batch, heads, length, width] if count == 0 || count == heads => {
                let between = length * width;
                Ok(Self { batch, count: heads, length, width, step: width, between })
            }
            [batch, length, all] if count > 0 && all.is_multiple_of(count) => {
                let width = all / count;
                Ok(Self { batch, count, length, width, step: all, between: width })
            }
            _ => Err(RunError::input(format_args!("{shape} for {count} heads"), "heads")),
        }
    }

    /// Where a head of a sequence begins.
    pub fn start(&self, item: usize, head: usize) -> usize {
        item * self.count * self.length * self.width + head * self.between
    }
}
