//! Owns the seam between the program and its operators.
//!
//! Refuses to know any operator. Bound: an operator that is built has checked its settings and the
//! types of its inputs; what only a run can show, the shapes, it reports as [`RunError`].

use std::fmt;

use super::memory::MemoryReport;
use super::session::Slots;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::kernels::{Isa, Team};
use crate::tensor::{DType, Element, Shape, Tensor};

/// Makes an operator of a node, or refuses the node.
pub type Build = fn(&NodeView<'_>) -> Result<Built, ModelError>;

/// An operator ready to run.
pub struct Built {
    /// What runs.
    pub operator: Box<dyn Operator>,
    /// The types of its outputs, for each that the node writes down.
    pub outputs: Vec<DType>,
    /// Constant inputs that it has taken over in its own form and will not ask for again.
    pub taken: Vec<usize>,
}

impl Built {
    /// An operator with one output.
    pub fn one(operator: impl Operator + 'static, output: DType) -> Self {
        Self::many(operator, vec![output])
    }

    /// An operator with several outputs.
    pub fn many(operator: impl Operator + 'static, outputs: Vec<DType>) -> Self {
        Self { operator: Box::new(operator), outputs, taken: Vec::new() }
    }

    /// The same, not asking for these constant inputs again.
    pub fn taking(mut self, inputs: &[usize]) -> Self {
        self.taken.extend_from_slice(inputs);
        self
    }
}

/// Why a run stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// Shapes or values that the operator cannot take.
    #[error("{found}, expected {expected}")]
    Input {
        /// What came in.
        found: String,
        /// What can.
        expected: String,
    },
    /// A result larger than the session's limit.
    #[error("a result of {bytes} bytes is more than the {bytes_max} that a run may hold")]
    TooLarge {
        /// Bytes of the result.
        bytes: usize,
        /// Most bytes of one session.
        bytes_max: usize,
    },
    /// The deadline passed between two operators.
    #[error("the run took longer than its limit")]
    Late,
}

impl RunError {
    /// What came in and what can.
    pub fn input(found: impl fmt::Display, expected: impl fmt::Display) -> Self {
        Self::Input { found: found.to_string(), expected: expected.to_string() }
    }
}

/// Computes one node.
pub trait Operator: fmt::Debug + Send + Sync {
    /// Computes `outputs` of `inputs`. The outputs hold whatever an earlier run left in them, in
    /// their types: shape them with [`Context::shape`] or [`Context::shape_as`], which keep their
    /// buffers.
    ///
    /// # Errors
    /// [`RunError::Input`] for shapes and values that do not fit; nothing panics on input.
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError>;

    /// Adds the memory that it holds between runs, such as packed weights.
    fn memory(&self, _report: &mut MemoryReport) {}
}

/// The inputs of one node in one run.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    pub(super) slots: Slots<'a>,
}

impl<'a> Inputs<'a> {
    /// How many inputs the node writes down, absent ones included.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An input, if it is there.
    pub fn get(&self, index: usize) -> Option<&'a Tensor> {
        self.slots.get(index)
    }

    /// An input that must be there.
    ///
    /// # Errors
    /// [`RunError::Input`] if it is not.
    pub fn need(&self, index: usize) -> Result<&'a Tensor, RunError> {
        let missing = || RunError::input(format_args!("no input {index}"), "one");
        self.get(index).ok_or_else(missing)
    }

    /// The values of an input that must be there, with its shape.
    ///
    /// # Errors
    /// [`RunError::Input`] if it is not, or of another type.
    pub fn values<T: Element>(&self, index: usize) -> Result<(&'a Shape, &'a [T]), RunError> {
        let tensor = self.need(index)?;
        let wrong = || RunError::input(tensor.dtype(), T::DTYPE);
        Ok((tensor.shape(), tensor.values::<T>().ok_or_else(wrong)?))
    }
}

/// Buffers that operators may use for the length of one call; they keep their size.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Numbers.
    pub f32s: [Vec<f32>; 4],
    /// Quantised numbers.
    pub i8s: Vec<i8>,
    /// Quantised numbers.
    pub u8s: Vec<u8>,
    /// Sums in the widest types.
    pub f64s: Vec<f64>,
    /// Sums in the widest types.
    pub i64s: Vec<i64>,
    /// Sums of quantised products.
    pub i32s: Vec<i32>,
    /// Numbers of nodes and leaves.
    pub u32s: Vec<u32>,
    /// Places.
    pub usizes: Vec<usize>,
}

/// What an operator may use besides its inputs.
pub struct Context<'a> {
    /// Which kernels the host has.
    pub isa: Isa,
    /// Who helps with large work.
    pub team: &'a dyn Team,
    /// Buffers for the length of the call.
    pub scratch: &'a mut Scratch,
    /// Bytes that one result may have.
    pub bytes_max: usize,
}

impl Context<'_> {
    /// Shapes an output, within the limit.
    ///
    /// # Errors
    /// [`RunError::TooLarge`].
    pub fn shape(&self, output: &mut Tensor, dtype: DType, dims: &[usize]) -> Result<(), RunError> {
        let shape = self.check(dtype, dims)?;
        output.reset(dtype, shape);
        Ok(())
    }

    /// Shapes an output, within the limit, and gives its values, which hold whatever was there.
    ///
    /// # Errors
    /// [`RunError::TooLarge`].
    pub fn shape_as<'o, T: Element>(
        &self,
        output: &'o mut Tensor,
        dims: &[usize],
    ) -> Result<&'o mut [T], RunError> {
        let shape = self.check(T::DTYPE, dims)?;
        Ok(output.reset_as::<T>(shape))
    }

    fn check(&self, dtype: DType, dims: &[usize]) -> Result<Shape, RunError> {
        let too_large = |bytes| RunError::TooLarge { bytes, bytes_max: self.bytes_max };
        let shape = Shape::new(dims).ok_or_else(|| too_large(usize::MAX))?;
        let bytes = shape.count().saturating_mul(dtype.bytes());
        if bytes > self.bytes_max { Err(too_large(bytes)) } else { Ok(shape) }
    }
}
