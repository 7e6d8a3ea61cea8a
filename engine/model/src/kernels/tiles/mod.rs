//! Products of a matrix with packed weights, tile by tile.
//!
//! Owns the layout of packed weights, the products of words of 32 bits (one f32, two bf16 or four
//! 8-bit numbers), the tiles that stay in registers and the division among cores.
//! Refuses to know where weights come from. Bound: a sum runs over the words in an order that
//! depends only on the weights' shape, so neither batch nor instruction set change a result.

mod divide;
mod int8;
mod panels;
mod product;
mod product_bf16;
mod sweep;

pub use divide::{Number, multiply};
pub use int8::{Int8, int8_product};
pub use panels::{PANEL, Panels, vectors};
pub use product::{Floats, ProductKernel};
pub use product_bf16::halves_product;
pub use sweep::{Finish, Job};
