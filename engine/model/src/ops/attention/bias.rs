//! Owns what is added to scores before they become shares: masks, and minus infinity where a
//! position may not look.
//!
//! Refuses masks that do not fit. Bound: one row of scores at a time.

use crate::ops::support::{Float, Wide, int_at};
use crate::program::{Inputs, RunError};
use crate::tensor::{DType, RANK_MAX, Shape, Tensor};

const MASK: usize = 3;
const LENGTHS: usize = 6;

#[derive(Clone, Copy)]
enum Mask<'a, T> {
    None,
    /// Where a position may look.
    Allowed(&'a [bool]),
    /// What is added.
    Added(&'a [T]),
}

/// How many positions before and after its own a query looks at; all where there is no number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Before.
    pub back: Option<i64>,
    /// After.
    pub ahead: Option<i64>,
}

/// See the module.
pub struct Bias<'a, T> {
    mask: Mask<'a, T>,
    /// From one sequence, head and position of the mask to the next.
    strides: [usize; 3],
    /// Positions that the mask knows; nobody looks at those after them.
    width: usize,
    /// How many positions each sequence has.
    lengths: Option<&'a Tensor>,
    reach: Reach,
    /// Positions of the cache.
    past: usize,
    queries: usize,
}

impl<'a, T: Float> Bias<'a, T> {
    /// Of the inputs, for scores of `[batch, heads, queries, positions]`.
    ///
    /// # Errors
    /// [`RunError::Input`] if they do not fit.
    pub fn of(
        inputs: &Inputs<'a>,
        dims: [usize; 4],
        reach: Reach,
        past: usize,
    ) -> Result<Self, RunError> {
        let mask = match inputs.get(MASK) {
            None => Mask::None,
            Some(mask) if mask.dtype() == DType::Bool => {
                Mask::Allowed(inputs.values::<bool>(MASK)?.1)
            }
            Some(_) => Mask::Added(inputs.values::<T>(MASK)?.1),
        };
        let (strides, width) = match inputs.get(MASK) {
            None => ([0; 3], dims[3]),
            Some(mask) => strides(mask.shape(), dims)?,
        };
        let lengths = inputs.get(LENGTHS);
        if let Some(lengths) = lengths.filter(|lengths| lengths.shape()[..] != dims[..1]) {
            return Err(RunError::input(lengths.shape(), format_args!("[{}]", dims[0])));
        }
        Ok(Self { mask, strides, width, lengths, reach, past, queries: dims[2] })
    }

    /// Whether nothing is added anywhere.
    pub fn is_none(&self) -> bool {
        let is_far = self.reach == Reach::default();
        matches!(self.mask, Mask::None) && self.lengths.is_none() && is_far
    }

    /// Writes what is added to the scores of a position.
    pub fn row(&self, [item, head, query]: [usize; 3], out: &mut [T::Wide]) {
        let start: usize =
            [item, head, query].iter().zip(self.strides).map(|(at, stride)| at * stride).sum();
        let length = self.lengths.map(|lengths| int_at(lengths.data(), item).unwrap_or(0));
        let before = match length {
            Some(length) if self.past == 0 => length.saturating_sub(self.queries as i64),
            _ => self.past as i64,
        };
        let own = before.saturating_add(query as i64);
        let first = self.reach.back.map_or(i64::MIN, |back| own.saturating_sub(back));
        let last = self.reach.ahead.map_or(i64::MAX, |ahead| own.saturating_add(ahead));
        let end = length.unwrap_or(i64::MAX);
        for (position, out) in out.iter_mut().enumerate() {
            let added = match self.mask {
                Mask::None => T::Wide::ZERO,
                _ if position >= self.width => T::Wide::LOWEST,
                Mask::Allowed(allowed) if allowed[start + position] => T::Wide::ZERO,
                Mask::Allowed(_) => T::Wide::LOWEST,
                Mask::Added(added) => added[start + position].wide(),
            };
            let position = position as i64;
            let is_hidden = position < first || position > last || position >= end;
            *out = if is_hidden { added + T::Wide::LOWEST } else { added };
        }
    }
}

/// How a mask is broadcast to the scores, and how many positions it knows.
fn strides(shape: &Shape, dims: [usize; 4]) -> Result<([usize; 3], usize), RunError> {
    let wrong = || {
        let found = format!("a mask of {shape}");
        RunError::input(found, format_args!("one for scores of {dims:?}"))
    };
    let own: [usize; RANK_MAX] = shape.strides();
    let (rank, mut strides) = (shape.len(), [0; 3]);
    let Some(width) = shape.last().copied().filter(|width| *width <= dims[3] && rank <= 4) else {
        return Err(wrong());
    };
    for axis in 0..rank - 1 {
        let place = axis + 4 - rank;
        match shape[axis] {
            1 => {}
            dim if dim == dims[place] => strides[place] = own[axis],
            _ => return Err(wrong()),
        }
    }
    Ok((strides, width))
}
