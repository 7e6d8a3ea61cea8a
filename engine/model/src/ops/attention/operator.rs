//! Owns `Attention`: each position takes values by how alike its query and their keys are.
//!
//! Refuses outputs of scores on which versions of the definition differ, and mixed types.
//! Bound: one head at a time; products of f32 run in the kernels. Types of 16 bits are rounded
//! where the definition rounds them.

use std::fmt;
use std::marker::PhantomData;

use half::{bf16, f16};

use super::bias::{Bias, Reach};
use super::heads::Heads;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::kernels::softmax_rows;
use crate::ops::registry::Family;
use crate::ops::support::{BUFFER_COUNT, Float, Multiplied, Product, Wide, allowed, dtype_setting};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// This family.
pub const OPERATORS: Family = &[("", "Attention", build)];

const QUERIES: usize = 0;
const KEYS: usize = 1;
const VALUES: usize = 2;
const PAST_KEYS: usize = 4;
const PAST_VALUES: usize = 5;
const LENGTHS: usize = 6;

/// Which scores a node gives away.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shown {
    /// After the cap, if there is one.
    Scores,
    /// With what is added to them.
    Biased,
    /// As shares.
    Shares,
}

/// What shares are computed in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Precision {
    /// 32 bits, or 64 where the inputs have them.
    Wide,
    /// The same, rounded to the type of the inputs at each step.
    Rounded,
    /// 64 bits.
    Widest,
}

struct Attention<T> {
    /// Heads of queries, and of keys and values, for inputs of three dimensions; 0 where unsaid.
    heads: [usize; 2],
    scale: Option<f32>,
    /// Scores stay within this of 0; 0 for none.
    cap: f32,
    reach: Reach,
    shown: Shown,
    precision: Precision,
    elements: PhantomData<fn(T)>,
}

impl<T> fmt::Debug for Attention<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attention").field("heads", &self.heads).finish_non_exhaustive()
    }
}

/// Vectors of all positions: those of the cache, then those of the input.
struct Cached<'a, T> {
    heads: Heads,
    values: &'a [T],
    past: usize,
    past_values: &'a [T],
}

impl<'a, T: Float> Cached<'a, T> {
    fn of(inputs: &Inputs<'a>, own: usize, past: usize, count: usize) -> Result<Self, RunError> {
        let (shape, values) = inputs.values::<T>(own)?;
        let heads = Heads::of(shape, count)?;
        if inputs.get(past).is_none() {
            return Ok(Self { heads, values, past: 0, past_values: &[] });
        }
        let (past_shape, past_values) = inputs.values::<T>(past)?;
        match past_shape[..] {
            [batch, count, past, width]
                if [batch, count, width] == [heads.batch, heads.count, heads.width] =>
            {
                Ok(Self { heads, values, past, past_values })
            }
            _ => Err(RunError::input(format_args!("a cache of {past_shape} for {shape}"), "alike")),
        }
    }

    fn length(&self) -> usize {
        self.past + self.heads.length
    }

    /// The vector of a position of a head.
    fn vector(&self, item: usize, head: usize, position: usize) -> &'a [T] {
        let Heads { count, width, step, .. } = self.heads;
        match position.checked_sub(self.past) {
            None => {
                &self.past_values[((item * count + head) * self.past + position) * width..][..width]
            }
            Some(own) => &self.values[self.heads.start(item, head) + own * step..][..width],
        }
    }

    /// Writes all of them: the cache of a next run.
    fn write(&self, output: &mut Tensor, context: &Context<'_>) -> Result<(), RunError> {
        let Heads { batch, count, width, .. } = self.heads;
        let out = context.shape_as::<T>(output, &[batch, count, self.length(), width])?;
        let vectors = (0..batch * count * self.length()).map(|index| {
            let (head, position) = (index / self.length(), index % self.length());
            self.vector(head / count, head % count, position)
        });
        out.chunks_exact_mut(width.max(1)).zip(vectors).for_each(|(out, vector)| {
            out.copy_from_slice(vector);
        });
        Ok(())
    }
}

fn rounded<T: Float>(value: T::Wide) -> T::Wide {
    T::narrow(value).wide()
}

/// Types whose rows become shares.
trait Shares: Multiplied {
    /// One row, which has a score that is more than minus infinity.
    fn shares(context: &Context<'_>, row: &mut [Self]);
}

impl Shares for f32 {
    fn shares(context: &Context<'_>, row: &mut [f32]) {
        softmax_rows(context.isa, row, row.len());
    }
}

impl Shares for f64 {
    fn shares(_: &Context<'_>, row: &mut [f64]) {
        shares_in_64_bits(row);
    }
}

fn shares_in_64_bits<W: Wide>(row: &mut [W]) {
    let largest = row.iter().map(|value| value.to_f64()).fold(f64::NEG_INFINITY, f64::max);
    let power = |value: &W| (value.to_f64() - largest).exp();
    let sum: f64 = row.iter().map(power).sum();
    row.iter_mut().for_each(|value| *value = W::of(power(value) / sum));
}

impl<T: Float<Wide: Shares>> Attention<T> {
    /// Turns a row of scores into shares; `added` is what is added to them, empty for nothing.
    fn finish(&self, context: &Context<'_>, row: &mut [T::Wide], added: &[T::Wide]) {
        let is_lowest = |value: &T::Wide| *value == T::Wide::LOWEST;
        let is_hidden = !added.is_empty() && added.iter().all(is_lowest);
        if is_hidden || row.iter().all(is_lowest) {
            return row.fill(T::Wide::ZERO);
        }
        if self.precision == Precision::Wide {
            T::Wide::shares(context, row);
        } else if self.precision == Precision::Widest {
            shares_in_64_bits(row);
        } else {
            let mut largest = row[0];
            for value in row.iter().filter(|value| !value.is_nan()) {
                largest = if *value > largest { *value } else { largest };
            }
            for value in row.iter_mut() {
                *value = rounded::<T>(rounded::<T>(*value - largest).exp());
            }
            // The sum as well, after each step where the type is bf16.
            let sum = match T::DTYPE {
                DType::Bf16 => {
                    row.iter().fold(T::Wide::ZERO, |sum, value| rounded::<T>(sum + *value))
                }
                _ => rounded::<T>(row.iter().copied().sum()),
            };
            row.iter_mut().for_each(|value| *value = *value / sum);
        }
        row.iter_mut().for_each(|value| *value = rounded::<T>(*value));
    }

    fn capped(&self, row: &mut [T::Wide]) {
        let cap = T::Wide::of(f64::from(self.cap));
        if self.cap > 0.0 {
            row.iter_mut().for_each(|value| {
                let share = rounded::<T>(rounded::<T>(*value / cap).tanh());
                *value = rounded::<T>(share * cap);
            });
        }
    }
}

impl<T: Float<Wide: Shares>> Operator for Attention<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (query_shape, query_values) = inputs.values::<T>(QUERIES)?;
        let queries = Heads::of(query_shape, self.heads[0])?;
        let keys = Cached::<T>::of(inputs, KEYS, PAST_KEYS, self.heads[1])?;
        let values = Cached::<T>::of(inputs, VALUES, PAST_VALUES, self.heads[1])?;
        let fits = [keys.heads, values.heads].iter().all(|heads| {
            heads.batch == queries.batch && heads.count > 0 && heads.count == keys.heads.count
        });
        let (length, width, depth) = (keys.length(), values.heads.width, queries.width);
        let is_grouped = fits && queries.count.is_multiple_of(keys.heads.count);
        if !is_grouped || values.length() != length || keys.heads.width != depth {
            let found = format!("{query_shape}, {:?} and {:?}", keys.heads, values.heads);
            return Err(RunError::input(found, "queries, keys and values that fit"));
        }
        let Heads { batch, count, length: rows, .. } = queries;
        let bias = Bias::<T>::of(inputs, [batch, count, rows, length], self.reach, keys.past)?;
        let [first, rest @ ..] = outputs else { return Ok(()) };
        let dims = match query_shape.len() {
            4 => [batch, count, rows, width],
            _ => [batch, rows, count * width, 1],
        };
        let out = context.shape_as::<T>(first, &dims[..query_shape.len()])?;
        for (output, cached) in rest.iter_mut().zip([&keys, &values]) {
            cached.write(output, context)?;
        }
        let mut shown = match rest.get_mut(2) {
            Some(shown) => Some(context.shape_as::<T>(shown, &[batch, count, rows, length])?),
            None => None,
        };
        let bytes = rows.saturating_mul(length).saturating_mul(T::DTYPE.bytes());
        if bytes > context.bytes_max {
            return Err(RunError::TooLarge { bytes, bytes_max: context.bytes_max });
        }
        let scale = self.scale.map_or(1.0 / (depth as f64).sqrt(), f64::from);
        let root = rounded::<T>(T::Wide::of(scale.sqrt()));
        let mut own: [Vec<T::Wide>; BUFFER_COUNT] = Default::default();
        let mut scratch = std::mem::take(context.scratch);
        let [left, right, scores, packed] = T::Wide::buffers(&mut scratch, &mut own);
        let scaled = |value: &T| rounded::<T>(value.wide() * root);
        for index in 0..batch * count {
            let (item, head) = (index / count, index % count);
            let group = head / (count / keys.heads.count);
            // Queries by rows; keys by columns.
            left.clear();
            for row in 0..rows {
                let start = queries.start(item, head) + row * queries.step;
                left.extend(query_values[start..][..depth].iter().map(scaled));
            }
            right.resize(depth * length, T::Wide::ZERO);
            for position in 0..length {
                let vector = keys.vector(item, group, position);
                for (at, value) in vector.iter().enumerate() {
                    right[at * length + position] = scaled(value);
                }
            }
            // One row more for what is added.
            scores.clear();
            scores.resize((rows + 1) * length, T::Wide::ZERO);
            let (scores, added) = scores.split_at_mut(rows * length);
            multiply(context, [rows, length, depth], [left, right], scores, packed);
            for (row, scores) in scores.chunks_exact_mut(length.max(1)).enumerate() {
                scores.iter_mut().for_each(|value| *value = rounded::<T>(*value));
                self.capped(scores);
                let show = |shown: &mut Option<&mut [T]>, scores: &[T::Wide]| {
                    if let Some(shown) = shown {
                        let place = (index * rows + row) * length;
                        let line = shown[place..][..length].iter_mut().zip(scores);
                        line.for_each(|(out, value)| *out = T::narrow(*value));
                    }
                };
                if self.shown == Shown::Scores {
                    show(&mut shown, scores);
                }
                let added = match bias.is_none() {
                    true => &[][..],
                    false => {
                        bias.row([item, head, row], added);
                        for (score, added) in scores.iter_mut().zip(&*added) {
                            *score = rounded::<T>(*score + *added);
                        }
                        &*added
                    }
                };
                if self.shown == Shown::Biased {
                    show(&mut shown, scores);
                }
                self.finish(context, scores, added);
                if self.shown == Shown::Shares {
                    show(&mut shown, scores);
                }
            }
            right.clear();
            for position in 0..length {
                let vector = values.vector(item, group, position);
                right.extend(vector.iter().map(|value| value.wide()));
            }
            left.clear();
            left.resize(rows * width, T::Wide::ZERO);
            multiply(context, [rows, width, length], [scores, right], left, packed);
            let (start, step) = match query_shape.len() {
                4 => (index * rows * width, width),
                _ => ((item * rows * count + head) * width, count * width),
            };
            for (row, sums) in left.chunks_exact(width.max(1)).enumerate() {
                let line = out[start + row * step..][..width].iter_mut().zip(sums);
                line.for_each(|(out, sum)| *out = T::narrow(*sum));
            }
        }
        *context.scratch = scratch;
        Ok(())
    }
}

/// `out = left · right`, where `out` is 0 before.
fn multiply<W: Multiplied>(
    context: &Context<'_>,
    [rows, columns, depth]: [usize; 3],
    [left, right]: [&[W]; 2],
    out: &mut [W],
    packed: &mut Vec<W>,
) {
    let product = Product { rows, columns, depth, left, right, out, out_stride: columns };
    if rows * columns * depth > 0 {
        W::multiply(context.isa, context.team, product, packed);
    }
}

fn build(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let since = |name, first| (name, first, u32::MAX);
    allowed(
        view,
        &[
            since("is_causal", 23),
            since("kv_num_heads", 23),
            since("left_window_size", 25),
            since("q_num_heads", 23),
            since("qk_matmul_output_mode", 23),
            since("right_window_size", 25),
            since("scale", 23),
            since("softcap", 23),
            since("softmax_precision", 23),
        ],
    )?;
    let count = |name: &str| {
        let value = view.int_or(name, 0)?;
        usize::try_from(value).map_err(|_| view.refuse(format_args!("`{name}` {value}")))
    };
    let heads = [count("q_num_heads")?, count("kv_num_heads")?];
    let (scale, cap) = (view.float("scale")?, view.float_or("softcap", 0.0)?);
    let window = |name: &str| match view.int_or(name, -1)? {
        -1 => Ok(None),
        size @ 0.. => Ok(Some(size)),
        other => Err(view.refuse(format_args!("`{name}` {other}"))),
    };
    let (back, ahead) = (window("left_window_size")?, window("right_window_size")?);
    let is_causal = view.int_or("is_causal", 0)? != 0;
    let reach = Reach { back, ahead: if is_causal { Some(0) } else { ahead } };
    let shown = match view.int_or("qk_matmul_output_mode", 0)? {
        0 if cap > 0.0 && view.has_output(3) => {
            return Err(view.refuse("scores before the cap are not given"));
        }
        0 | 1 => Shown::Scores,
        2 => Shown::Biased,
        3 => Shown::Shares,
        other => return Err(view.refuse(format_args!("`qk_matmul_output_mode` {other}"))),
    };
    let dtype = view.dtype(0)?;
    for index in [KEYS, VALUES, PAST_KEYS, PAST_VALUES] {
        if view.has_input(index) || index < PAST_KEYS {
            view.dtype_among(index, &[dtype])?;
        }
    }
    if view.has_input(3) {
        view.dtype_among(3, &[dtype, DType::Bool])?;
    }
    if view.has_input(LENGTHS) {
        view.dtype_among(LENGTHS, &[DType::I64])?;
    }
    let has_past = [PAST_KEYS, PAST_VALUES].map(|index| view.has_input(index));
    if has_past[0] != has_past[1] || (has_past[0] && view.has_input(LENGTHS)) {
        return Err(view.refuse("a cache has keys and values, and no lengths beside it"));
    }
    let is_half = matches!(dtype, DType::F16 | DType::Bf16);
    let own = if is_half { Precision::Rounded } else { Precision::Wide };
    let precision = match dtype_setting(view, "softmax_precision")? {
        None => own,
        Some(named) if named == dtype => own,
        Some(DType::F32) if is_half => Precision::Wide,
        Some(DType::F64) => Precision::Widest,
        Some(other) => return Err(view.refuse(format_args!("shares in {other} of {dtype}"))),
    };
    let outputs = vec![dtype; view.output_count().max(1)];
    macro_rules! make {
        ($type:ty) => {{
            let elements = PhantomData;
            let attention =
                Attention::<$type> { heads, scale, cap, reach, shown, precision, elements };
            Ok(Built::many(attention, outputs))
        }};
    }
    match dtype {
        DType::F32 => make!(f32),
        DType::F64 => make!(f64),
        DType::F16 => make!(f16),
        DType::Bf16 => make!(bf16),
        other => Err(view.refuse(format_args!("type {other} is not computed"))),
    }
}
