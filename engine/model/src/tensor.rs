//! Owns the tensor: a shape and its values, row-major, of one of the element types that models use.
//!
//! Refuses to know operators. Bound: [`RANK_MAX`] dimensions; a tensor keeps its buffer when it is
//! shaped anew, so that a steady computation allocates nothing.

use std::fmt;
use std::ops::Deref;

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// Most dimensions of a tensor.
pub const RANK_MAX: usize = 8;

/// The type of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of binary32.
    Bf16,
    /// Signed, 8 bits.
    I8,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// True or false, one byte.
    Bool,
    /// UTF-8 text.
    String,
}

impl DType {
    /// The type that ONNX gives a number (`TensorProto.DataType`); none for those that tensors here
    /// do not have.
    pub fn of_onnx(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::F32,
            2 => Self::U8,
            3 => Self::I8,
            4 => Self::U16,
            5 => Self::I16,
            6 => Self::I32,
            7 => Self::I64,
            8 => Self::String,
            9 => Self::Bool,
            10 => Self::F16,
            11 => Self::F64,
            12 => Self::U32,
            13 => Self::U64,
            16 => Self::Bf16,
            _ => return None,
        })
    }

    /// Bytes of one element in memory; for text those of its handle.
    pub fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::String => size_of::<String>(),
        }
    }

    /// Whether it is one of the floating-point types.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::F16 | Self::Bf16)
    }

    /// Whether it is an integer type; bool is none.
    pub fn is_integer(self) -> bool {
        !self.is_float() && !matches!(self, Self::Bool | Self::String)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::Bool => "bool",
            Self::String => "string",
        })
    }
}

/// Elements along each dimension; empty for a scalar.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; RANK_MAX],
    rank: u8,
}

impl Shape {
    /// A shape; `None` for more than [`RANK_MAX`] dimensions or more elements than a `usize`
    /// counts, dimensions of 0 left aside.
    pub fn new(dims: &[usize]) -> Option<Self> {
        if dims.len() > RANK_MAX {
            return None;
        }
        // A dimension of 0 counts as 1, so that no product of some dimensions is too large either.
        dims.iter().try_fold(1usize, |count, dim| count.checked_mul(*dim.max(&1)))?;
        let mut shape = Self { dims: [0; RANK_MAX], rank: dims.len() as u8 };
        shape.dims[..dims.len()].copy_from_slice(dims);
        Some(shape)
    }

    /// How many elements there are.
    pub fn count(&self) -> usize {
        self.iter().product()
    }

    /// How far apart neighbours along each dimension lie, in elements; zeros beyond the rank.
    pub fn strides(&self) -> [usize; RANK_MAX] {
        let mut strides = [0; RANK_MAX];
        let mut stride = 1;
        for axis in (0..self.len()).rev() {
            strides[axis] = stride;
            stride *= self[axis];
        }
        strides
    }
}

impl Deref for Shape {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.dims[..usize::from(self.rank)]
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &**self)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &**self)
    }
}

/// A Rust type that a tensor can hold.
pub trait Element: Clone + Default + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// Its name.
    const DTYPE: DType;
    /// The values, if they are of this type.
    fn values(data: &Data) -> Option<&Vec<Self>>;
    /// The values, if they are of this type.
    fn values_mut(data: &mut Data) -> Option<&mut Vec<Self>>;
    /// Values as data.
    fn data(values: Vec<Self>) -> Data;
}

macro_rules! elements {
    ($($dtype:ident: $type:ty),* $(,)?) => {
        /// The values of a tensor.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Data {
            $(#[doc = stringify!($type)] $dtype(Vec<$type>),)*
        }

        impl Data {
            /// No values of a type.
            pub fn empty(dtype: DType) -> Self {
                match dtype { $(DType::$dtype => Self::$dtype(Vec::new()),)* }
            }

            /// The type of the values.
            pub fn dtype(&self) -> DType {
                match self { $(Self::$dtype(_) => DType::$dtype,)* }
            }

            /// How many values there are.
            pub fn len(&self) -> usize {
                match self { $(Self::$dtype(values) => values.len(),)* }
            }

            /// Whether there are none.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Makes it `count` values of `dtype`, whatever they are; the buffer is kept where the
            /// type stays.
            pub fn resize(&mut self, dtype: DType, count: usize) {
                if self.dtype() != dtype {
                    *self = Self::empty(dtype);
                }
                match self { $(Self::$dtype(values) => values.resize(count, Default::default()),)* }
            }
        }

        $(impl Element for $type {
            const DTYPE: DType = DType::$dtype;

            fn values(data: &Data) -> Option<&Vec<Self>> {
                match data { Data::$dtype(values) => Some(values), _ => None }
            }

            fn values_mut(data: &mut Data) -> Option<&mut Vec<Self>> {
                match data { Data::$dtype(values) => Some(values), _ => None }
            }

            fn data(values: Vec<Self>) -> Data {
                Data::$dtype(values)
            }
        })*
    };
}

elements! {
    F32: f32, F64: f64, F16: f16, Bf16: bf16,
    I8: i8, I16: i16, I32: i32, I64: i64,
    U8: u8, U16: u16, U32: u32, U64: u64,
    Bool: bool, String: String,
}

/// Runs `$body` with `$values` bound to the `Vec` inside `$data`, whatever its type. With a list
/// of types in front only those are bound, and `else` says what to do with the others.
#[macro_export]
macro_rules! with_values {
    ($data:expr, $values:ident => $body:expr) => {
        $crate::with_values!(
            [F32, F64, F16, Bf16, I8, I16, I32, I64, U8, U16, U32, U64, Bool, String]
            $data, $values => $body)
    };
    ([$($dtype:ident),*] $data:expr, $values:ident => $body:expr) => {
        match $data { $($crate::tensor::Data::$dtype($values) => $body,)* }
    };
    ([$($dtype:ident),*] $data:expr, $values:ident => $body:expr, else $other:expr) => {
        match $data {
            $($crate::tensor::Data::$dtype($values) => $body,)*
            #[allow(unreachable_patterns)]
            _ => $other,
        }
    };
}

/// A shape and its values, row-major.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    shape: Shape,
    data: Data,
}

impl Default for Tensor {
    /// No values: shape `[0]`.
    fn default() -> Self {
        let shape = Shape { rank: 1, ..Shape::default() };
        Self { shape, data: Data::F32(Vec::new()) }
    }
}

impl Tensor {
    /// Joins a shape and as many values; `None` if they do not fit.
    pub fn new(dims: &[usize], data: Data) -> Option<Self> {
        let shape = Shape::new(dims)?;
        (shape.count() == data.len()).then_some(Self { shape, data })
    }

    /// As [`Tensor::new`], of a Rust vector.
    pub fn of<T: Element>(dims: &[usize], values: Vec<T>) -> Option<Self> {
        Self::new(dims, T::data(values))
    }

    /// One value without a dimension.
    pub fn scalar<T: Element>(value: T) -> Self {
        Self { shape: Shape::default(), data: T::data(vec![value]) }
    }

    /// Elements along each dimension.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// How many elements there are.
    pub fn count(&self) -> usize {
        self.data.len()
    }

    /// Bytes of the values in memory; of text only the handles count.
    pub fn bytes(&self) -> usize {
        self.count() * self.dtype().bytes()
    }

    /// The values.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The values; their number must stay.
    pub fn data_mut(&mut self) -> &mut Data {
        &mut self.data
    }

    /// Shape and values apart.
    pub fn into_data(self) -> (Shape, Data) {
        (self.shape, self.data)
    }

    /// The values, if they are of this type.
    pub fn values<T: Element>(&self) -> Option<&[T]> {
        T::values(&self.data).map(Vec::as_slice)
    }

    /// The values, if they are of this type.
    pub fn values_mut<T: Element>(&mut self) -> Option<&mut [T]> {
        T::values_mut(&mut self.data).map(Vec::as_mut_slice)
    }

    /// Gives it another shape and type. The values are whatever was there before or the type's
    /// default; the buffer is kept where the type stays.
    pub fn reset(&mut self, dtype: DType, shape: Shape) {
        self.data.resize(dtype, shape.count());
        self.shape = shape;
    }

    /// As [`Tensor::reset`], with the values of a Rust type at once.
    pub fn reset_as<T: Element>(&mut self, shape: Shape) -> &mut [T] {
        self.reset(T::DTYPE, shape);
        match T::values_mut(&mut self.data) {
            Some(values) => values,
            // `reset` has just given it this type.
            None => &mut [],
        }
    }

    /// Gives the same values another shape; `None` if the counts differ.
    pub fn with_shape(mut self, dims: &[usize]) -> Option<Self> {
        let shape = Shape::new(dims)?;
        (shape.count() == self.count()).then(|| {
            self.shape = shape;
            self
        })
    }
}

impl fmt::Debug for Tensor {
    /// The first values only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?} ", self.dtype(), self.shape)?;
        with_values!(&self.data, values => f.debug_list().entries(values.iter().take(16)).finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_bounded() {
        assert_eq!(Shape::new(&[]).unwrap().count(), 1);
        assert_eq!(Shape::new(&[2, 3]).unwrap().strides()[..2], [3, 1]);
        assert_eq!(Shape::new(&[usize::MAX, 0]).unwrap().count(), 0);
        assert!(Shape::new(&[usize::MAX, 0, 2]).is_none());
        assert!(Shape::new(&[usize::MAX, 2]).is_none());
        assert!(Shape::new(&[1; RANK_MAX + 1]).is_none());
    }

    #[test]
    fn a_buffer_is_kept() {
        let mut tensor = Tensor::of(&[2, 2], vec![1i64, 2, 3, 4]).unwrap();
        let before = tensor.values::<i64>().unwrap().as_ptr();
        tensor.reset_as::<i64>(Shape::new(&[3]).unwrap()).fill(7);
        assert_eq!(tensor, Tensor::of(&[3], vec![7i64; 3]).unwrap());
        assert_eq!(tensor.values::<i64>().unwrap().as_ptr(), before);
        assert!(tensor.values::<f32>().is_none());
        assert!(Tensor::of(&[2], vec![1u8]).is_none());
    }
}
