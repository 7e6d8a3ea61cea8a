//! Owns one function of two values, applied over broadcast tensors, and the choice of the Rust
//! type for it.
//!
//! Refuses to know which function. Bound: equal shapes and repeated rows are plain loops, anything
//! else walks by strides.

use std::fmt;
use std::marker::PhantomData;

use super::walk::{broadcast, strides, walk};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Element, Shape, Tensor};

/// See the module. `F` is the function.
pub struct Binary<T, U, F> {
    function: F,
    /// The second is broadcast to the first, never the first to the second.
    is_of_first: bool,
    types: PhantomData<fn(T) -> U>,
}

impl<T: Element, U: Element, F: Fn(&T, &T) -> U + Send + Sync + 'static> Binary<T, U, F> {
    /// Of two tensors that are broadcast against each other.
    pub fn built(function: F) -> Built {
        Built::one(Self { function, is_of_first: false, types: PhantomData }, U::DTYPE)
    }

    /// Of two tensors, the second broadcast to the shape of the first.
    pub fn of_shape_of_first(function: F) -> Built {
        Built::one(Self { function, is_of_first: true, types: PhantomData }, U::DTYPE)
    }
}

impl<T, U, F> fmt::Debug for Binary<T, U, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Binary")
    }
}

impl<T: Element, U: Element, F: Fn(&T, &T) -> U + Send + Sync> Operator for Binary<T, U, F> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let ((a_shape, a), (b_shape, b)) = (inputs.values::<T>(0)?, inputs.values::<T>(1)?);
        let dims = broadcast(&[a_shape, b_shape])?;
        if self.is_of_first && a_shape[..] != dims[..] {
            let found = format!("shapes {a_shape} and {b_shape}");
            return Err(RunError::input(found, "a second that is broadcast to the first"));
        }
        let out = context.shape_as::<U>(&mut outputs[0], &dims)?;
        let function = &self.function;
        // Rows of the shorter one repeat along the longer one.
        let repeats = |long: &Shape, short: &Shape| {
            long[..] == dims[..] && long.ends_with(short) && !short.is_empty()
        };
        if a.len() == out.len() && b.len() == out.len() {
            for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
                *out = function(a, b);
            }
        } else if let ([b], true) = (b, a.len() == out.len()) {
            for (out, a) in out.iter_mut().zip(a) {
                *out = function(a, b);
            }
        } else if let ([a], true) = (a, b.len() == out.len()) {
            for (out, b) in out.iter_mut().zip(b) {
                *out = function(a, b);
            }
        } else if repeats(a_shape, b_shape) && !b.is_empty() {
            for (out, a) in out.chunks_exact_mut(b.len()).zip(a.chunks_exact(b.len())) {
                for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
                    *out = function(a, b);
                }
            }
        } else {
            let strides = [strides(a_shape, dims.len()), strides(b_shape, dims.len())];
            walk(&dims, &strides, |at, [first, second]| {
                out[at] = function(&a[first], &b[second]);
            });
        }
        Ok(())
    }
}

/// The one type of both inputs.
///
/// # Errors
/// [`ModelError::Unsupported`] if they differ.
pub fn same_type(view: &NodeView<'_>) -> Result<DType, ModelError> {
    let (a, b) = (view.dtype(0)?, view.dtype(1)?);
    match a == b && view.input_count() == 2 {
        true => Ok(a),
        false => Err(view.refuse(format_args!("inputs of types {a} and {b}"))),
    }
}

/// Runs a macro with the Rust type of any element type.
macro_rules! by_type {
    ($view:expr, $dtype:expr, $make:ident, [$($extra:ident: $type:ty),*]) => {
        match $dtype {
            DType::F32 => $make!(f32),
            DType::F64 => $make!(f64),
            DType::F16 => $make!(half::f16),
            DType::Bf16 => $make!(half::bf16),
            DType::I8 => $make!(i8),
            DType::I16 => $make!(i16),
            DType::I32 => $make!(i32),
            DType::I64 => $make!(i64),
            DType::U8 => $make!(u8),
            DType::U16 => $make!(u16),
            DType::U32 => $make!(u32),
            DType::U64 => $make!(u64),
            $(DType::$extra => $make!($type),)*
            #[allow(unreachable_patterns, reason = "some callers name every type")]
            other => Err($view.refuse(format_args!("type {other} is not computed"))),
        }
    };
}

pub(super) use by_type;
