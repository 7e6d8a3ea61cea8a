//! Linear layers: rows times constant weights, plus bias, through an activation.
//!
//! Owns the weights packed as f32, bf16 and 8-bit numbers, and the rounding of the rows to them.
//! Refuses to know operators. Bound: rows beyond what the slices hold are left out; scratch grows
//! to one copy of the rows.

mod bf16;
mod float;
mod int8;
#[cfg(test)]
mod tests;
mod weights;

pub(super) use bf16::rounded;
pub use bf16::{PackedBf16, linear_bf16};
pub use float::{PackedF32, linear_f32};
pub use int8::{Input, Int8Scratch, PackedI8, linear_i8, quantise_weights};
pub use weights::{Layer, Weights};
