//! Owns the face that every vector of a model's parameters has, wherever it lies.
//!
//! Refuses to know encodings. Bound: whoever reads brings the memory.

use std::sync::Arc;

use crate::error::FederateError;

/// One value per parameter of a model.
pub trait Rows: Send + Sync {
    /// How many values there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the values from `first` on, which are there.
    ///
    /// # Errors
    /// What the file system says.
    fn read(&self, first: usize, out: &mut [f32]) -> Result<(), FederateError>;

    /// The values from `first` on, if they can be used where they lie.
    fn borrow(&self, _first: usize, _count: usize) -> Option<&[f32]> {
        None
    }
}

impl Rows for Vec<f32> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn read(&self, first: usize, out: &mut [f32]) -> Result<(), FederateError> {
        out.copy_from_slice(&self[first..first + out.len()]);
        Ok(())
    }

    fn borrow(&self, first: usize, count: usize) -> Option<&[f32]> {
        self.get(first..first + count)
    }
}

impl<T: Rows + ?Sized> Rows for Arc<T> {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn read(&self, first: usize, out: &mut [f32]) -> Result<(), FederateError> {
        (**self).read(first, out)
    }

    fn borrow(&self, first: usize, count: usize) -> Option<&[f32]> {
        (**self).borrow(first, count)
    }
}

/// What weights have changed since a version of the model.
#[derive(Debug)]
pub struct Difference<W, B> {
    /// The weights.
    pub weights: W,
    /// The model that they were trained from.
    pub base: B,
}

impl<W: Rows, B: Rows> Rows for Difference<W, B> {
    fn len(&self) -> usize {
        self.weights.len().min(self.base.len())
    }

    fn read(&self, first: usize, out: &mut [f32]) -> Result<(), FederateError> {
        self.weights.read(first, out)?;
        const CHUNK: usize = 1_024;
        let mut chunk = [0.0; CHUNK];
        for (index, out) in out.chunks_mut(CHUNK).enumerate() {
            let base = &mut chunk[..out.len()];
            self.base.read(first + index * CHUNK, base)?;
            out.iter_mut().zip(base).for_each(|(value, base)| *value -= *base);
        }
        Ok(())
    }
}
