//! Owns the walks without vectors: several at once, so that each waits for memory while the others
//! go on, and no branch of the processor depends on a key.
//!
//! Refuses to know instruction sets. Bound: as many steps as the deepest of the trees walked
//! together has branches.

use super::keys::BLOCK_ROWS;
use super::packed::{Node, Packed};

/// Walks at once.
const LANES: usize = 8;
/// Steps between two looks at whether all walks have ended.
const STEPS: u32 = 2;

/// One step of all walks. `SPREAD` is how far apart the keys of the lanes lie.
///
/// # Safety
/// Every `at` must be a node of `nodes`, whose links must lead to nodes and to keys: see
/// [`Packed::nodes`]; `keys` must hold the rows of the lanes.
#[inline(always)]
unsafe fn step<const SPREAD: usize>(
    nodes: *const Node,
    shift: u32,
    keys: *const i32,
    at: &mut [u32; LANES],
) {
    let mask = (1u32 << shift) - 1;
    for (lane, at) in at.iter_mut().enumerate() {
        // SAFETY: the caller's promise; a child is a node again.
        unsafe {
            let node = *nodes.add(*at as usize);
            let place = (node.link & mask) as usize + lane * SPREAD;
            let is_more = *keys.add(place) > node.key;
            *at = (node.link >> shift) + u32::from(is_more);
        }
    }
}

/// Walks from `at` to leaves.
///
/// # Safety
/// As [`step`].
#[inline(always)]
unsafe fn walk<const SPREAD: usize>(
    packed: &Packed,
    keys: *const i32,
    at: &mut [u32; LANES],
    depth_min: u32,
    depth: u32,
) {
    let (nodes, shift) = (packed.nodes.as_ptr(), packed.shift);
    for _ in 0..depth_min {
        // SAFETY: the caller's promise.
        unsafe { step::<SPREAD>(nodes, shift, keys, at) };
    }
    let mut done = depth_min;
    while done < depth {
        for _ in 0..STEPS {
            // SAFETY: the caller's promise.
            unsafe { step::<SPREAD>(nodes, shift, keys, at) };
        }
        done += STEPS;
        // A leaf leads to itself, a branch never does.
        let before = *at;
        // SAFETY: the caller's promise.
        unsafe { step::<SPREAD>(nodes, shift, keys, at) };
        done += 1;
        if before == *at {
            break;
        }
    }
}

/// The first row in all trees, several trees at once. The caller has checked the lengths.
pub(super) fn one(packed: &Packed, keys: &[i32], leaves: &mut [u32]) {
    for group in packed.order.chunks(LANES) {
        let last = group.len() - 1;
        let trees: [_; LANES] =
            std::array::from_fn(|lane| packed.trees[group[lane.min(last)] as usize]);
        let mut at = trees.map(|tree| tree.root);
        let depth_min = trees.iter().map(|tree| tree.depth_min).min().unwrap_or(0);
        // SAFETY: roots are nodes, and the caller has checked that the keys hold one row.
        unsafe { walk::<0>(packed, keys.as_ptr(), &mut at, depth_min, trees[last].depth) };
        for (tree, at) in group.iter().zip(at) {
            leaves[*tree as usize] = packed.leaves[at as usize];
        }
    }
}

/// All rows of the blocks in all trees, a block of rows at once. The caller has checked the
/// lengths.
pub(super) fn blocks(packed: &Packed, keys: &[i32], rows: usize, leaves: &mut [u32]) {
    let block_keys = BLOCK_ROWS * packed.keys.width();
    for (tree, leaves) in packed.trees.iter().zip(leaves.chunks_exact_mut(rows)) {
        let blocks = keys.chunks_exact(block_keys).zip(leaves.chunks_exact_mut(BLOCK_ROWS));
        for (keys, leaves) in blocks {
            let mut at = [tree.root; LANES];
            // SAFETY: roots are nodes, and the keys are those of a whole block.
            unsafe { walk::<1>(packed, keys.as_ptr(), &mut at, tree.depth_min, tree.depth) };
            for (leaf, at) in leaves.iter_mut().zip(at) {
                *leaf = packed.leaves[at as usize];
            }
        }
    }
}
