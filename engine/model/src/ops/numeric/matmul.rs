//! Owns the product of stacks of matrices, as NumPy's `matmul` has it.
//!
//! Refuses vectors of text and bool. Bound: products of f32 run in the kernels; integers wrap.

use std::fmt;
use std::marker::PhantomData;

use half::{bf16, f16};

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::kernels::{Gemm, gemm_f32};
use crate::ops::registry::Family;
use crate::ops::support::{Few, Number};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, RANK_MAX, Shape, Tensor};

/// This family.
pub const OPERATORS: Family = &[("", "MatMul", build)];

/// The parts of one product of stacks.
pub(super) struct Stacks {
    /// Dimensions of the result.
    pub dims: Few<usize>,
    outer: Few<usize>,
    left: [usize; RANK_MAX],
    right: [usize; RANK_MAX],
    /// Rows of the left matrices.
    pub rows: usize,
    /// What is summed over.
    pub depth: usize,
    /// Columns of the right matrices.
    pub columns: usize,
}

impl Stacks {
    /// Of two shapes.
    pub fn of(a: &Shape, b: &Shape) -> Result<Self, RunError> {
        let scalar = || RunError::input("a scalar", "at least one dimension");
        let (rows, a_outer) = match &a[..] {
            [] => return Err(scalar()),
            [_] => (1, &[][..]),
            [outer @ .., rows, _] => (*rows, outer),
        };
        let (depth_b, columns, b_outer) = match &b[..] {
            [] => return Err(scalar()),
            [depth] => (*depth, 1, &[][..]),
            [outer @ .., depth, columns] => (*depth, *columns, outer),
        };
        let depth = a[a.len() - 1];
        if depth != depth_b {
            return Err(RunError::input(format_args!("{a} times {b}"), "equal inner dimensions"));
        }
        let rank = a_outer.len().max(b_outer.len());
        let mut outer = Few::filled(1usize, rank)?;
        for own in [a_outer, b_outer] {
            let start = rank - own.len();
            for (dim, own) in outer[start..].iter_mut().zip(own) {
                match (*dim, *own) {
                    (dim, own) if dim == own || own == 1 => {}
                    (1, own) => *dim = own,
                    _ => {
                        return Err(RunError::input(format_args!("{a} times {b}"), "stacks alike"));
                    }
                }
            }
        }
        let mut dims = outer;
        if a.len() > 1 {
            dims.push(rows)?;
        }
        if b.len() > 1 {
            dims.push(columns)?;
        }
        let left = steps(a_outer, rank, rows * depth);
        let right = steps(b_outer, rank, depth * columns);
        Ok(Self { dims, outer, left, right, rows, depth, columns })
    }

    /// Calls `each` with the starts of the left, the right and the resulting matrix.
    pub fn each(&self, mut each: impl FnMut(usize, usize, usize)) {
        let size = self.rows * self.columns;
        let count: usize = self.outer.iter().product();
        for index in 0..count {
            let (mut rest, mut left, mut right) = (index, 0, 0);
            for axis in (0..self.outer.len()).rev() {
                let at = rest % self.outer[axis];
                rest /= self.outer[axis];
                left += at * self.left[axis];
                right += at * self.right[axis];
            }
            each(left, right, index * size);
        }
    }
}

fn steps(own: &[usize], rank: usize, size: usize) -> [usize; RANK_MAX] {
    let mut steps = [0; RANK_MAX];
    let mut step = size;
    for (axis, dim) in own.iter().enumerate().rev() {
        let place = rank - own.len() + axis;
        if *dim != 1 {
            steps[place] = step;
        }
        step *= dim;
    }
    steps
}

struct MatMul<T>(PhantomData<fn(T)>);

impl<T> fmt::Debug for MatMul<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MatMul")
    }
}

/// Numbers whose products are summed in a type of their own.
trait Summed: Number {
    type Sum: Copy + Default;
    fn add(sum: Self::Sum, a: Self, b: Self) -> Self::Sum;
    fn finish(sum: Self::Sum) -> Self;
}

macro_rules! summed {
    ($($type:ty: $sum:ty, $add:expr, $finish:expr;)*) => { $(impl Summed for $type {
        type Sum = $sum;
        fn add(sum: $sum, a: Self, b: Self) -> $sum { ($add)(sum, a, b) }
        fn finish(sum: $sum) -> Self { ($finish)(sum) }
    })* };
}

summed! {
    f64: f64, |sum: f64, a, b| sum + a * b, |sum| sum;
    f16: f32, |sum: f32, a: f16, b: f16| sum + a.to_f32() * b.to_f32(), f16::from_f32;
    bf16: f32, |sum: f32, a: bf16, b: bf16| sum + a.to_f32() * b.to_f32(), bf16::from_f32;
    i32: i32, |sum: i32, a: i32, b| sum.wrapping_add(a.wrapping_mul(b)), |sum| sum;
    i64: i64, |sum: i64, a: i64, b| sum.wrapping_add(a.wrapping_mul(b)), |sum| sum;
    u32: u32, |sum: u32, a: u32, b| sum.wrapping_add(a.wrapping_mul(b)), |sum| sum;
    u64: u64, |sum: u64, a: u64, b| sum.wrapping_add(a.wrapping_mul(b)), |sum| sum;
}

impl<T: Summed> Operator for MatMul<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let ((a_shape, a), (b_shape, b)) = (inputs.values::<T>(0)?, inputs.values::<T>(1)?);
        let stacks = Stacks::of(a_shape, b_shape)?;
        let out = context.shape_as::<T>(&mut outputs[0], &stacks.dims)?;
        stacks.each(|left, right, start| {
            for row in 0..stacks.rows {
                for column in 0..stacks.columns {
                    let mut sum = T::Sum::default();
                    for step in 0..stacks.depth {
                        let a = a[left + row * stacks.depth + step];
                        sum = T::add(sum, a, b[right + step * stacks.columns + column]);
                    }
                    out[start + row * stacks.columns + column] = T::finish(sum);
                }
            }
        });
        Ok(())
    }
}

/// The product that the kernels compute.
#[derive(Debug)]
struct MatMulF32;

impl Operator for MatMulF32 {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let ((a_shape, a), (b_shape, b)) = (inputs.values::<f32>(0)?, inputs.values::<f32>(1)?);
        let stacks = Stacks::of(a_shape, b_shape)?;
        let Stacks { rows, depth, columns, .. } = stacks;
        let out = context.shape_as::<f32>(&mut outputs[0], &stacks.dims)?;
        out.fill(0.0);
        let (isa, team) = (context.isa, context.team);
        let scratch = &mut context.scratch.f32s[0];
        stacks.each(|left, right, start| {
            let gemm = Gemm {
                rows,
                columns,
                depth,
                a: &a[left..][..rows * depth],
                a_stride: depth,
                a_transposed: false,
                b: &b[right..][..depth * columns],
                b_stride: columns,
                b_transposed: false,
                scale: 1.0,
                out: &mut out[start..][..rows * columns],
                out_stride: columns,
            };
            gemm_f32(isa, team, gemm, scratch);
        });
        Ok(())
    }
}

fn build(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    let dtype = view.dtype(0)?;
    view.dtype_among(1, &[dtype])?;
    Ok(match dtype {
        DType::F32 => Built::one(MatMulF32, dtype),
        DType::F64 => Built::one(MatMul::<f64>(PhantomData), dtype),
        DType::F16 => Built::one(MatMul::<f16>(PhantomData), dtype),
        DType::Bf16 => Built::one(MatMul::<bf16>(PhantomData), dtype),
        DType::I32 => Built::one(MatMul::<i32>(PhantomData), dtype),
        DType::I64 => Built::one(MatMul::<i64>(PhantomData), dtype),
        DType::U32 => Built::one(MatMul::<u32>(PhantomData), dtype),
        DType::U64 => Built::one(MatMul::<u64>(PhantomData), dtype),
        other => return Err(view.refuse(format_args!("type {other} is not computed"))),
    })
}
