//! Owns the change of type in which every value keeps its bits.
//!
//! Refuses text and types of other widths. Bound: one pass.

use half::{bf16, f16};

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::dtype_setting;
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Element, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "BitCast", build)];

/// A value with its bits in the lowest places of 64.
trait Bits: Element {
    fn bits(&self) -> u64;
    /// The value of these bits; none where there is none.
    fn of_bits(bits: u64) -> Option<Self>;
}

macro_rules! integers {
    ($($type:ty: $unsigned:ty),*) => { $(impl Bits for $type {
        fn bits(&self) -> u64 { u64::from(*self as $unsigned) }
        fn of_bits(bits: u64) -> Option<Self> { Some(bits as $unsigned as $type) }
    })* };
}

integers!(i8: u8, i16: u16, i32: u32, i64: u64, u8: u8, u16: u16, u32: u32, u64: u64);

macro_rules! floats {
    ($($type:ty: $unsigned:ty),*) => { $(impl Bits for $type {
        fn bits(&self) -> u64 { u64::from(self.to_bits()) }
        fn of_bits(bits: u64) -> Option<Self> { Some(<$type>::from_bits(bits as $unsigned)) }
    })* };
}

floats!(f32: u32, f64: u64, f16: u16, bf16: u16);

impl Bits for bool {
    fn bits(&self) -> u64 {
        u64::from(*self)
    }

    fn of_bits(bits: u64) -> Option<Self> {
        (bits <= 1).then_some(bits == 1)
    }
}

#[derive(Debug)]
struct BitCast(DType);

impl Operator for BitCast {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        context.shape(&mut outputs[0], self.0, input.shape())?;
        with_values!([F32, F64, F16, Bf16, I8, I16, I32, I64, U8, U16, U32, U64, Bool]
            input.data(), from => {
            with_values!([F32, F64, F16, Bf16, I8, I16, I32, I64, U8, U16, U32, U64, Bool]
                outputs[0].data_mut(), to => convert(from, to),
                else Err(RunError::input(self.0, "a type of numbers")))
        }, else Err(RunError::input(input.dtype(), "a type of numbers")))
    }
}

fn convert<S: Bits, T: Bits>(from: &[S], to: &mut [T]) -> Result<(), RunError> {
    for (to, from) in to.iter_mut().zip(from) {
        let bits = from.bits();
        *to = T::of_bits(bits).ok_or_else(|| RunError::input(bits, "0 or 1 as a truth"))?;
    }
    Ok(())
}

fn build(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["to"])?;
    let from = view.dtype(0)?;
    let to = dtype_setting(view, "to")?.ok_or_else(|| view.refuse("attribute `to` is missing"))?;
    if [from, to].contains(&DType::String) || from.bytes() != to.bytes() {
        return Err(view.refuse(format_args!("the bits of {from} are none of {to}")));
    }
    Ok(Built::one(BitCast(to), to))
}
