//! Owns what becomes one value of many: sums, extremes and their places.
//!
//! Refuses text. Bound: one pass over the input; sums of 16 and 32-bit floats are kept in 64 bits.

use std::fmt;
use std::marker::PhantomData;

use half::{bf16, f16};

use super::lines::Lines;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, Number, axis, check_axes, few_ints, is_nan, unique_axes};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, RANK_MAX, Shape, Tensor};

/// This family.
pub const OPERATORS: Family = &[
    ("", "ReduceSum", |view| reduce(view, Kind::Sum)),
    ("", "ReduceMean", |view| reduce(view, Kind::Mean)),
    ("", "ReduceMax", |view| reduce(view, Kind::Max)),
    ("", "ReduceMin", |view| reduce(view, Kind::Min)),
    ("", "ReduceProd", |view| reduce(view, Kind::Product)),
    ("", "ReduceL1", |view| reduce(view, Kind::L1)),
    ("", "ReduceL2", |view| reduce(view, Kind::L2)),
    ("", "ReduceSumSquare", |view| reduce(view, Kind::SumSquare)),
    ("", "ReduceLogSum", |view| reduce(view, Kind::LogSum)),
    ("", "ReduceLogSumExp", |view| reduce(view, Kind::LogSumExp)),
    ("", "ArgMax", |view| place(view, true)),
    ("", "ArgMin", |view| place(view, false)),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Sum,
    Mean,
    Max,
    Min,
    Product,
    L1,
    L2,
    SumSquare,
    LogSum,
    LogSumExp,
}

impl Kind {
    fn start(self) -> f64 {
        match self {
            Self::Max | Self::LogSumExp => f64::NEG_INFINITY,
            Self::Min => f64::INFINITY,
            Self::Product => 1.0,
            _ => 0.0,
        }
    }

    fn add(self, sum: f64, value: f64) -> f64 {
        match self {
            Self::Sum | Self::Mean | Self::LogSum => sum + value,
            // NaN stays.
            Self::Max => {
                if value > sum || value.is_nan() {
                    value
                } else {
                    sum
                }
            }
            Self::Min => {
                if value < sum || value.is_nan() {
                    value
                } else {
                    sum
                }
            }
            Self::Product => sum * value,
            Self::L1 => sum + value.abs(),
            Self::L2 | Self::SumSquare => sum + value * value,
            // The largest so far is kept out of the exponentials.
            Self::LogSumExp => {
                if sum.is_nan() || value.is_nan() {
                    return f64::NAN;
                }
                let largest = sum.max(value);
                if largest.is_infinite() {
                    return largest;
                }
                largest + ((sum - largest).exp() + (value - largest).exp()).ln()
            }
        }
    }

    fn end(self, sum: f64, count: usize) -> f64 {
        match self {
            Self::Mean => sum / count as f64,
            Self::L2 => sum.sqrt(),
            Self::LogSum => sum.ln(),
            _ => sum,
        }
    }
}

/// One reduction of values of a type.
struct Reduce<T> {
    kind: Kind,
    axes: Option<Vec<i64>>,
    keep: bool,
    /// Without axes: nothing is reduced, instead of everything.
    none_is_nothing: bool,
    elements: PhantomData<fn(T)>,
}

impl<T> fmt::Debug for Reduce<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reduce").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<T> Reduce<T> {
    fn axes(&self, inputs: &Inputs<'_>, rank: usize) -> Result<Few<usize>, RunError> {
        let given = match (&self.axes, few_ints(inputs, 1)?) {
            (Some(axes), _) => unique_axes(axes, rank)?,
            (None, Some(axes)) => unique_axes(&axes, rank)?,
            (None, None) => Few::new(),
        };
        if !given.is_empty() || self.none_is_nothing {
            return Ok(given);
        }
        let mut all = Few::new();
        for axis in 0..rank {
            all.push(axis)?;
        }
        Ok(all)
    }
}

impl<T: Number + Whole> Operator for Reduce<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<T>(0)?;
        let axes = self.axes(inputs, shape.len())?;
        let (mut dims, mut count) = (Few::new(), 1usize);
        for (axis, dim) in shape.iter().enumerate() {
            let reduced = axes.contains(&axis);
            if reduced {
                count = count.saturating_mul(*dim);
                if self.keep {
                    dims.push(1)?;
                }
            } else {
                dims.push(*dim)?;
            }
        }
        let (strides, _) = kept_strides(shape, &axes);
        let sums = &mut context.scratch.f64s;
        let total: usize = dims.iter().product();
        if total.saturating_mul(8) > context.bytes_max {
            return Err(RunError::TooLarge { bytes: total, bytes_max: context.bytes_max });
        }
        sums.clear();
        sums.resize(total, self.kind.start());
        let mut wholes = T::buffer(&mut context.scratch.i64s, self.kind, total);
        gather(shape, &strides, |at, out| {
            let value = values[at];
            match &mut wholes {
                Some(wholes) => wholes[out] = value.add_whole(wholes[out], self.kind),
                None => sums[out] = self.kind.add(sums[out], value.to_f64()),
            }
        });
        let bytes_max = context.bytes_max;
        let shape = Shape::new(&dims).filter(|shape| shape.count() <= bytes_max);
        let shape = shape.ok_or(RunError::TooLarge { bytes: total, bytes_max })?;
        let out = outputs[0].reset_as::<T>(shape);
        for (index, out) in out.iter_mut().enumerate() {
            *out = match &wholes {
                Some(wholes) => T::of_whole(wholes[index], self.kind, count),
                None => T::from_f64(self.kind.end(context.scratch.f64s[index], count)),
            };
        }
        Ok(())
    }
}

/// How far the result moves along each axis, 0 along those that are reduced, and its values.
pub fn kept_strides(shape: &Shape, reduced: &[usize]) -> ([usize; RANK_MAX], usize) {
    let (mut strides, mut stride) = ([0; RANK_MAX], 1);
    for axis in (0..shape.len()).rev().filter(|axis| !reduced.contains(axis)) {
        strides[axis] = stride;
        stride *= shape[axis];
    }
    (strides, stride)
}

/// Calls `each` with the index of every value and that of the result it belongs to.
pub fn gather(shape: &Shape, strides: &[usize; RANK_MAX], mut each: impl FnMut(usize, usize)) {
    let Some((last, outer)) = shape.split_last() else { return each(0, 0) };
    if shape.contains(&0) {
        return;
    }
    let step = strides[outer.len()];
    let mut counters = [0; RANK_MAX];
    let (mut at, mut start) = (0, 0);
    loop {
        for index in 0..*last {
            each(at, start + index * step);
            at += 1;
        }
        let mut axis = outer.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            counters[axis] += 1;
            start += strides[axis];
            if counters[axis] < outer[axis] {
                break;
            }
            start -= strides[axis] * outer[axis];
            counters[axis] = 0;
        }
    }
}

/// Types whose sums are exact in whole numbers, as ONNX wants them, or computed in 64-bit floats.
trait Whole: Sized {
    /// Sums of a whole-number type, started; none for floating-point types and for kinds that
    /// leave the whole numbers.
    fn buffer(sums: &mut Vec<i64>, kind: Kind, count: usize) -> Option<&mut Vec<i64>>;
    /// One value more.
    fn add_whole(self, sum: i64, kind: Kind) -> i64;
    /// The result.
    fn of_whole(sum: i64, kind: Kind, count: usize) -> Self;
}

macro_rules! floats {
    ($($type:ty),*) => { $(impl Whole for $type {
        fn buffer(_: &mut Vec<i64>, _: Kind, _: usize) -> Option<&mut Vec<i64>> { None }
        fn add_whole(self, sum: i64, _: Kind) -> i64 { sum }
        fn of_whole(_: i64, _: Kind, _: usize) -> Self { Self::default() }
    })* };
}

floats!(f32, f64, f16, bf16);

macro_rules! wholes {
    ($($type:ty),*) => { $(impl Whole for $type {
        fn buffer(sums: &mut Vec<i64>, kind: Kind, count: usize) -> Option<&mut Vec<i64>> {
            let start = match kind {
                Kind::L2 | Kind::LogSum | Kind::LogSumExp => return None,
                Kind::Product => 1,
                Kind::Max => i64::from(<$type>::MIN),
                Kind::Min => i64::from(<$type>::MAX),
                _ => 0,
            };
            sums.clear();
            sums.resize(count, start);
            Some(sums)
        }

        fn add_whole(self, sum: i64, kind: Kind) -> i64 {
            let value = i64::from(self);
            match kind {
                Kind::Max => sum.max(value),
                Kind::Min => sum.min(value),
                Kind::Product => sum.wrapping_mul(value),
                Kind::L1 => sum.wrapping_add(value.wrapping_abs()),
                Kind::SumSquare => sum.wrapping_add(value.wrapping_mul(value)),
                _ => sum.wrapping_add(value),
            }
        }

        fn of_whole(sum: i64, kind: Kind, count: usize) -> Self {
            match kind {
                Kind::Mean => sum.checked_div(count as i64).unwrap_or(0) as $type,
                _ => sum as $type,
            }
        }
    })* };
}

wholes!(i8, u8, i32, u32, i64);

/// Only the most and the least of truths are asked for.
impl Whole for bool {
    fn buffer(sums: &mut Vec<i64>, kind: Kind, count: usize) -> Option<&mut Vec<i64>> {
        sums.clear();
        sums.resize(count, i64::from(kind == Kind::Min));
        Some(sums)
    }

    fn add_whole(self, sum: i64, kind: Kind) -> i64 {
        if kind == Kind::Min { sum.min(i64::from(self)) } else { sum.max(i64::from(self)) }
    }

    fn of_whole(sum: i64, _: Kind, _: usize) -> Self {
        sum != 0
    }
}

/// Where the axes of a reduction come from, by opset.
fn axes_and_keep(
    view: &NodeView<'_>,
    as_input: bool,
) -> Result<(Option<Vec<i64>>, bool), ModelError> {
    let keep = view.int_or("keepdims", 1)? != 0;
    if as_input {
        view.only_attributes(&["keepdims", "noop_with_empty_axes"])?;
        if view.has_input(1) {
            view.dtype_among(1, &[DType::I64])?;
        }
        return Ok((None, keep));
    }
    view.only_attributes(&["keepdims", "axes"])?;
    let axes = view.ints("axes")?;
    check_axes(view, axes.unwrap_or_default())?;
    Ok((axes.map(<[i64]>::to_vec), keep))
}

fn reduce(view: &NodeView<'_>, kind: Kind) -> Result<Built, ModelError> {
    let first = if kind == Kind::Sum { 13 } else { 18 };
    let as_input = view.opset() >= first;
    let (axes, keep) = axes_and_keep(view, as_input)?;
    let none_is_nothing = view.int_or("noop_with_empty_axes", 0)? != 0;
    if none_is_nothing && !matches!(kind, Kind::Sum | Kind::Mean | Kind::Max | Kind::Min) {
        return Err(view.refuse("noop_with_empty_axes of this operator is not computed"));
    }
    let dtype = view.dtype(0)?;
    macro_rules! make {
        ($type:ty) => {{
            let elements = PhantomData;
            let reduce = Reduce::<$type> { kind, axes, keep, none_is_nothing, elements };
            Ok(Built::one(reduce, dtype))
        }};
    }
    match dtype {
        DType::F32 => make!(f32),
        DType::F64 => make!(f64),
        DType::F16 => make!(f16),
        DType::Bf16 => make!(bf16),
        DType::I8 => make!(i8),
        DType::U8 => make!(u8),
        DType::I32 => make!(i32),
        DType::U32 => make!(u32),
        DType::I64 => make!(i64),
        DType::Bool if matches!(kind, Kind::Max | Kind::Min) => make!(bool),
        other => Err(view.refuse(format_args!("type {other} is not computed"))),
    }
}

/// Where the largest or the smallest value lies along an axis.
struct Place<T> {
    axis: i64,
    keep: bool,
    largest: bool,
    last: bool,
    elements: PhantomData<fn(T)>,
}

impl<T> fmt::Debug for Place<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("axis", &self.axis).finish_non_exhaustive()
    }
}

impl<T: Number> Operator for Place<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<T>(0)?;
        let axis = axis(self.axis, shape.len())?;
        let lines = Lines::along(shape, axis);
        let mut dims = Few::new();
        for (index, dim) in shape.iter().enumerate() {
            match (index == axis, self.keep) {
                (false, _) => dims.push(*dim)?,
                (true, true) => dims.push(1)?,
                (true, false) => {}
            }
        }
        let out = context.shape_as::<i64>(&mut outputs[0], &dims)?;
        if lines.length == 0 && !out.is_empty() {
            return Err(RunError::input("an empty axis", "at least one value along it"));
        }
        for (out, start) in out.iter_mut().zip(lines.starts()) {
            let mut best = 0;
            for (index, at) in lines.places(start).enumerate() {
                let (value, champion) = (values[at], values[start + best * lines.inner]);
                // As in NumPy, what is no number is the most and the least.
                let (better, equal) = match (is_nan(value), is_nan(champion)) {
                    (false, false) if self.largest => (value > champion, value == champion),
                    (false, false) => (value < champion, value == champion),
                    (is_better, is_worse) => (is_better && !is_worse, is_better && is_worse),
                };
                if better || (self.last && equal) {
                    best = index;
                }
            }
            *out = best as i64;
        }
        Ok(())
    }
}

fn place(view: &NodeView<'_>, largest: bool) -> Result<Built, ModelError> {
    view.only_attributes(&["axis", "keepdims", "select_last_index"])?;
    let (axis, keep) = (view.int_or("axis", 0)?, view.int_or("keepdims", 1)? != 0);
    check_axes(view, &[axis])?;
    let last = view.int_or("select_last_index", 0)? != 0;
    macro_rules! make {
        ($type:ty) => {{
            let elements = PhantomData;
            Ok(Built::one(Place::<$type> { axis, keep, largest, last, elements }, DType::I64))
        }};
    }
    match view.dtype(0)? {
        DType::F32 => make!(f32),
        DType::F64 => make!(f64),
        DType::F16 => make!(f16),
        DType::Bf16 => make!(bf16),
        DType::I8 => make!(i8),
        DType::U8 => make!(u8),
        DType::I32 => make!(i32),
        DType::I64 => make!(i64),
        other => Err(view.refuse(format_args!("type {other} is not computed"))),
    }
}
