//! Owns `Attention`: each position takes values by how alike its query and their keys are.
//!
//! Refuses shapes that do not fit. Bound: one head at a time; products of f32 run in the kernels.
//! Types of 16 bits are rounded where the definition rounds them.

use std::fmt;
use std::marker::PhantomData;

use half::{bf16, f16};

use super::bias::Bias;
use super::cached::Cached;
use super::heads::Heads;
use super::settings::{KEYS, PAST_KEYS, PAST_VALUES, Settings, Shown, VALUES, check_inputs};
use super::shares::{Shares, capped, finish, rounded};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{BUFFER_COUNT, Float, Multiplied, Product, Wide};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Shape, Tensor};

/// This family.
pub const OPERATORS: Family = &[("", "Attention", build)];

struct Attention<T> {
    settings: Settings,
    elements: PhantomData<fn(T)>,
}

impl<T> fmt::Debug for Attention<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attention").field("settings", &self.settings).finish()
    }
}

/// One run: what looks at what.
struct Run<'a, T: Float> {
    settings: Settings,
    shape: &'a Shape,
    queries: Heads,
    query_values: &'a [T],
    keys: Cached<'a, T>,
    values: Cached<'a, T>,
    bias: Bias<'a, T>,
}

/// One of the heads: its number among all, its sequence, its number there, that of its keys.
#[derive(Clone, Copy)]
struct Head {
    index: usize,
    item: usize,
    own: usize,
    group: usize,
}

impl<'a, T: Float<Wide: Shares>> Run<'a, T> {
    fn of(settings: Settings, inputs: &Inputs<'a>) -> Result<Self, RunError> {
        let (shape, query_values) = inputs.values::<T>(0)?;
        let queries = Heads::of(shape, settings.heads[0])?;
        let keys = Cached::<T>::of(inputs, KEYS, PAST_KEYS, settings.heads[1])?;
        let values = Cached::<T>::of(inputs, VALUES, PAST_VALUES, settings.heads[1])?;
        let fits = [keys.heads, values.heads].iter().all(|heads| {
            heads.batch == queries.batch && heads.count > 0 && heads.count == keys.heads.count
        });
        let is_grouped = fits && queries.count.is_multiple_of(keys.heads.count);
        let length = keys.length();
        if !is_grouped || values.length() != length || keys.heads.width != queries.width {
            let found = format!("{shape}, {:?} and {:?}", keys.heads, values.heads);
            return Err(RunError::input(found, "queries, keys and values that fit"));
        }
        let dims = [queries.batch, queries.count, queries.length, length];
        let bias = Bias::<T>::of(inputs, dims, settings.reach, keys.past)?;
        Ok(Self { settings, shape, queries, query_values, keys, values, bias })
    }

    fn heads(&self) -> impl Iterator<Item = Head> + use<T> {
        let Heads { batch, count, .. } = self.queries;
        let shared = count / self.keys.heads.count;
        (0..batch * count).map(move |index| {
            let (item, own) = (index / count, index % count);
            Head { index, item, own, group: own / shared }
        })
    }

    /// Writes the scores of a head: queries by rows, keys by columns.
    fn score(&self, head: Head, context: &Context<'_>, buffers: [&mut Vec<T::Wide>; 4]) {
        let [left, right, scores, packed] = buffers;
        let Heads { length: rows, width: depth, step, .. } = self.queries;
        let length = self.keys.length();
        let scale = self.settings.scale.map_or(1.0 / (depth as f64).sqrt(), f64::from);
        let root = rounded::<T>(T::Wide::of(scale.sqrt()));
        let scaled = |value: &T| rounded::<T>(value.wide() * root);
        left.clear();
        for row in 0..rows {
            let start = self.queries.start(head.item, head.own) + row * step;
            left.extend(self.query_values[start..][..depth].iter().map(scaled));
        }
        right.resize(depth * length, T::Wide::ZERO);
        for position in 0..length {
            let vector = self.keys.vector(head.item, head.group, position);
            for (at, value) in vector.iter().enumerate() {
                right[at * length + position] = scaled(value);
            }
        }
        scores.clear();
        scores.resize(rows * length, T::Wide::ZERO);
        multiply(context, [rows, length, depth], [left, right], scores, packed);
    }

    /// Turns the scores of a head into shares; `shown` is written on the way.
    fn share(
        &self,
        head: Head,
        context: &Context<'_>,
        scores: &mut [T::Wide],
        added: &mut Vec<T::Wide>,
        shown: &mut Option<&mut [T]>,
    ) {
        let (rows, length) = (self.queries.length, self.keys.length());
        added.clear();
        if !self.bias.is_none() {
            added.resize(length, T::Wide::ZERO);
        }
        for (row, scores) in scores.chunks_exact_mut(length.max(1)).enumerate() {
            let mut show = |which: Shown, scores: &[T::Wide]| {
                if let Some(shown) = shown.as_deref_mut().filter(|_| self.settings.shown == which) {
                    let place = (head.index * rows + row) * length;
                    let line = shown[place..][..length].iter_mut().zip(scores);
                    line.for_each(|(out, value)| *out = T::narrow(*value));
                }
            };
            scores.iter_mut().for_each(|value| *value = rounded::<T>(*value));
            capped::<T>(self.settings.cap, scores);
            show(Shown::Scores, scores);
            if !added.is_empty() {
                self.bias.row([head.item, head.own, row], added);
            }
            for (score, added) in scores.iter_mut().zip(added.iter()) {
                *score = rounded::<T>(*score + *added);
            }
            show(Shown::Biased, scores);
            finish::<T>(self.settings.precision, context, scores, added);
            show(Shown::Shares, scores);
        }
    }

    /// Writes what a head takes: values by their shares.
    fn take(
        &self,
        head: Head,
        context: &Context<'_>,
        buffers: [&mut Vec<T::Wide>; 4],
        out: &mut [T],
    ) {
        let [sums, right, shares, packed] = buffers;
        let (rows, length, width) =
            (self.queries.length, self.keys.length(), self.values.heads.width);
        right.clear();
        for position in 0..length {
            let vector = self.values.vector(head.item, head.group, position);
            right.extend(vector.iter().map(|value| value.wide()));
        }
        sums.clear();
        sums.resize(rows * width, T::Wide::ZERO);
        multiply(context, [rows, width, length], [shares, right], sums, packed);
        let count = self.queries.count;
        let (start, step) = match self.shape.len() {
            4 => (head.index * rows * width, width),
            _ => ((head.item * rows * count + head.own) * width, count * width),
        };
        for (row, sums) in sums.chunks_exact(width.max(1)).enumerate() {
            let line = out[start + row * step..][..width].iter_mut().zip(sums);
            line.for_each(|(out, sum)| *out = T::narrow(*sum));
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
        let run = Run::<T>::of(self.settings, inputs)?;
        let Heads { batch, count, length: rows, .. } = run.queries;
        let (length, width) = (run.keys.length(), run.values.heads.width);
        let [first, rest @ ..] = outputs else { return Ok(()) };
        let dims = match run.shape.len() {
            4 => [batch, count, rows, width],
            _ => [batch, rows, count * width, 1],
        };
        let out = context.shape_as::<T>(first, &dims[..run.shape.len()])?;
        for (output, cached) in rest.iter_mut().zip([&run.keys, &run.values]) {
            cached.write(output, context)?;
        }
        let mut shown = match rest.get_mut(2) {
            Some(shown) => Some(context.shape_as::<T>(shown, &[batch, count, rows, length])?),
            None => None,
        };
        let bytes = rows.saturating_mul(length).saturating_mul(size_of::<T::Wide>());
        if bytes > context.bytes_max {
            return Err(RunError::TooLarge { bytes, bytes_max: context.bytes_max });
        }
        let mut own: [Vec<T::Wide>; BUFFER_COUNT] = Default::default();
        let mut scratch = std::mem::take(context.scratch);
        let [left, right, scores, packed] = T::Wide::buffers(&mut scratch, &mut own);
        for head in run.heads() {
            run.score(head, context, [left, right, scores, packed]);
            run.share(head, context, scores, left, &mut shown);
            run.take(head, context, [left, right, scores, packed], out);
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
    let dtype = view.dtype(0)?;
    check_inputs(view, dtype)?;
    let settings = Settings::read(view, dtype)?;
    let outputs = vec![dtype; view.output_count().max(1)];
    macro_rules! make {
        ($type:ty) => {{
            let attention = Attention::<$type> { settings, elements: PhantomData };
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
