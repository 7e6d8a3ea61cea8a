//! Owns copies in which neighbours of the result lie any distance apart in the source.
//!
//! Refuses to know what a copy is for: transposing, slicing, repeating and expanding are all one.
//! Bound: one pass over the result; the whole range is checked before the first value moves.

use super::few::Few;
use crate::program::RunError;
use crate::tensor::Element;

/// Values on a side of the squares in which a transposing copy goes, so that both sides stay in
/// the first cache.
const SQUARE: usize = 16;

/// Where the values of a result lie in its source.
#[derive(Clone, Copy, Debug)]
pub struct View {
    dims: Few<usize>,
    strides: Few<isize>,
    offset: usize,
}

impl View {
    /// A view that begins at a place of the source; dimensions follow.
    pub fn at(offset: usize) -> Self {
        Self { dims: Few::new(), strides: Few::new(), offset }
    }

    /// One inner dimension more, whose neighbours lie `stride` apart.
    ///
    /// # Errors
    /// [`RunError::Input`] for too many dimensions.
    pub fn push(&mut self, dim: usize, stride: isize) -> Result<(), RunError> {
        self.dims.push(dim)?;
        self.strides.push(stride)
    }

    /// Copies all values in order.
    ///
    /// # Errors
    /// [`RunError::Input`] if the view is not of as many values as `out` has or leaves `source`.
    pub fn copy<T: Element>(&self, source: &[T], out: &mut [T]) -> Result<(), RunError> {
        self.check(source.len(), out.len())?;
        if out.is_empty() {
            return Ok(());
        }
        let merged = self.merged()?;
        let inner = merged.dims.len().saturating_sub(1);
        let transposes = inner > 0 && merged.strides[inner - 1] == 1;
        let inner = if transposes { inner - 1 } else { inner };
        let block: usize = merged.dims[inner..].iter().product();
        let mut places = Few::<usize>::filled(0, inner)?;
        let mut from = merged.offset as isize;
        for out in out.chunks_exact_mut(block) {
            match merged.dims[inner..] {
                [rows, columns] => {
                    transpose(source, from, merged.strides[inner + 1], out, [rows, columns])
                }
                [_] => line(source, from, merged.strides[inner], out),
                _ => line(source, from, 1, out),
            }
            for axis in (0..inner).rev() {
                places[axis] += 1;
                from += merged.strides[axis];
                if places[axis] < merged.dims[axis] {
                    break;
                }
                places[axis] = 0;
                from -= merged.strides[axis] * merged.dims[axis] as isize;
            }
        }
        Ok(())
    }

    /// That the first and the last value, and so all between, lie within the source.
    fn check(&self, source: usize, out: usize) -> Result<(), RunError> {
        let wrong = || RunError::input("a view beyond its values", "one within them");
        let count = match self.dims.contains(&0) {
            true => Some(0),
            false => self.dims.iter().try_fold(1usize, |count, dim| count.checked_mul(*dim)),
        };
        if count != Some(out) {
            return Err(wrong());
        }
        if out == 0 {
            return Ok(());
        }
        let (mut low, mut high) = (self.offset as i128, self.offset as i128);
        for (dim, stride) in self.dims.iter().zip(self.strides.iter()) {
            let reach = (*dim as i128 - 1) * *stride as i128;
            if reach < 0 { low += reach } else { high += reach }
        }
        if low < 0 || high >= source as i128 { Err(wrong()) } else { Ok(()) }
    }

    /// The same with as few dimensions as can be.
    fn merged(&self) -> Result<Self, RunError> {
        let mut merged = Self::at(self.offset);
        for (dim, stride) in self.dims.iter().zip(self.strides.iter()) {
            if *dim == 1 {
                continue;
            }
            let joins = match merged.strides.last() {
                Some(outer) => *outer == *stride * *dim as isize,
                None => false,
            };
            match (joins, merged.dims.last_mut(), merged.strides.last_mut()) {
                (true, Some(outer), Some(outer_stride)) => {
                    *outer *= *dim;
                    *outer_stride = *stride;
                }
                _ => merged.push(*dim, *stride)?,
            }
        }
        Ok(merged)
    }
}

/// One line; `from` and all places that follow are within the source.
fn line<T: Element>(source: &[T], from: isize, stride: isize, out: &mut [T]) {
    let start = from as usize;
    match stride {
        1 => out.clone_from_slice(&source[start..start + out.len()]),
        0 => out.fill(source[start].clone()),
        _ => {
            let mut place = from;
            for out in out {
                out.clone_from(&source[place as usize]);
                place += stride;
            }
        }
    }
}

/// Rows of the result are neighbours in the source, columns lie `stride` apart.
fn transpose<T: Element>(
    source: &[T],
    from: isize,
    stride: isize,
    out: &mut [T],
    [rows, columns]: [usize; 2],
) {
    for row_start in (0..rows).step_by(SQUARE) {
        for column_start in (0..columns).step_by(SQUARE) {
            for row in row_start..rows.min(row_start + SQUARE) {
                let end = columns.min(column_start + SQUARE);
                let line = &mut out[row * columns + column_start..row * columns + end];
                let mut place = from + row as isize + column_start as isize * stride;
                for out in line {
                    out.clone_from(&source[place as usize]);
                    place += stride;
                }
            }
        }
    }
}
