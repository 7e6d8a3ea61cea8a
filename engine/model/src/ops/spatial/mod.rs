//! Operators that slide a window over one, two or three dimensions: convolutions and pools.
//!
//! Owns the settings of windows, the places that they cover, and what is computed of them.
//! Refuses more than three spatial dimensions. Bound: windows are computed one after the other;
//! columns for products are made in blocks of [`conv::COLUMN_COUNT_MAX`] values.

mod conv;
mod conv_inputs;
mod conv_integer;
mod conv_transpose;
mod deform_conv;
mod fold;
mod global_pool;
mod grid;
mod neighbours;
mod pool;
mod settings;
#[cfg(test)]
mod tests;
mod unpool;

use super::registry::Family;

/// The families here.
pub const FAMILIES: &[Family] = &[
    conv::OPERATORS,
    conv_integer::OPERATORS,
    conv_transpose::OPERATORS,
    deform_conv::OPERATORS,
    fold::OPERATORS,
    global_pool::OPERATORS,
    neighbours::OPERATORS,
    pool::OPERATORS,
    unpool::OPERATORS,
];
