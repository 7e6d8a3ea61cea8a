//! Owns the tile, which is summed up in registers, and the sweep of tiles over rows and panels.
//!
//! Refuses to know what words hold. Bound: 24 vectors of sums where there are 32 registers, 4
//! elsewhere; each output's sum runs over the words in one order, in [`chains`] chains that depend
//! only on the width of its panel.

use super::panels::PANEL;
use super::product::{Product, ProductKernel};
use crate::kernels::Activation;
use crate::kernels::activation::activate_stretch;
use crate::kernels::lanes::{COUNT, Lanes};
use crate::kernels::math;

/// What happens to a sum before it is written.
#[derive(Clone, Copy)]
pub struct Finish {
    /// One per column, or null.
    pub bias: *const f32,
    /// Applied last.
    pub activation: Activation,
    /// Factor of f32 products.
    pub scale: f32,
    /// Per row of the input, for quantised products: its scale and its zero point.
    pub row_scales: *const f32,
    /// See above.
    pub row_zeros: *const i32,
    /// Per column, padded to whole vectors: the weights' scale and their sum.
    pub column_scales: *const f32,
    /// See above.
    pub column_sums: *const i32,
}

impl Finish {
    /// Nothing but an optional bias and an activation.
    pub fn plain(bias: Option<&[f32]>, activation: Activation) -> Self {
        Self {
            bias: bias.map_or(std::ptr::null(), <[f32]>::as_ptr),
            activation,
            scale: 1.0,
            row_scales: std::ptr::null(),
            row_zeros: std::ptr::null(),
            column_scales: std::ptr::null(),
            column_sums: std::ptr::null(),
        }
    }
}

/// A product of rows with packed weights. Who makes one promises that everything it points to is
/// as large as it says and stays so, and that no other job writes to the same outputs.
#[derive(Clone, Copy)]
pub struct Job {
    /// The rows, in words.
    pub x: *const u32,
    /// Words from one row to the next.
    pub x_stride: usize,
    /// The first row and the one after the last.
    pub rows: (usize, usize),
    /// See [`super::Panels`].
    pub weights: *const u32,
    /// Words of a column.
    pub words: usize,
    /// All columns of the weights.
    pub columns: usize,
    /// The first panel and the one after the last.
    pub panels: (usize, usize),
    /// Row after row.
    pub out: *mut f32,
    /// Numbers from one row of the output to the next.
    pub out_stride: usize,
    /// What happens to a sum.
    pub finish: Finish,
}

impl Job {
    /// The part of it at these panels.
    pub fn at_panels(&self, first: usize, last: usize) -> Self {
        Self { panels: (first, last), ..*self }
    }

    /// The part of it at these rows.
    pub fn at_rows(&self, first: usize, last: usize) -> Self {
        Self { rows: (first, last), ..*self }
    }
}

// SAFETY: a job is a view of slices that its maker holds until all parts of it are done, and parts
// write to disjoint outputs.
unsafe impl Send for Job {}
// SAFETY: as above.
unsafe impl Sync for Job {}

/// Chains into which a sum in a panel of so many vectors is divided: narrow panels would wait for
/// one chain otherwise.
const fn chains(width: usize) -> usize {
    match width {
        1 => 4,
        2 => 2,
        _ => 1,
    }
}

/// Where a tile stands.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    column: usize,
    /// The first word of the first column.
    weights: *const u32,
}

/// `ROWS` rows by `PANELS` panels, `WIDTH` vectors apart in memory, of each `VECTORS` vectors, in
/// `CHAINS` chains.
///
/// # Safety
/// The place must lie within the job, and the host must have the instructions of `P`.
#[inline(always)]
unsafe fn tile<
    P: Product,
    const ROWS: usize,
    const PANELS: usize,
    const WIDTH: usize,
    const VECTORS: usize,
    const CHAINS: usize,
>(
    job: &Job,
    place: Place,
) {
    let mut sums = [[[[P::zero(); VECTORS]; PANELS]; ROWS]; CHAINS];
    let panel_words = job.words * WIDTH * COUNT;
    // SAFETY: rows and words lie within the job.
    unsafe {
        let x = job.x.add(place.row * job.x_stride);
        let mut word = 0;
        while word + CHAINS <= job.words {
            for (chain, sums) in sums.iter_mut().enumerate() {
                let x = x.add(word + chain);
                let w = place.weights.add((word + chain) * WIDTH * COUNT);
                step::<P, ROWS, PANELS, VECTORS>(x, job.x_stride, w, panel_words, sums);
            }
            word += CHAINS;
        }
        if CHAINS > 1 {
            for (chain, sums) in sums.iter_mut().enumerate() {
                if word + chain < job.words {
                    let x = x.add(word + chain);
                    let w = place.weights.add((word + chain) * WIDTH * COUNT);
                    step::<P, ROWS, PANELS, VECTORS>(x, job.x_stride, w, panel_words, sums);
                }
            }
        }
    }
    let mut chains = CHAINS / 2;
    while chains > 0 {
        let (kept, others) = sums.split_at_mut(chains);
        let kept = kept.as_flattened_mut().as_flattened_mut().as_flattened_mut();
        let others = others.as_flattened().as_flattened().as_flattened();
        for (sum, other) in kept.iter_mut().zip(others) {
            *sum = P::join(*sum, *other);
        }
        chains /= 2;
    }
    // SAFETY: the caller's promise.
    unsafe { write::<P, ROWS, PANELS, VECTORS>(job, place, &sums[0]) };
}

/// One word of each row by one word of each column.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn step<P: Product, const ROWS: usize, const PANELS: usize, const VECTORS: usize>(
    x: *const u32,
    x_stride: usize,
    w: *const u32,
    panel_words: usize,
    sums: &mut [[[P::Sum; VECTORS]; PANELS]; ROWS],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut words = [[P::splat(0); VECTORS]; PANELS];
        for (panel, words) in words.iter_mut().enumerate() {
            for (vector, words) in words.iter_mut().enumerate() {
                *words = P::load(w.add(panel * panel_words + vector * COUNT));
            }
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            let x = P::splat(x.add(row * x_stride).read_unaligned());
            for (words, sums) in words.iter().zip(sums) {
                for (word, sum) in words.iter().zip(sums) {
                    *sum = P::step(x, *word, *sum);
                }
            }
        }
    }
}

/// Finishes the sums and writes them.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn write<P: Product, const ROWS: usize, const PANELS: usize, const VECTORS: usize>(
    job: &Job,
    place: Place,
    sums: &[[[P::Sum; VECTORS]; PANELS]; ROWS],
) {
    let is_relu = job.finish.activation == Activation::Relu;
    let out = job.out.wrapping_add(place.row * job.out_stride);
    for panel in 0..PANELS {
        for vector in 0..VECTORS {
            let column = place.column + (panel * VECTORS + vector) * COUNT;
            let count = COUNT.min(job.columns.saturating_sub(column));
            for (row, sums) in sums.iter().enumerate() {
                let sum = sums[panel][vector];
                // SAFETY: row and columns lie within the job.
                unsafe {
                    let value = P::result(&job.finish, place.row + row, column, count, sum);
                    let value = if is_relu { math::relu(value) } else { value };
                    let out = out.add(row * job.out_stride + column);
                    if count == COUNT { value.store(out) } else { value.store_part(out, count) }
                }
            }
        }
    }
    if !is_relu && job.finish.activation != Activation::None {
        let count = (PANELS * VECTORS * COUNT).min(job.columns.saturating_sub(place.column));
        for row in 0..ROWS {
            // SAFETY: as above; the values were just written.
            unsafe {
                let out = out.add(row * job.out_stride + place.column);
                activate_stretch::<P::Lanes>(job.finish.activation, out, count);
            }
        }
    }
}

/// Tiles of `ROWS` rows over all rows and panels of a job; the rows must divide by `ROWS`.
pub struct Sweep<'a, const ROWS: usize>(pub &'a Job);

impl<const ROWS: usize> ProductKernel for Sweep<'_, ROWS> {
    type Output = ();

    #[inline(always)]
    fn run<P: Product>(self) {
        let job = self.0;
        let vectors = super::vectors(job.columns);
        let whole = (vectors / PANEL).min(job.panels.1);
        let mut panel = job.panels.0;
        // SAFETY: panels and rows lie within the job, whose maker promises the rest.
        unsafe {
            if P::Lanes::IS_WIDE {
                // One row has too few sums to keep the processor busy with one panel.
                if ROWS <= 2 {
                    while panel + 4 <= whole {
                        rows::<P, ROWS, 4, 3, 3, 1>(job, panel, 0);
                        panel += 4;
                    }
                }
                if ROWS <= 4 {
                    while panel + 2 <= whole {
                        rows::<P, ROWS, 2, 3, 3, 1>(job, panel, 0);
                        panel += 2;
                    }
                }
                while panel < whole {
                    rows::<P, ROWS, 1, 3, 3, 1>(job, panel, 0);
                    panel += 1;
                }
            } else {
                while panel < whole {
                    for vector in 0..PANEL {
                        rows::<P, ROWS, 1, 3, 1, 1>(job, panel, vector);
                    }
                    panel += 1;
                }
            }
            if panel < job.panels.1 {
                match vectors % PANEL {
                    1 => rows::<P, ROWS, 1, 1, 1, { chains(1) }>(job, panel, 0),
                    _ if P::Lanes::IS_WIDE => {
                        rows::<P, ROWS, 1, 2, 2, { chains(2) }>(job, panel, 0);
                    }
                    _ => {
                        rows::<P, ROWS, 1, 2, 1, { chains(2) }>(job, panel, 0);
                        rows::<P, ROWS, 1, 2, 1, { chains(2) }>(job, panel, 1);
                    }
                }
            }
        }
    }
}

/// The tiles of all rows at the same panels.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn rows<
    P: Product,
    const ROWS: usize,
    const PANELS: usize,
    const WIDTH: usize,
    const VECTORS: usize,
    const CHAINS: usize,
>(
    job: &Job,
    panel: usize,
    vector: usize,
) {
    let start = panel * PANEL * COUNT;
    let weights = job.weights.wrapping_add(start * job.words + vector * COUNT);
    let column = start + vector * COUNT;
    let mut row = job.rows.0;
    while row + ROWS <= job.rows.1 {
        let place = Place { row, column, weights };
        // SAFETY: the caller's promise.
        unsafe { tile::<P, ROWS, PANELS, WIDTH, VECTORS, CHAINS>(job, place) };
        row += ROWS;
    }
}
