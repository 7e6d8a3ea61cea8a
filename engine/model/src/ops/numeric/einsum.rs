//! Owns `Einsum`: sums of products over named dimensions.
//!
//! Refuses text and truths. Bound: two inputs of floating-point numbers whose sums are over
//! dimensions of both are a product of stacks of matrices, which for f32 runs in the kernels; all
//! others take a step for each product of a sum.

use std::fmt;
use std::marker::PhantomData;

use half::{bf16, f16};

use super::equation::{Equation, Label, hidden};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{BUFFER_COUNT, Few, Float, Multiplied, Number, Product, View, Wide};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, RANK_MAX, Shape, Tensor};

/// This family.
pub const OPERATORS: Family = &[("", "Einsum", build)];

struct Einsum<T> {
    equation: Equation,
    elements: PhantomData<fn(T)>,
}

impl<T> fmt::Debug for Einsum<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Einsum").field("equation", &self.equation).finish_non_exhaustive()
    }
}

/// The dimensions of a run by their labels.
#[derive(Default)]
struct Dims(Vec<(Label, usize)>);

impl Dims {
    fn of(&self, label: Label) -> usize {
        self.0.iter().find(|(own, _)| *own == label).map_or(1, |(_, dim)| *dim)
    }

    fn sizes<'a>(&'a self, labels: &'a [Label]) -> impl Iterator<Item = usize> + 'a {
        labels.iter().map(|label| self.of(*label))
    }

    /// Adds those of an input; 1 is broadcast.
    fn add(&mut self, labels: &[Label], shape: &Shape) -> Result<(), RunError> {
        for (label, dim) in labels.iter().zip(shape.iter()) {
            match self.0.iter_mut().find(|(own, _)| own == label) {
                None => self.0.push((*label, *dim)),
                Some((_, known)) if *known == *dim || *dim == 1 => {}
                Some((_, known)) if *known == 1 => *known = *dim,
                Some((_, known)) => {
                    let found = format_args!("dimensions {known} and {dim} of one name");
                    return Err(RunError::input(found, "equal ones"));
                }
            }
        }
        Ok(())
    }
}

/// An input with the labels of its dimensions.
struct Operand<'a, T> {
    values: &'a [T],
    shape: &'a Shape,
    labels: Few<Label>,
}

impl<T> Operand<'_, T> {
    /// How far it moves along a label: the sum over its dimensions of that name.
    fn stride(&self, label: Label) -> usize {
        let strides = self.shape.strides();
        let own = self
            .labels
            .iter()
            .enumerate()
            .filter(|(axis, own)| **own == label && self.shape[*axis] != 1);
        own.map(|(axis, _)| strides[axis]).sum()
    }
}

/// What a run is of.
struct Plan<'a, T> {
    dims: Dims,
    operands: Vec<Operand<'a, T>>,
    /// Labels of the result.
    kept: Few<Label>,
    /// All others.
    summed: Vec<Label>,
}

impl<'a, T: Number> Plan<'a, T> {
    fn of(equation: &Equation, inputs: &Inputs<'a>) -> Result<Self, RunError> {
        let (mut dims, mut operands, mut most) = (Dims::default(), Vec::new(), 0);
        for index in 0..inputs.len() {
            let (shape, values) = inputs.values::<T>(index)?;
            let labels = equation.input(index, shape)?;
            most = most.max(hidden(&labels));
            dims.add(&labels, shape)?;
            operands.push(Operand { values, shape, labels });
        }
        let kept = equation.output(most)?;
        if kept.len() > RANK_MAX {
            return Err(RunError::input(format_args!("{} dimensions", kept.len()), RANK_MAX));
        }
        let all = dims.0.iter().map(|(label, _)| *label);
        let summed = all.filter(|label| !kept.contains(label)).collect();
        Ok(Self { dims, operands, kept, summed })
    }

    fn shape(&self, output: &mut Tensor, context: &Context<'_>) -> Result<(), RunError> {
        let mut dims = Few::<usize>::new();
        self.dims.sizes(&self.kept).try_for_each(|dim| dims.push(dim))?;
        context.shape(output, T::DTYPE, &dims)
    }

    /// Whether an input has a dimension of a label.
    fn has(&self, operand: usize, label: Label) -> bool {
        self.operands[operand].labels.contains(&label)
    }

    /// Calls `each` with the place of the result and those of the inputs, the sums of one place
    /// after each other.
    fn walk(&self, mut each: impl FnMut(usize, &[usize])) {
        let labels: Vec<Label> = self.kept.iter().chain(&self.summed).copied().collect();
        let sizes: Vec<usize> = self.dims.sizes(&labels).collect();
        if sizes.contains(&0) {
            return;
        }
        let step = |label: &Label| self.operands.iter().map(|own| own.stride(*label)).collect();
        let steps: Vec<Vec<usize>> = labels.iter().map(step).collect();
        let sums: usize = self.dims.sizes(&self.summed).product();
        let mut counters = vec![0; labels.len()];
        let mut places = vec![0; self.operands.len()];
        for index in 0..sizes.iter().product() {
            each(index / sums, &places);
            for axis in (0..labels.len()).rev() {
                counters[axis] += 1;
                let wraps = counters[axis] == sizes[axis];
                for (place, step) in places.iter_mut().zip(&steps[axis]) {
                    *place = *place + step - if wraps { step * sizes[axis] } else { 0 };
                }
                if !wraps {
                    break;
                }
                counters[axis] = 0;
            }
        }
    }
}

/// Numbers whose products are summed one by one.
trait Term: Number {
    type Sum: Copy + Default;
    const ONE: Self::Sum;
    fn times(product: Self::Sum, value: Self) -> Self::Sum;
    fn plus(sum: Self::Sum, product: Self::Sum) -> Self::Sum;
    fn finish(sum: Self::Sum) -> Self;
}

macro_rules! floats {
    ($($type:ty: $wide:ty),*) => { $(impl Term for $type {
        type Sum = $wide;
        const ONE: $wide = 1.0;
        fn times(product: $wide, value: Self) -> $wide { product * value.wide() }
        fn plus(sum: $wide, product: $wide) -> $wide { sum + product }
        fn finish(sum: $wide) -> Self { <$type as Float>::narrow(sum) }
    })* };
}

floats!(f32: f32, f64: f64, f16: f32, bf16: f32);

macro_rules! wholes {
    ($($type:ty),*) => { $(impl Term for $type {
        type Sum = $type;
        const ONE: $type = 1;
        fn times(product: $type, value: Self) -> $type { product.wrapping_mul(value) }
        fn plus(sum: $type, product: $type) -> $type { sum.wrapping_add(product) }
        fn finish(sum: $type) -> Self { sum }
    })* };
}

wholes!(i32, i64, u32, u64);

impl<T: Term> Einsum<T> {
    /// One product after the other.
    fn by_steps(plan: &Plan<'_, T>, output: &mut Tensor) {
        let Some(out) = output.values_mut::<T>() else { return };
        out.fill(T::default());
        let (mut sum, mut last) = (T::Sum::default(), usize::MAX);
        plan.walk(|at, places| {
            let values = plan.operands.iter().zip(places).map(|(own, place)| own.values[*place]);
            let product = values.fold(T::ONE, T::times);
            if at != last {
                (sum, last) = (T::Sum::default(), at);
            }
            sum = T::plus(sum, product);
            out[at] = T::finish(sum);
        });
    }
}

impl<T: Float<Wide: Multiplied>> Einsum<T> {
    /// As a product of stacks of matrices; false if it is none.
    fn by_matrices(
        plan: &Plan<'_, T>,
        output: &mut Tensor,
        context: &mut Context<'_>,
    ) -> Result<bool, RunError> {
        let is_of_both = |label: &Label| plan.has(0, *label) && plan.has(1, *label);
        if plan.operands.len() != 2 || !plan.summed.iter().all(is_of_both) {
            return Ok(false);
        }
        let (batch, single): (Vec<_>, Vec<_>) = plan.kept.iter().copied().partition(is_of_both);
        let (left, right): (Vec<_>, Vec<_>) = single.into_iter().partition(|l| plan.has(0, *l));
        let count = |labels: &[Label]| plan.dims.sizes(labels).product::<usize>();
        let stacks = count(&batch);
        let (rows, columns, depth) = (count(&left), count(&right), count(&plan.summed));
        let Some(out) = output.values_mut::<T>() else { return Ok(true) };
        let mut buffers: [Vec<T::Wide>; BUFFER_COUNT] = Default::default();
        let mut scratch = std::mem::take(context.scratch);
        let [first, second, sums, packed] = T::Wide::buffers(&mut scratch, &mut buffers);
        let bytes_max = context.bytes_max;
        let put = |own: usize, groups: [&[Label]; 3], out: &mut Vec<T::Wide>| {
            arrange(&plan.operands[own], &plan.dims, groups, bytes_max, out)
        };
        let arranged = put(0, [&batch, &left, &plan.summed], first)
            .and_then(|()| put(1, [&batch, &plan.summed, &right], second));
        sums.clear();
        sums.resize(stacks * rows * columns, T::Wide::ZERO);
        if arranged.is_ok() && rows * columns * depth > 0 {
            for stack in 0..stacks {
                let product = Product {
                    rows,
                    columns,
                    depth,
                    left: &first[stack * rows * depth..][..rows * depth],
                    right: &second[stack * depth * columns..][..depth * columns],
                    out: &mut sums[stack * rows * columns..][..rows * columns],
                    out_stride: columns,
                };
                T::Wide::multiply(context.isa, context.team, product, packed);
            }
        }
        // From the order of the stacks to that of the result.
        let order: Vec<Label> = [&batch[..], &left, &right].concat();
        let finished = arranged.and_then(|()| {
            let mut view = View::at(0);
            for label in plan.kept.iter() {
                let after = order.iter().position(|own| own == label).map_or(0, |at| at + 1);
                let stride = count(order.get(after..).unwrap_or_default());
                view.push(plan.dims.of(*label), stride as isize)?;
            }
            packed.resize(sums.len(), T::Wide::ZERO);
            view.copy(sums, packed)
        });
        out.iter_mut().zip(packed.iter()).for_each(|(out, sum)| *out = T::narrow(*sum));
        *context.scratch = scratch;
        finished.map(|()| true)
    }
}

/// Writes an input in the order of three groups of labels, in at most so many bytes: what is
/// broadcast is repeated.
fn arrange<T: Float<Wide: Multiplied>>(
    operand: &Operand<'_, T>,
    dims: &Dims,
    groups: [&[Label]; 3],
    bytes_max: usize,
    out: &mut Vec<T::Wide>,
) -> Result<(), RunError> {
    let mut view = View::at(0);
    let mut count = 1usize;
    for label in groups.into_iter().flatten() {
        count = count.saturating_mul(dims.of(*label));
        view.push(dims.of(*label), operand.stride(*label) as isize)?;
    }
    let bytes = count.saturating_mul(size_of::<T::Wide>());
    if bytes > bytes_max {
        return Err(RunError::TooLarge { bytes, bytes_max });
    }
    let wide: Vec<T::Wide>;
    let values = match T::as_wide(operand.values) {
        Some(values) => values,
        None => {
            wide = operand.values.iter().map(|value| value.wide()).collect();
            &wide
        }
    };
    out.resize(count, T::Wide::ZERO);
    view.copy(values, out)
}

macro_rules! operators {
    ($by_matrices:expr; $($type:ty),*) => { $(impl Operator for Einsum<$type> {
        fn run(
            &self,
            inputs: &Inputs<'_>,
            outputs: &mut [Tensor],
            context: &mut Context<'_>,
        ) -> Result<(), RunError> {
            let plan = Plan::<$type>::of(&self.equation, inputs)?;
            plan.shape(&mut outputs[0], context)?;
            if !$by_matrices(&plan, &mut outputs[0], context)? {
                Self::by_steps(&plan, &mut outputs[0]);
            }
            Ok(())
        }
    })* };
}

operators!(Self::by_matrices; f32, f64, f16, bf16);
operators!(|_, _, _| Ok::<bool, RunError>(false); i32, i64, u32, u64);

fn build(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["equation"])?;
    let text = view.string("equation")?.ok_or_else(|| view.refuse("there is no equation"))?;
    let equation = Equation::read(text, view.input_count())
        .map_err(|reason| view.refuse(format_args!("equation `{text}`: {reason}")))?;
    let dtype = view.dtype(0)?;
    for index in 1..view.input_count() {
        view.dtype_among(index, &[dtype])?;
    }
    macro_rules! make {
        ($type:ty) => {
            Ok(Built::one(Einsum::<$type> { equation, elements: PhantomData }, dtype))
        };
    }
    match dtype {
        DType::F32 => make!(f32),
        DType::F64 => make!(f64),
        DType::F16 => make!(f16),
        DType::Bf16 => make!(bf16),
        DType::I32 => make!(i32),
        DType::I64 => make!(i64),
        DType::U32 => make!(u32),
        DType::U64 => make!(u64),
        other => Err(view.refuse(format_args!("type {other} is not computed"))),
    }
}
