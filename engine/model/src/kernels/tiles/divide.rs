//! Owns the division of a job into parts for several cores and into sweeps.
//!
//! Refuses to know tiles. Bound: as many parts as the team has cores, and only where each is worth
//! the call for help.

use super::panels::PANEL;
use super::sweep::{Job, Sweep};
use super::{Floats, ProductKernel, halves_product, int8_product, vectors};
use crate::kernels::lanes::{COUNT, Kernel, Lanes, dispatch};
use crate::kernels::{Isa, Team};

/// Words of weights that a core multiplies with a row in a nanosecond.
const WORDS_PER_NANO: usize = 64;
/// So many rows take as long as one, which waits for the weights.
const ROWS_OF_ONE: usize = 3;
/// Bytes of weights that each core keeps in its second cache from one run to the next.
const NEAR_BYTES: usize = 640 << 10;
/// Bytes of weights that stay in the second cache while all rows pass them.
const CHUNK_BYTES: usize = 384 << 10;

/// What the words of a job hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// One f32.
    F32,
    /// Two bf16.
    Bf16,
    /// Four numbers of 8 bits.
    Int8,
}

struct AsFloats<K>(K);

impl<K: ProductKernel> Kernel for AsFloats<K> {
    type Output = K::Output;

    #[inline(always)]
    fn run<L: Lanes>(self) -> K::Output {
        self.0.run::<Floats<L>>()
    }
}

fn sweep<const ROWS: usize>(isa: Isa, number: Number, job: &Job) {
    match number {
        Number::F32 => dispatch(isa, AsFloats(Sweep::<ROWS>(job))),
        Number::Bf16 => halves_product(isa, Sweep::<ROWS>(job)),
        Number::Int8 => int8_product(isa, Sweep::<ROWS>(job)),
    }
}

/// Computes a job, with the help of the team where that pays.
pub fn multiply(isa: Isa, team: &dyn Team, number: Number, job: &Job) {
    let rows = job.rows.1.saturating_sub(job.rows.0);
    let panels = vectors(job.columns).div_ceil(PANEL);
    let job = job.at_panels(0, panels);
    let weights = job.columns.saturating_mul(job.words);
    let parts = team.parts(rows.max(ROWS_OF_ONE).saturating_mul(weights) / WORDS_PER_NANO);
    if parts <= 1 {
        return part(isa, number, &job);
    }
    // By columns no core reads the weights of another. By rows where there are few panels, or where
    // each core has all weights near: then less is exchanged, and the next layer finds its rows.
    let stays = weights.saturating_mul(size_of::<u32>()) <= NEAR_BYTES && rows >= 4 * parts;
    if !stays && (panels >= 4 * parts || rows < 16 * parts) {
        let parts = parts.min(panels);
        team.run(parts, &|index| {
            let bound = |index| index * panels / parts;
            part(isa, number, &job.at_panels(bound(index), bound(index + 1)));
        });
    } else {
        let block = if rows >= 16 * parts { 8 } else { 4 };
        let blocks = rows.div_ceil(block);
        team.run(parts, &|index| {
            let bound = |index| job.rows.0 + rows.min(index * blocks / parts * block);
            part(isa, number, &job.at_rows(bound(index), bound(index + 1)));
        });
    }
}

/// All of a job on this core, as many panels at a time as stay near.
fn part(isa: Isa, number: Number, job: &Job) {
    let (first, last) = job.rows;
    let is_wide = matches!(isa.or_portable(), Isa::Avx512 { .. });
    let panel_bytes = job.words * PANEL * COUNT * size_of::<u32>();
    // A single group of rows passes the weights once anyway.
    let near = match last - first > 8 {
        true => (CHUNK_BYTES / panel_bytes.max(1)).max(4),
        false => usize::MAX,
    };
    let mut panel = job.panels.0;
    while panel < job.panels.1 {
        let end = job.panels.1.min(panel.saturating_add(near));
        let mut job = job.at_panels(panel, end);
        while job.rows.0 < last {
            let (group, rows) = group(last - job.rows.0, is_wide);
            job.rows.1 = job.rows.0 + rows;
            match group {
                8 => sweep::<8>(isa, number, &job),
                4 => sweep::<4>(isa, number, &job),
                3 => sweep::<3>(isa, number, &job),
                2 => sweep::<2>(isa, number, &job),
                _ => sweep::<1>(isa, number, &job),
            }
            job.rows.0 = job.rows.1;
        }
        panel = end;
    }
}

/// Rows of the next tiles and of all of them together, of `rows` that are left. A single row waits
/// for memory, so none is left over where that can be.
fn group(rows: usize, is_wide: bool) -> (usize, usize) {
    match rows {
        _ if !is_wide => {
            if rows >= 4 {
                (4, rows - rows % 4)
            } else {
                (1, rows)
            }
        }
        1..=4 => (rows, rows),
        5 | 6 => (3, 3),
        7 => (4, 4),
        9 => (3, 9),
        _ if rows % 8 == 1 => (8, rows - 9),
        _ => (8, rows - rows % 8),
    }
}
