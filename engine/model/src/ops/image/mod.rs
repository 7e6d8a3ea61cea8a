//! Operators that take samples of images between their pixels.
//!
//! Owns resizing, grids of places, and regions.
//! Refuses integers where pixels are mixed. Bound: what a run writes is limited by the context.

mod affine_grid;
mod grid_sample;
mod resize;
mod resize_sizes;
mod resize_taps;
mod roi_align;
#[cfg(test)]
mod tests;

use super::registry::Family;

/// The families here.
pub const FAMILIES: &[Family] =
    &[affine_grid::OPERATORS, grid_sample::OPERATORS, resize::OPERATORS, roi_align::OPERATORS];
