//! Owns `RotaryEmbedding`: pairs of values turned by the angles of their position.
//!
//! Refuses caches that do not fit. Bound: one pass; computed in 32 bits for the types of 16.

use std::fmt;
use std::marker::PhantomData;

use half::{bf16, f16};

use super::heads::Heads;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Float, index_at, int_at};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Shape, Tensor};

/// This family.
pub const OPERATORS: Family = &[("", "RotaryEmbedding", build)];

struct Rotary<T> {
    /// Of the inputs of three dimensions; 0 where it is not said.
    heads: usize,
    /// The first values of a head that are turned; 0 for all.
    turned: usize,
    /// A pair is of neighbours, not of both halves.
    interleaved: bool,
    elements: PhantomData<fn(T)>,
}

impl<T> fmt::Debug for Rotary<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotary").field("turned", &self.turned).finish_non_exhaustive()
    }
}

/// Where the angles of a position of a batch begin in the caches.
fn angles(
    inputs: &Inputs<'_>,
    cache: &Shape,
    [batch, length, half]: [usize; 3],
) -> Result<impl Fn(usize, usize) -> Result<usize, RunError>, RunError> {
    let places = inputs.get(3);
    let fits = match places {
        Some(places) => {
            matches!(cache[..], [_, width] if width == half)
                && places.shape()[..] == [batch, length]
        }
        None => cache[..] == [batch, length, half],
    };
    if !fits {
        let expected = format_args!("those of {batch} by {length} positions, {half} each");
        return Err(RunError::input(format_args!("caches of {cache}"), expected));
    }
    let rows = cache[0];
    Ok(move |item: usize, position: usize| {
        let index = item * length + position;
        let row = match places {
            Some(places) => index_at(int_at(places.data(), index).unwrap_or(-1), rows)?,
            None => index,
        };
        Ok(row * half)
    })
}

impl<T: Float> Operator for Rotary<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<T>(0)?;
        let heads = Heads::of(shape, self.heads)?;
        let turned = if self.turned == 0 { heads.width } else { self.turned };
        let half = turned / 2;
        if turned > heads.width || turned % 2 != 0 {
            let found = format_args!("{turned} of {} values", heads.width);
            return Err(RunError::input(found, "pairs of them"));
        }
        let (cache, cosines) = inputs.values::<T>(1)?;
        let (other, sines) = inputs.values::<T>(2)?;
        if cache != other {
            return Err(RunError::input(format_args!("caches of {cache} and {other}"), "equal"));
        }
        let start = angles(inputs, cache, [heads.batch, heads.length, half])?;
        let out = context.shape_as::<T>(&mut outputs[0], shape)?;
        out.copy_from_slice(values);
        for item in 0..heads.batch {
            for position in 0..heads.length {
                let angles = start(item, position)?;
                for head in 0..heads.count {
                    let first = heads.start(item, head) + position * heads.step;
                    for pair in 0..half {
                        let (left, right) = match self.interleaved {
                            true => (first + 2 * pair, first + 2 * pair + 1),
                            false => (first + pair, first + pair + half),
                        };
                        let (x, y) = (values[left].wide(), values[right].wide());
                        let cosine = cosines[angles + pair].wide();
                        let sine = sines[angles + pair].wide();
                        out[left] = T::narrow(cosine * x - sine * y);
                        out[right] = T::narrow(sine * x + cosine * y);
                    }
                }
            }
        }
        Ok(())
    }
}

fn build(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["interleaved", "num_heads", "rotary_embedding_dim"])?;
    let count = |name: &str| {
        let value = view.int_or(name, 0)?;
        usize::try_from(value).map_err(|_| view.refuse(format_args!("`{name}` {value}")))
    };
    let (heads, turned) = (count("num_heads")?, count("rotary_embedding_dim")?);
    let interleaved = view.int_or("interleaved", 0)? != 0;
    let dtype = view.dtype(0)?;
    for index in 1..3 {
        view.dtype_among(index, &[dtype])?;
    }
    if view.has_input(3) {
        view.dtype_among(3, &[DType::I64])?;
    }
    macro_rules! make {
        ($type:ty) => {{
            let elements = PhantomData;
            Ok(Built::one(Rotary::<$type> { heads, turned, interleaved, elements }, dtype))
        }};
    }
    match dtype {
        DType::F32 => make!(f32),
        DType::F16 => make!(f16),
        DType::Bf16 => make!(bf16),
        other => Err(view.refuse(format_args!("type {other} is not computed"))),
    }
}
