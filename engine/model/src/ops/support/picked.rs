//! Owns copies in which each axis of the result has a table of places in the source.
//!
//! Refuses to know where tables come from: padding, cropping and resizing to the nearest are all
//! one. Bound: one pass over the result; the whole range is checked before the first value moves.

use super::few::Few;
use crate::program::RunError;
use crate::tensor::Element;

/// In a table: no place of the source, the value that fills.
pub const OUTSIDE: usize = usize::MAX;

/// Copies by the tables of all axes, which follow each other: for each place along an axis how far
/// it lies from the beginning of the source, or [`OUTSIDE`].
///
/// # Errors
/// [`RunError::Input`] if a table leads beyond `source` or the sizes do not fit.
pub fn pick<T: Element>(
    tables: &[usize],
    dims: &[usize],
    source: &[T],
    fill: &T,
    out: &mut [T],
) -> Result<(), RunError> {
    check(tables, dims, source.len(), out.len())?;
    let Some(inner) = dims.last().copied() else {
        out.clone_from_slice(source);
        return Ok(());
    };
    if out.is_empty() {
        return Ok(());
    }
    let (outer, line) = tables.split_at(tables.len() - inner);
    let outer_dims = &dims[..dims.len() - 1];
    let mut places = Few::<usize>::filled(0, outer_dims.len())?;
    for out in out.chunks_exact_mut(inner) {
        let mut from = Some(0usize);
        let mut table_start = 0;
        for (place, dim) in places.iter().zip(outer_dims) {
            let step = outer[table_start + place];
            from = from.filter(|_| step != OUTSIDE).map(|from| from + step);
            table_start += dim;
        }
        match from {
            None => out.fill(fill.clone()),
            Some(from) => {
                for (out, step) in out.iter_mut().zip(line) {
                    let value = if *step == OUTSIDE { fill } else { &source[from + step] };
                    out.clone_from(value);
                }
            }
        }
        for axis in (0..outer_dims.len()).rev() {
            places[axis] += 1;
            if places[axis] < outer_dims[axis] {
                break;
            }
            places[axis] = 0;
        }
    }
    Ok(())
}

fn check(tables: &[usize], dims: &[usize], source: usize, out: usize) -> Result<(), RunError> {
    let wrong = || RunError::input("places beyond the values", "places within them");
    let (mut rest, mut furthest, mut count) = (tables, 0usize, 1usize);
    for dim in dims {
        let (table, after) = rest.split_at_checked(*dim).ok_or_else(wrong)?;
        let far = table.iter().filter(|place| **place != OUTSIDE).max().copied().unwrap_or(0);
        furthest = furthest.checked_add(far).ok_or_else(wrong)?;
        count = count.checked_mul(*dim).ok_or_else(wrong)?;
        rest = after;
    }
    let anything = out > 0 && tables.iter().any(|place| *place != OUTSIDE);
    let fits = rest.is_empty() && count == out && (furthest < source || !anything);
    match fits && (!dims.is_empty() || source == 1) {
        true => Ok(()),
        false => Err(wrong()),
    }
}
