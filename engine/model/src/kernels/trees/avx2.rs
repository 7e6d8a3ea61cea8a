//! Owns the walks in lanes of 256 bits: a block of rows at once.
//!
//! Refuses hosts without AVX2. Bound: as
//! [`super::walk`].

use super::packed::Packed;
use super::walk;

/// All rows of the blocks in all trees. The caller has checked the lengths.
pub(super) fn blocks(packed: &Packed, keys: &[i32], rows: usize, leaves: &mut [u32]) {
    walk::blocks(packed, keys, rows, leaves);
}
