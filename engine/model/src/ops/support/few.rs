//! Owns a short list that lives on the stack: dimensions, strides, axes.
//!
//! Refuses to grow. Bound: [`FEW_MAX`] values.

use std::ops::{Deref, DerefMut};

use crate::program::RunError;
use crate::tensor::RANK_MAX;

/// Most values of a [`Few`]: each dimension of a tensor may be cut in two.
pub const FEW_MAX: usize = 2 * RANK_MAX;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Few<T> {
    values: [T; FEW_MAX],
    len: usize,
}

impl<T: Copy + Default> Few<T> {
    /// No values.
    pub fn new() -> Self {
        Self { values: [T::default(); FEW_MAX], len: 0 }
    }

    /// The same value, `count` times.
    ///
    /// # Errors
    /// [`RunError::Input`] if they are too many.
    pub fn filled(value: T, count: usize) -> Result<Self, RunError> {
        let mut few = Self::new();
        for _ in 0..count {
            few.push(value)?;
        }
        Ok(few)
    }

    /// These values.
    ///
    /// # Errors
    /// [`RunError::Input`] if they are too many.
    pub fn of(values: &[T]) -> Result<Self, RunError> {
        let mut few = Self::new();
        for value in values {
            few.push(*value)?;
        }
        Ok(few)
    }

    /// One value more.
    ///
    /// # Errors
    /// [`RunError::Input`] if there is no place.
    pub fn push(&mut self, value: T) -> Result<(), RunError> {
        let too_many = || RunError::input("more dimensions", format_args!("at most {FEW_MAX}"));
        *self.values.get_mut(self.len).ok_or_else(too_many)? = value;
        self.len += 1;
        Ok(())
    }

    /// One value more, in front of the one at `index`.
    ///
    /// # Errors
    /// [`RunError::Input`] if there is no place.
    pub fn insert(&mut self, index: usize, value: T) -> Result<(), RunError> {
        self.push(value)?;
        if let Some(tail) = self.get_mut(index..) {
            tail.rotate_right(1);
        }
        Ok(())
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values[..self.len]
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values[..self.len]
    }
}
