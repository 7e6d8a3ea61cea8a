//! Owns the operators that write values to places of a copy that another tensor names.
//!
//! Refuses places beyond the values; negative ones count from the end. Of several values for one
//! place the last stays, unless a reduction joins them in order. Bound: one copy.

use half::{bf16, f16};

use super::gather::{each_place, within};
use super::scatter_places::{each_tuple, tensor_scatter};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{allowed, axis, check_axes};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Element, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[
    ("", "Scatter", scatter),
    ("", "ScatterElements", scatter_elements),
    ("", "ScatterND", scatter_nd),
    ("", "TensorScatter", tensor_scatter),
];

/// What becomes of a value that is there already.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reduction {
    None,
    Add,
    Mul,
    Max,
    Min,
}

/// A type whose values can be joined.
trait Joined: Element + Copy + PartialOrd {
    fn add(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// Whether it equals nothing, not even itself.
    fn is_no_number(self) -> bool {
        self.partial_cmp(&self).is_none()
    }
}

macro_rules! joined {
    ([$($integer:ty),*], [$($float:ty),*]) => {
        $(impl Joined for $integer {
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            fn mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
        })*
        $(impl Joined for $float {
            fn add(self, other: Self) -> Self {
                self + other
            }

            fn mul(self, other: Self) -> Self {
                self * other
            }
        })*
    };
}

joined!([i8, i16, i32, i64, u8, u16, u32, u64], [f32, f64, f16, bf16]);

impl Reduction {
    fn join<T: Joined>(self, old: T, new: T) -> T {
        let keeps = |better: bool| {
            if old.is_no_number() || (better && !new.is_no_number()) { old } else { new }
        };
        match self {
            Self::None => new,
            Self::Add => old.add(new),
            Self::Mul => old.mul(new),
            Self::Max => keeps(old >= new),
            Self::Min => keeps(old <= new),
        }
    }
}

/// Which places are written.
#[derive(Clone, Copy, Debug)]
enum Places {
    /// One for each index, its own but for one axis.
    Elements { axis: i64 },
    /// A slice for each tuple of indices.
    Tuples,
}

#[derive(Debug)]
struct Scatter {
    places: Places,
    reduction: Reduction,
}

impl Scatter {
    /// Calls with each part of the updates and of the result that belong together.
    fn each<T: Element>(
        &self,
        inputs: &Inputs<'_>,
        out: &mut [T],
        join: impl Fn(&mut T, &T),
    ) -> Result<(), RunError> {
        let (input, indices) = (inputs.need(0)?, inputs.need(1)?);
        let (shape, updates) = inputs.values::<T>(2)?;
        match self.places {
            Places::Elements { axis: setting } => {
                let axis = axis(setting, input.shape().len())?;
                within(input, indices, axis)?;
                if shape != indices.shape() {
                    let found = format_args!("updates of {shape}").to_string();
                    return Err(RunError::input(found, indices.shape()));
                }
                each_place(input, indices, axis, |index, place| {
                    join(&mut out[place], &updates[index]);
                    Ok(())
                })
            }
            Places::Tuples => each_tuple(input, indices, shape, |from, to, len| {
                let slice = out[to..to + len].iter_mut().zip(&updates[from..from + len]);
                slice.for_each(|(out, update)| join(out, update));
            }),
        }
    }
}

impl Operator for Scatter {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        with_values!(input.data(), values => {
            context.shape_as(&mut outputs[0], input.shape())?.clone_from_slice(values);
        });
        let reduction = self.reduction;
        if reduction == Reduction::None {
            return with_values!(outputs[0].data_mut(), out => {
                self.each(inputs, out.as_mut_slice(), |out, update| out.clone_from(update))
            });
        }
        with_values!([F32, F64, F16, Bf16, I8, I16, I32, I64, U8, U16, U32, U64]
            outputs[0].data_mut(), out => {
                let join = |out: &mut _, update: &_| *out = reduction.join(*out, *update);
                self.each(inputs, out.as_mut_slice(), join)
            }, else Err(RunError::input(input.dtype(), "numbers")))
    }
}

fn built(view: &NodeView<'_>, places: Places) -> Result<Built, ModelError> {
    let dtype = view.dtype(0)?;
    view.dtype_among(2, &[dtype])?;
    let reduction = match view.string("reduction")?.unwrap_or("none") {
        "none" => Reduction::None,
        "add" => Reduction::Add,
        "mul" => Reduction::Mul,
        "max" if view.opset() >= 18 => Reduction::Max,
        "min" if view.opset() >= 18 => Reduction::Min,
        other => return Err(view.refuse(format_args!("reduction `{other}` is not known"))),
    };
    if reduction != Reduction::None && matches!(dtype, DType::Bool | DType::String) {
        return Err(view.refuse(format_args!("type {dtype} is not reduced")));
    }
    Ok(Built::one(Scatter { places, reduction }, dtype))
}

fn elements(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.dtype_among(1, &[DType::I32, DType::I64])?;
    let axis = view.int_or("axis", 0)?;
    check_axes(view, &[axis])?;
    built(view, Places::Elements { axis })
}

fn scatter(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["axis"])?;
    if view.opset() >= 11 {
        return Err(view.refuse("this opset has ScatterElements instead"));
    }
    elements(view)
}

fn scatter_elements(view: &NodeView<'_>) -> Result<Built, ModelError> {
    allowed(view, &[("axis", 1, u32::MAX), ("reduction", 16, u32::MAX)])?;
    elements(view)
}

fn scatter_nd(view: &NodeView<'_>) -> Result<Built, ModelError> {
    allowed(view, &[("reduction", 16, u32::MAX)])?;
    view.dtype_among(1, &[DType::I64])?;
    built(view, Places::Tuples)
}
