//! Owns the tile, which is summed up in registers, and the sweep of tiles over rows and panels.
//!
//! Refuses to know what words hold. Bound: 24 vectors of sums where there are 32 registers, 4
//! elsewhere. Each output's sum runs over the words in one order: in a panel of one vector in four
//! chains, of two in two, so that narrow results do not wait for a single one, else in one chain.

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
    /// Words from one word of a row to the next: 1 unless the rows are columns of a matrix.
    pub x_step: usize,
    /// The first row and the one after the last.
    pub rows: (usize, usize),
    /// See [`super::Panels`].
    pub weights: *const u32,
    /// Words from one word of a column to the next, where the weights lie as a matrix and not in
    /// panels; its columns must then be whole panels.
    pub matrix_stride: Option<usize>,
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
    /// Whether results are added to what the output holds.
    pub adds: bool,
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

/// Where a tile stands.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    column: usize,
    /// The first word of the first column.
    weights: *const u32,
    /// Words from one word of a column to the next.
    stride: usize,
    /// Words from one panel to the next.
    panel_words: usize,
}

/// Repeats a block for each index below a limit, written out so that the indices are
/// constants: only then the compiler keeps the sums in registers.
macro_rules! each {
    ($index:ident < $limit:ident <= 4, $body:block) => {
        each!(@ $index $limit $body 0 1 2 3)
    };
    ($index:ident < $limit:ident <= 8, $body:block) => {
        each!(@ $index $limit $body 0 1 2 3 4 5 6 7)
    };
    ($index:ident < $limit:ident <= 12, $body:block) => {
        each!(@ $index $limit $body 0 1 2 3 4 5 6 7 8 9 10 11)
    };
    (@ $index:ident $limit:ident $body:block $($value:literal)*) => {
        $(if const { $value < $limit } {
            let $index: usize = $value;
            $body
        })*
    };
}

/// `ROWS` rows by `COLUMNS` vectors, of each panel `VECTORS`, in `CHAINS` chains.
///
/// # Safety
/// The place must lie within the job, and the host must have the instructions of `P`.
#[inline(always)]
unsafe fn tile<
    P: Product,
    const ROWS: usize,
    const COLUMNS: usize,
    const VECTORS: usize,
    const CHAINS: usize,
>(
    job: &Job,
    place: Place,
) {
    let mut sums = [[[P::zero(); COLUMNS]; ROWS]; CHAINS];
    let Place { stride, panel_words, .. } = place;
    // SAFETY: rows and words lie within the job.
    unsafe {
        let x = job.x.add(place.row * job.x_stride);
        let mut word = 0;
        while word + CHAINS <= job.words {
            each!(chain < CHAINS <= 4, {
                let x = x.add((word + chain) * job.x_step);
                let w = place.weights.add((word + chain) * stride);
                let sums = &mut sums[chain];
                step::<P, ROWS, COLUMNS, VECTORS>(x, job.x_stride, w, panel_words, sums);
            });
            word += CHAINS;
        }
        if const { CHAINS > 1 } {
            each!(chain < CHAINS <= 4, {
                if word + chain < job.words {
                    let x = x.add((word + chain) * job.x_step);
                    let w = place.weights.add((word + chain) * stride);
                    let sums = &mut sums[chain];
                    step::<P, ROWS, COLUMNS, VECTORS>(x, job.x_stride, w, panel_words, sums);
                }
            });
        }
    }
    if const { CHAINS == 4 } {
        join::<P, ROWS, COLUMNS, CHAINS>(&mut sums, 0, 2);
        join::<P, ROWS, COLUMNS, CHAINS>(&mut sums, 1, 3);
    }
    if const { CHAINS > 1 } {
        join::<P, ROWS, COLUMNS, CHAINS>(&mut sums, 0, 1);
    }
    // SAFETY: the caller's promise.
    unsafe { write::<P, ROWS, COLUMNS>(job, place, &sums[0]) };
}

/// Adds the sums of the chain `from` to those of `to`.
#[inline(always)]
fn join<P: Product, const ROWS: usize, const COLUMNS: usize, const CHAINS: usize>(
    sums: &mut [[[P::Sum; COLUMNS]; ROWS]; CHAINS],
    to: usize,
    from: usize,
) {
    each!(row < ROWS <= 8, {
        each!(column < COLUMNS <= 12, {
            let other = sums[from][row][column];
            sums[to][row][column] = P::join(sums[to][row][column], other);
        });
    });
}

/// One word of each row by one word of each column.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn step<P: Product, const ROWS: usize, const COLUMNS: usize, const VECTORS: usize>(
    x: *const u32,
    x_stride: usize,
    w: *const u32,
    panel_words: usize,
    sums: &mut [[P::Sum; COLUMNS]; ROWS],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut words = [P::splat(0); COLUMNS];
        each!(column < COLUMNS <= 12, {
            let panel = column / VECTORS * panel_words;
            words[column] = P::load(w.add(panel + column % VECTORS * COUNT));
        });
        each!(row < ROWS <= 8, {
            let x = P::splat(x.add(row * x_stride).read_unaligned());
            each!(column < COLUMNS <= 12, {
                sums[row][column] = P::step(x, words[column], sums[row][column]);
            });
        });
    }
}

/// Finishes the sums and writes them.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn write<P: Product, const ROWS: usize, const COLUMNS: usize>(
    job: &Job,
    place: Place,
    sums: &[[P::Sum; COLUMNS]; ROWS],
) {
    let is_relu = job.finish.activation == Activation::Relu;
    let out = job.out.wrapping_add(place.row * job.out_stride);
    each!(column < COLUMNS <= 12, {
        let first = place.column + column * COUNT;
        let count = COUNT.min(job.columns.saturating_sub(first));
        each!(row < ROWS <= 8, {
            let sum = sums[row][column];
            // SAFETY: row and columns lie within the job.
            unsafe {
                let value = P::result(&job.finish, place.row + row, first, count, sum);
                let out = out.add(row * job.out_stride + first);
                let value = match job.adds {
                    true => value.add(<P::Lanes as Lanes>::load_part(out, count, 0.0)),
                    false => value,
                };
                let value = if is_relu { math::relu(value) } else { value };
                value.store_part(out, count);
            }
        });
    });
    if !is_relu && job.finish.activation != Activation::None {
        let count = (COLUMNS * COUNT).min(job.columns.saturating_sub(place.column));
        for row in 0..ROWS {
            // SAFETY: as above; the values were just written.
            unsafe {
                let out = out.add(row * job.out_stride + place.column);
                activate_stretch::<P::Lanes>(job.finish.activation, out, count);
            }
        }
    }
}

/// Tiles of `ROWS` rows, 1 to 4 or 8, over all panels and as many rows of a job as divide by it.
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
            if const { P::Lanes::IS_WIDE } {
                // Few rows have too few sums to keep the processor busy with one panel.
                if const { ROWS <= 2 } {
                    while panel + 4 <= whole {
                        rows::<P, ROWS, 12, 3, 1>(job, panel, 0);
                        panel += 4;
                    }
                }
                if const { ROWS == 3 || ROWS == 4 } {
                    while panel + 2 <= whole {
                        rows::<P, ROWS, 6, 3, 1>(job, panel, 0);
                        panel += 2;
                    }
                }
                while panel < whole {
                    rows::<P, ROWS, 3, 3, 1>(job, panel, 0);
                    panel += 1;
                }
                if panel < job.panels.1 {
                    match vectors % PANEL {
                        1 if const { ROWS == 8 } => rows::<P, 4, 1, 1, 4>(job, panel, 0),
                        _ if const { ROWS == 8 } => rows::<P, 4, 2, 2, 2>(job, panel, 0),
                        1 => rows::<P, ROWS, 1, 1, 4>(job, panel, 0),
                        _ => rows::<P, ROWS, 2, 2, 2>(job, panel, 0),
                    }
                }
            } else if const { ROWS == 1 || ROWS == 4 } {
                while panel < whole {
                    for vector in 0..PANEL {
                        rows::<P, ROWS, 1, 1, 1>(job, panel, vector);
                    }
                    panel += 1;
                }
                if panel < job.panels.1 {
                    match vectors % PANEL {
                        1 => rows::<P, ROWS, 1, 1, 4>(job, panel, 0),
                        _ => {
                            rows::<P, ROWS, 1, 1, 2>(job, panel, 0);
                            rows::<P, ROWS, 1, 1, 2>(job, panel, 1);
                        }
                    }
                }
            }
        }
    }
}

/// The tiles of all rows from the same vector of the same panel on.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn rows<
    P: Product,
    const ROWS: usize,
    const COLUMNS: usize,
    const VECTORS: usize,
    const CHAINS: usize,
>(
    job: &Job,
    panel: usize,
    vector: usize,
) {
    let start = panel * PANEL * COUNT;
    let width = PANEL.min(super::vectors(job.columns) - panel * PANEL) * COUNT;
    let (first, stride, panel_words) = match job.matrix_stride {
        None => (start * job.words, width, width * job.words),
        Some(stride) => (start, stride, width),
    };
    let weights = job.weights.wrapping_add(first + vector * COUNT);
    let column = start + vector * COUNT;
    let mut row = job.rows.0;
    while row + ROWS <= job.rows.1 {
        let place = Place { row, column, weights, stride, panel_words };
        // SAFETY: the caller's promise.
        unsafe { tile::<P, ROWS, COLUMNS, VECTORS, CHAINS>(job, place) };
        row += ROWS;
    }
}
