//! Owns the attention of texts that lie one after the other: each token looks at those of its own
//! text, head by head.
//!
//! Refuses to know where queries, keys and values come from. Bound: the scores of a block of rows
//! of one head at a time; the bits of a text's result depend on that text alone, not on the batch,
//! the instruction set or the team.

use super::lanes::{COUNT, Kernel, Lanes, dispatch};
use super::rows::{exp_row, scale_row};
use super::tiles::{Finish, Job, Number, PANEL, multiply, vectors};
use super::{Activation, Alone, Isa, Team};

/// Scores that are computed before they are used: as many as stay near.
const SCORES_MAX: usize = 8_192;
/// Rows of such a block, where texts are long.
const ROWS_MIN: usize = 8;
/// Products of queries with keys that a core makes in a nanosecond, with all that follows of them.
const PRODUCTS_PER_NANO: usize = 16;

/// What is attended to.
#[derive(Debug)]
pub struct Attention<'a> {
    /// Per token its queries, then its keys, then its values, each `heads` times `size` numbers.
    pub qkv: &'a [f32],
    /// Where the texts begin, and where the last one ends, in tokens.
    pub offsets: &'a [u32],
    /// Heads.
    pub heads: usize,
    /// Numbers of one head.
    pub size: usize,
    /// Factor of the scores.
    pub scale: f32,
    /// Per token `heads` times `size` numbers.
    pub out: &'a mut [f32],
}

impl Attention<'_> {
    fn fits(&self) -> bool {
        let Some(width) = self.heads.checked_mul(self.size).filter(|width| *width > 0) else {
            return false;
        };
        let tokens = self.out.len() / width;
        let inside = |pair: &[u32]| pair[0] <= pair[1] && pair[1] as usize <= tokens;
        self.qkv.len() / width / 3 >= tokens && self.offsets.windows(2).all(inside)
    }

    fn lengths(&self) -> impl Iterator<Item = usize> {
        self.offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize)
    }
}

/// Rows of a text of this length whose scores are computed together.
fn block(length: usize) -> usize {
    (SCORES_MAX / length.max(1)).max(ROWS_MIN).next_multiple_of(8).min(length)
}

/// Where the numbers of one head of one text lie. Who makes one promises that all of it is there,
/// and that nobody else writes to the same outputs.
#[derive(Clone, Copy)]
struct Head {
    isa: Isa,
    query: *const f32,
    key: *const f32,
    value: *const f32,
    /// Numbers from one token to the next.
    stride: usize,
    length: usize,
    size: usize,
    scale: f32,
    out: *mut f32,
    out_stride: usize,
}

/// Lets a team share the pointers of an attention.
#[derive(Clone, Copy)]
struct Shared {
    qkv: *const f32,
    out: *mut f32,
    scratch: *mut f32,
}

// SAFETY: the parts read the same numbers and write to disjoint ones, and the slices behind the
// pointers are held until all parts are done.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// The whole of it, for closures would share its fields one by one.
    fn all(&self) -> Self {
        *self
    }
}

/// Numbers of scratch for a text of this length: its keys and values packed, and scores.
fn scratch_count(length: usize, size: usize) -> usize {
    let keys = vectors(length) * COUNT * size;
    let values = vectors(size) * COUNT * length;
    (keys + values + block(length) * length).next_multiple_of(COUNT)
}

/// Computes `softmax(scale · Q · Kᵀ) · V` for each text and head. Scratch grows to what the longest
/// text needs, once per core that helps. Slices that are too short are a mistake of the caller:
/// nothing is computed.
pub fn attention_f32(isa: Isa, team: &dyn Team, attention: Attention<'_>, scratch: &mut Vec<f32>) {
    let fits = attention.fits();
    debug_assert!(fits, "the slices of an attention are too short");
    if !fits {
        return;
    }
    let Attention { heads, size, scale, offsets, .. } = attention;
    let products: usize = attention.lengths().map(|length| length * length * size * heads).sum();
    let parts = team.parts(products / PRODUCTS_PER_NANO).clamp(1, heads);
    let longest = attention.lengths().max().unwrap_or(0);
    let part_count = scratch_count(longest, size);
    // Room to begin at a cache line.
    let count = part_count * parts + COUNT;
    if scratch.len() < count {
        scratch.resize(count, 0.0);
    }
    let skipped = scratch.as_ptr().align_offset(64).min(COUNT);
    let width = heads * size;
    let shared = Shared {
        qkv: attention.qkv.as_ptr(),
        out: attention.out.as_mut_ptr(),
        scratch: scratch[skipped..].as_mut_ptr(),
    };
    let part = |index: usize| {
        let Shared { qkv, out, scratch } = shared.all();
        let scratch = scratch.wrapping_add(index * part_count);
        for pair in offsets.windows(2) {
            let (start, length) = (pair[0] as usize, (pair[1] - pair[0]) as usize);
            if length == 0 {
                continue;
            }
            for head in index * heads / parts..(index + 1) * heads / parts {
                let query = qkv.wrapping_add(start * 3 * width + head * size);
                let head = Head {
                    isa,
                    query,
                    key: query.wrapping_add(width),
                    value: query.wrapping_add(2 * width),
                    stride: 3 * width,
                    length,
                    size,
                    scale,
                    out: out.wrapping_add(start * width + head * size),
                    out_stride: width,
                };
                // SAFETY: `fits` has checked the slices; each part has its own heads and scratch.
                unsafe { attend(&head, scratch) };
            }
        }
    };
    match parts {
        1 => part(0),
        _ => team.run(parts, &part),
    }
}

/// One head of one text.
///
/// # Safety
/// What the head promises, and scratch of [`scratch_count`] numbers.
unsafe fn attend(head: &Head, scratch: *mut f32) {
    let Head { isa, length, size, stride, .. } = *head;
    let keys = scratch;
    let values = keys.wrapping_add(vectors(length) * COUNT * size);
    let scores = values.wrapping_add(vectors(size) * COUNT * length);
    dispatch(isa, Pack { head, keys, values });
    let rows = block(length);
    let mut first = 0;
    while first < length {
        let count = rows.min(length - first);
        let products = Job {
            x: head.query.wrapping_add(first * stride).cast(),
            x_stride: stride,
            x_step: 1,
            rows: (0, count),
            weights: keys.cast(),
            matrix_stride: None,
            words: size,
            columns: length,
            panels: (0, 0),
            out: scores,
            out_stride: length,
            adds: false,
            finish: Finish { scale: head.scale, ..Finish::plain(None, Activation::None) },
        };
        multiply(isa, &Alone, Number::F32, &products);
        let out = head.out.wrapping_add(first * head.out_stride);
        let sums = Job {
            x: scores.cast(),
            x_stride: length,
            weights: values.cast(),
            words: length,
            columns: size,
            out,
            out_stride: head.out_stride,
            finish: Finish::plain(None, Activation::None),
            ..products
        };
        dispatch(isa, Weigh { head, scores, rows: count, sums: &sums });
        first += count;
    }
}

/// Packs keys and values as [`super::tiles::Panels`] lies.
struct Pack<'a> {
    head: &'a Head,
    keys: *mut f32,
    values: *mut f32,
}

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Head { key, value, stride, length, size, .. } = *self.head;
        // SAFETY: the head has `length` tokens of `size` numbers, and the places hold them, padded
        // to whole vectors.
        unsafe {
            pack_turned::<L>(key, stride, length, size, self.keys);
            pack::<L>(value, stride, length, size, self.values);
        }
    }
}

/// Rows of `columns` numbers as panels.
///
/// # Safety
/// The rows can be read, and as many panels written as hold them.
#[inline(always)]
unsafe fn pack<L: Lanes>(
    from: *const f32,
    stride: usize,
    rows: usize,
    columns: usize,
    to: *mut f32,
) {
    let mut first = 0;
    while first < columns {
        let width = PANEL.min(vectors(columns - first));
        let panel = to.wrapping_add(first * rows);
        for vector in 0..width {
            let column = first + vector * COUNT;
            let count = COUNT.min(columns - column);
            for row in 0..rows {
                // SAFETY: row and column lie within the matrix and the panels.
                unsafe {
                    let numbers = L::load_part(from.add(row * stride + column), count, 0.0);
                    numbers.store(panel.add((row * width + vector) * COUNT));
                }
            }
        }
        first += width * COUNT;
    }
}

/// The same of the transposed matrix: its columns are the rows that are read.
///
/// # Safety
/// The rows can be read, and as many panels written as hold them.
#[inline(always)]
unsafe fn pack_turned<L: Lanes>(
    from: *const f32,
    stride: usize,
    rows: usize,
    columns: usize,
    to: *mut f32,
) {
    let mut first = 0;
    while first < rows {
        let width = PANEL.min(vectors(rows - first));
        let panel = to.wrapping_add(first * columns);
        for vector in 0..width {
            let row = first + vector * COUNT;
            let count = COUNT.min(rows - row);
            let mut column = 0;
            while column < columns {
                let part = COUNT.min(columns - column);
                let mut block = [L::splat(0.0); COUNT];
                for (index, numbers) in block.iter_mut().enumerate().take(count) {
                    // SAFETY: rows and columns lie within the matrix.
                    *numbers = unsafe {
                        L::load_part(from.add((row + index) * stride + column), part, 0.0)
                    };
                }
                let block = L::transpose(block);
                for (index, numbers) in block.into_iter().enumerate().take(part) {
                    // SAFETY: the panel has a place for each of its words.
                    unsafe {
                        numbers.store(panel.add(((column + index) * width + vector) * COUNT));
                    }
                }
                column += part;
            }
        }
        first += width * COUNT;
    }
}

/// Turns scores into weights and sums up the values by them.
struct Weigh<'a> {
    head: &'a Head,
    scores: *mut f32,
    rows: usize,
    sums: &'a Job,
}

impl Kernel for Weigh<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Head { isa, length, size, out_stride, .. } = *self.head;
        let mut first = 0;
        while first < self.rows {
            let count = ROWS_MIN.min(self.rows - first);
            let mut totals = [0.0; ROWS_MIN];
            for (row, total) in totals.iter_mut().enumerate().take(count) {
                // SAFETY: the scores have `rows` rows of `length` numbers, at least one.
                *total = unsafe { exp_row::<L>(self.scores.add((first + row) * length), length) };
            }
            multiply(isa, &Alone, Number::F32, &self.sums.at_rows(first, first + count));
            // The numbers of a head are fewer than its scores: they are divided by the totals.
            for (row, total) in totals.iter().enumerate().take(count) {
                // SAFETY: the outputs have `rows` rows, and `size` numbers of each are ours.
                unsafe {
                    let out = self.sums.out.add((first + row) * out_stride);
                    scale_row::<L>(out, size, 1.0 / total);
                }
            }
            first += count;
        }
    }
}

#[cfg(test)]
mod tests;
