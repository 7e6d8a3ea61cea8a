//! Owns the walk over the tiles of many updates, on one core or several.
//!
//! Refuses to know what is computed. Bound: [`AHEAD_BYTES`] per part, or [`TILE`] values of each
//! update if that is more; the parts are the same for any number of cores, and so are the results.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use truststram_model::kernels::{Alone, Isa, Team};

use super::rows::Rows;
use crate::error::FederateError;

/// Values of one update that are worked on at a time.
pub const TILE: usize = 4_096;
/// What is read ahead of all updates in one part: what stays in a core's second cache until it is
/// worked on.
const AHEAD_BYTES: usize = 1 << 20;
/// Into how many parts a model is divided.
const PARTS: usize = 16;

/// What computes.
#[derive(Clone, Copy)]
pub struct Cores<'a> {
    /// The instruction set.
    pub isa: Isa,
    /// Who shares the work.
    pub team: &'a dyn Team,
}

impl Cores<'static> {
    /// This thread alone, with the widest instructions of the host.
    pub fn one() -> Self {
        Self { isa: Isa::detect(), team: &Alone }
    }
}

/// Some updates and by how much each is shortened.
#[derive(Clone, Copy)]
pub(super) struct Tiles<'a> {
    pub rows: &'a [&'a dyn Rows],
    /// One factor per update; 1 leaves it.
    pub factors: &'a [f32],
    pub len: usize,
}

impl<'a> Tiles<'a> {
    /// Joins them.
    pub fn new(
        rows: &'a [&'a dyn Rows],
        factors: &'a [f32],
        len: usize,
    ) -> Result<Self, FederateError> {
        let wrong = |field, found: usize, expected: usize| {
            let (found, expected) = (found.to_string(), expected.to_string());
            Err(FederateError::Aggregation { field, found, expected })
        };
        if rows.len() != factors.len() {
            return wrong("number of weights", factors.len(), rows.len());
        }
        match rows.iter().find(|row| row.len() != len) {
            Some(row) => wrong("number of values", row.len(), len),
            None => Ok(Self { rows, factors, len }),
        }
    }

    /// The parts, of whole tiles.
    fn parts(&self) -> usize {
        let tiles = self.len.div_ceil(TILE);
        tiles.div_ceil(PARTS).max(1) * TILE
    }

    /// Values of each update that are read at once, as one read costs less than many: whole tiles.
    fn ahead(&self) -> usize {
        let values = AHEAD_BYTES / size_of::<f32>() / self.rows.len().max(1);
        (values / TILE * TILE).max(TILE)
    }

    /// Calls `work` for each tile of a range: its first value, and the values of each update.
    fn walk(
        &self,
        range: Range<usize>,
        mut work: impl FnMut(usize, &[&[f32]]) -> Result<(), FederateError>,
    ) -> Result<(), FederateError> {
        let ahead = self.ahead();
        let mut buffers: Vec<Vec<f32>> = vec![Vec::new(); self.rows.len()];
        // Up to where each buffer goes; it begins where the last values were read ahead.
        let mut read_to = vec![range.start; self.rows.len()];
        let mut first = range.start;
        while first < range.end {
            let end = range.end.min(first + TILE);
            for (index, buffer) in buffers.iter_mut().enumerate() {
                if read_to[index] >= end || self.lies(index, first, end).is_some() {
                    continue;
                }
                read_to[index] = range.end.min(first + ahead);
                // What was read before is overwritten: only the first read clears memory.
                buffer.resize(read_to[index] - first, 0.0);
                self.rows[index].read(first, buffer)?;
                let factor = self.factors[index];
                if factor != 1.0 {
                    buffer.iter_mut().for_each(|value| *value *= factor);
                }
            }
            let slices: Vec<&[f32]> = (0..self.rows.len())
                .map(|index| match read_to[index] >= end {
                    true => {
                        let from = buffers[index].len() - (read_to[index] - first);
                        &buffers[index][from..from + end - first]
                    }
                    false => self.lies(index, first, end).unwrap_or(&[]),
                })
                .collect();
            work(first, &slices)?;
            first = end;
        }
        Ok(())
    }

    /// The values of one update, if they can be used where they lie.
    fn lies(&self, index: usize, first: usize, end: usize) -> Option<&'a [f32]> {
        let row = (self.factors[index] == 1.0).then_some(self.rows[index]);
        row.and_then(|row| row.borrow(first, end - first))
    }

    /// Computes one value per parameter, tile by tile. `start` makes what one part works with.
    pub fn fill<S>(
        &self,
        cores: Cores<'_>,
        out: &mut [f32],
        start: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, usize, &[&[f32]], &mut [f32]) -> Result<(), FederateError> + Sync,
    ) -> Result<(), FederateError> {
        let size = self.parts();
        let parts: Vec<Mutex<&mut [f32]>> = out.chunks_mut(size).map(Mutex::new).collect();
        self.divide(cores, parts.len(), |part| {
            let mut out = parts[part].lock().unwrap_or_else(PoisonError::into_inner);
            let (begin, mut state) = (part * size, start());
            self.walk(begin..begin + out.len(), |first, rows| {
                let count = rows.first().map_or(0, |row| row.len());
                work(&mut state, first, rows, &mut out[first - begin..][..count])
            })
        })
    }

    /// Sums up what `work` adds to `count` numbers for each tile.
    pub fn sum(
        &self,
        cores: Cores<'_>,
        count: usize,
        work: impl Fn(&[&[f32]], &mut [f64]) + Sync,
    ) -> Result<Vec<f64>, FederateError> {
        let size = self.parts();
        let parts: Vec<Mutex<Vec<f64>>> =
            (0..self.len.div_ceil(size)).map(|_| Mutex::new(vec![0.0; count])).collect();
        self.divide(cores, parts.len(), |part| {
            let mut sums = parts[part].lock().unwrap_or_else(PoisonError::into_inner);
            let range = part * size..(part * size + size).min(self.len);
            self.walk(range, |_, rows| {
                work(rows, &mut sums);
                Ok(())
            })
        })?;
        let mut total = vec![0.0; count];
        for part in parts {
            let part = part.into_inner().unwrap_or_else(PoisonError::into_inner);
            total.iter_mut().zip(part).for_each(|(total, sum)| *total += sum);
        }
        Ok(total)
    }

    fn divide(
        &self,
        cores: Cores<'_>,
        parts: usize,
        work: impl Fn(usize) -> Result<(), FederateError> + Sync,
    ) -> Result<(), FederateError> {
        let failure = Mutex::new(None);
        cores.team.run(parts, &|part| {
            if let Err(error) = work(part) {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        });
        let failure = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        failure.map_or(Ok(()), Err)
    }
}
