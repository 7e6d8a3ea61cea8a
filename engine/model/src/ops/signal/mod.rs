//! Operators on signals: from time to frequency and back.
//!
//! Owns the discrete Fourier transform, of whole signals and of frames.
//! Refuses lengths with large prime factors. Bound: a few copies of one signal in scratch memory.

mod dft;
mod fourier;
mod frames;
#[cfg(test)]
mod tests;

use super::registry::Family;

/// The families here.
pub const FAMILIES: &[Family] = &[dft::OPERATORS, frames::OPERATORS];
