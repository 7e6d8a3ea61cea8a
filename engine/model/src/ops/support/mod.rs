//! What several operators need: small lists, axes, integers of either width, floating-point types,
//! strided copies.
//!
//! Owns no operator and refuses to know any. Bound: lists of [`FEW_MAX`] values; nothing here
//! allocates.

mod axis;
mod dtype;
mod few;
mod float;
mod integers;
mod like;
mod order;
mod picked;
mod product;
mod strided;
#[cfg(test)]
mod testing;

pub use axis::{allowed, axis, axis_or_end, check_axes, unique_axes};
pub use dtype::dtype_setting;
pub use few::Few;
pub use float::{BUFFER_COUNT, Float, Number, Wide, is_nan, odd};
pub use integers::{few_ints, index_at, int_at, number_at, one_int, whole_at};
pub use like::{shape_like, values_like};
pub use order::ascending;
pub use picked::{OUTSIDE, pick};
pub use product::{Multiplied, Product};
pub use strided::View;
#[cfg(test)]
pub use testing::{Case, evaluate_twice, ints};
