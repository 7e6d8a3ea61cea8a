//! Owns multidirectional broadcasting, as ONNX takes it from NumPy.
//!
//! Refuses to know what is computed. Bound: one step per value of the result; the last axis is a
//! plain loop.

use crate::ops::support::Few;
use crate::program::RunError;
use crate::tensor::{RANK_MAX, Shape};

/// The dimensions of tensors that are broadcast against each other.
///
/// # Errors
/// [`RunError::Input`] if two of them differ in a dimension and neither has 1 there.
pub fn broadcast(shapes: &[&Shape]) -> Result<Few<usize>, RunError> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut dims = Few::filled(1usize, rank)?;
    for shape in shapes {
        let start = rank - shape.len();
        for (dim, own) in dims[start..].iter_mut().zip(shape.iter()) {
            match (*dim, *own) {
                (dim, own) if dim == own || own == 1 => {}
                (1, own) => *dim = own,
                (dim, own) => {
                    return Err(RunError::input(
                        format_args!("dimensions {dim} and {own} side by side"),
                        "equal ones, or 1",
                    ));
                }
            }
        }
    }
    Ok(dims)
}

/// How far a tensor of `shape` moves along each of `rank` axes; 0 where it is repeated.
pub fn strides(shape: &Shape, rank: usize) -> [usize; RANK_MAX] {
    let own = shape.strides();
    let mut strides = [0; RANK_MAX];
    let start = rank - shape.len();
    for axis in 0..shape.len() {
        if shape[axis] != 1 {
            strides[start + axis] = own[axis];
        }
    }
    strides
}

/// Calls `each` with the index into the result and into each input, in the result's order.
pub fn walk<const N: usize>(
    dims: &[usize],
    strides: &[[usize; RANK_MAX]; N],
    mut each: impl FnMut(usize, [usize; N]),
) {
    let Some((last, outer)) = dims.split_last() else {
        return each(0, [0; N]);
    };
    if dims.contains(&0) {
        return;
    }
    let steps: [usize; N] = std::array::from_fn(|input| strides[input][outer.len()]);
    let mut counters = [0; RANK_MAX];
    let mut starts = [0; N];
    let mut out = 0;
    loop {
        let mut places = starts;
        for _ in 0..*last {
            each(out, places);
            out += 1;
            for (place, step) in places.iter_mut().zip(steps) {
                *place += step;
            }
        }
        let mut axis = outer.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            counters[axis] += 1;
            for (start, strides) in starts.iter_mut().zip(strides) {
                *start += strides[axis];
            }
            if counters[axis] < outer[axis] {
                break;
            }
            for (start, strides) in starts.iter_mut().zip(strides) {
                *start -= strides[axis] * outer[axis];
            }
            counters[axis] = 0;
        }
    }
}
