//! Owns the keys and values that queries meet: those of a cache, then those of the input.
//!
//! Refuses caches that do not fit. Bound: vectors are read where they lie.

use super::heads::Heads;
use crate::ops::support::Float;
use crate::program::{Context, Inputs, RunError};
use crate::tensor::Tensor;

/// Vectors of all positions: those of the cache, then those of the input.
pub struct Cached<'a, T> {
    /// Those of the input.
    pub heads: Heads,
    values: &'a [T],
    /// Positions of the cache.
    pub past: usize,
    past_values: &'a [T],
}

impl<'a, T: Float> Cached<'a, T> {
    /// Of two inputs, the second of which may be absent; `count` is the number of heads, 0 where
    /// the dimensions say it.
    ///
    /// # Errors
    /// [`RunError::Input`] if they do not fit.
    pub fn of(
        inputs: &Inputs<'a>,
        own: usize,
        past: usize,
        count: usize,
    ) -> Result<Self, RunError> {
        let (shape, values) = inputs.values::<T>(own)?;
        let heads = Heads::of(shape, count)?;
        if inputs.get(past).is_none() {
            return Ok(Self { heads, values, past: 0, past_values: &[] });
        }
        let (past_shape, past_values) = inputs.values::<T>(past)?;
        match past_shape[..] {
            [batch, count, past, width]
                if [batch, count, width] == [heads.batch, heads.count, heads.width] =>
            {
                Ok(Self { heads, values, past, past_values })
            }
            _ => Err(RunError::input(format_args!("a cache of {past_shape} for {shape}"), "alike")),
        }
    }

    /// All positions.
    pub fn length(&self) -> usize {
        self.past + self.heads.length
    }

    /// The vector of a position of a head.
    pub fn vector(&self, item: usize, head: usize, position: usize) -> &'a [T] {
        let Heads { count, width, step, .. } = self.heads;
        match position.checked_sub(self.past) {
            None => {
                &self.past_values[((item * count + head) * self.past + position) * width..][..width]
            }
            Some(own) => &self.values[self.heads.start(item, head) + own * step..][..width],
        }
    }

    /// Writes all of them: the cache of a next run.
    ///
    /// # Errors
    /// [`RunError::TooLarge`].
    pub fn write(&self, output: &mut Tensor, context: &Context<'_>) -> Result<(), RunError> {
        let Heads { batch, count, width, .. } = self.heads;
        let out = context.shape_as::<T>(output, &[batch, count, self.length(), width])?;
        let vectors = (0..batch * count * self.length()).map(|index| {
            let (head, position) = (index / self.length(), index % self.length());
            self.vector(head / count, head % count, position)
        });
        out.chunks_exact_mut(width.max(1)).zip(vectors).for_each(|(out, vector)| {
            out.copy_from_slice(vector);
        });
        Ok(())
    }
}
