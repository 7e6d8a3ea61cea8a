//! Owns how an axis cuts a tensor into lines.
//!
//! Refuses to know what is done with a line. Bound: arithmetic on the shape.

use crate::tensor::Shape;

/// A tensor as `outer` blocks of `length` steps that lie `inner` values apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    /// Blocks before the axis.
    pub outer: usize,
    /// Steps along the axis.
    pub length: usize,
    /// Values between two steps.
    pub inner: usize,
}

impl Lines {
    /// Along one axis of a shape.
    pub fn along(shape: &Shape, axis: usize) -> Self {
        Self {
            outer: shape[..axis].iter().product(),
            length: shape[axis],
            inner: shape[axis + 1..].iter().product(),
        }
    }

    /// From an axis to the end, as one line.
    pub fn from(shape: &Shape, axis: usize) -> Self {
        let (before, after) = shape.split_at(axis);
        Self { outer: before.iter().product(), length: after.iter().product(), inner: 1 }
    }

    /// The index of the first value of each line.
    pub fn starts(self) -> impl Iterator<Item = usize> {
        let block = self.length * self.inner;
        (0..self.outer).flat_map(move |outer| (0..self.inner).map(move |at| outer * block + at))
    }

    /// The index of each value of the line that starts at `start`.
    pub fn places(self, start: usize) -> impl Iterator<Item = usize> + Clone {
        (0..self.length).map(move |step| start + step * self.inner)
    }
}
