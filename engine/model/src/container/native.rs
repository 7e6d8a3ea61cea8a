//! Owns the way of a tensor between a container and memory, each type as itself.
//!
//! Refuses to know what the tensors are for; text has no type in a container. Bound: one copy of
//! the tensor's bytes, whose number the container has checked.

use std::borrow::Cow;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, View};

use super::{Stored, tensor_error};
use crate::error::ModelError;
use crate::tensor::{DType, Data, Tensor};
use crate::with_values;

/// Reads little-endian values of a type that has `from_le_bytes`.
macro_rules! read {
    ($bytes:expr, $type:ty) => {
        $bytes.as_chunks().0.iter().map(|value| <$type>::from_le_bytes(*value)).collect()
    };
}

impl Stored<'_> {
    /// The bytes as they lie in the file.
    pub fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// The tensor in memory, in the file's type.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] if a truth value is neither 0 nor 1.
    pub fn tensor(&self, name: &str) -> Result<Tensor, ModelError> {
        let bytes = self.bytes;
        let data = match self.dtype {
            DType::F32 => Data::F32(read!(bytes, f32)),
            DType::F64 => Data::F64(read!(bytes, f64)),
            DType::F16 => Data::F16(read!(bytes, f16)),
            DType::Bf16 => Data::Bf16(read!(bytes, bf16)),
            DType::I8 => Data::I8(read!(bytes, i8)),
            DType::I16 => Data::I16(read!(bytes, i16)),
            DType::I32 => Data::I32(read!(bytes, i32)),
            DType::I64 => Data::I64(read!(bytes, i64)),
            DType::U8 => Data::U8(bytes.to_vec()),
            DType::U16 => Data::U16(read!(bytes, u16)),
            DType::U32 => Data::U32(read!(bytes, u32)),
            DType::U64 => Data::U64(read!(bytes, u64)),
            DType::Bool => match bytes.iter().find(|byte| **byte > 1) {
                Some(byte) => return Err(tensor_error(name, format!("a byte {byte}"), "0 or 1")),
                None => Data::Bool(bytes.iter().map(|byte| *byte == 1).collect()),
            },
            DType::String => return Err(tensor_error(name, self.describe(), "no text")),
        };
        let wrong = || tensor_error(name, self.describe(), "as many values as its shape");
        Tensor::new(&self.shape, data).ok_or_else(wrong)
    }
}

/// A tensor as the safetensors writer wants it.
pub(crate) struct TensorView<'a> {
    dtype: Dtype,
    tensor: &'a Tensor,
}

impl<'a> TensorView<'a> {
    /// A view; `None` of text, which a container does not hold.
    pub fn new(tensor: &'a Tensor) -> Option<Self> {
        let dtype = match tensor.dtype() {
            DType::F32 => Dtype::F32,
            DType::F64 => Dtype::F64,
            DType::F16 => Dtype::F16,
            DType::Bf16 => Dtype::BF16,
            DType::I8 => Dtype::I8,
            DType::I16 => Dtype::I16,
            DType::I32 => Dtype::I32,
            DType::I64 => Dtype::I64,
            DType::U8 => Dtype::U8,
            DType::U16 => Dtype::U16,
            DType::U32 => Dtype::U32,
            DType::U64 => Dtype::U64,
            DType::Bool => Dtype::BOOL,
            DType::String => return None,
        };
        Some(Self { dtype, tensor })
    }
}

impl View for TensorView<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        self.tensor.shape()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self.tensor.data() {
            Data::U8(values) => values.as_slice().into(),
            Data::Bool(values) => values.iter().map(|value| u8::from(*value)).collect(),
            other => with_values!(
                [F32, F64, F16, Bf16, I8, I16, I32, I64, U16, U32, U64]
                other, values => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
                else Cow::Borrowed(&[])
            ),
        }
    }

    fn data_len(&self) -> usize {
        self.tensor.bytes()
    }
}
