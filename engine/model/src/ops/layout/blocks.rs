//! Owns the operators that rearrange blocks, reverse sequences and keep or drop parts.
//!
//! Refuses sizes that blocks do not divide. Bound: one copy.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, View, allowed, axis, check_axes, one_int};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Element, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[
    ("", "DepthToSpace", depth_to_space),
    ("", "SpaceToDepth", space_to_depth),
    ("", "Trilu", trilu),
    ("", "ReverseSequence", reverse_sequence),
    ("", "Compress", compress),
];

/// Squares of pixels from channels, or channels from squares of pixels.
#[derive(Clone, Copy, Debug)]
struct Blocks {
    to_depth: bool,
    /// Whether the place within a block changes more slowly than the channel.
    block_first: bool,
    size: usize,
}

impl Operator for Blocks {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let size = self.size;
        let wrong = || {
            RunError::input(format_args!("{}", input.shape()), format!("blocks of {size} x {size}"))
        };
        let [n, c, h, w] = input.shape()[..] else { return Err(wrong()) };
        let square = size.checked_mul(size).ok_or_else(wrong)?;
        let strides = input.shape().strides().map(|stride| stride as isize);
        let (side, mut view) = (size as isize, View::at(0));
        let dims = if self.to_depth {
            if !h.is_multiple_of(size) || !w.is_multiple_of(size) {
                return Err(wrong());
            }
            let (rows, columns) = ((size, strides[2]), (size, strides[3]));
            let order = match self.block_first {
                true => [rows, columns, (c, strides[1])],
                false => [(c, strides[1]), rows, columns],
            };
            view.push(n, strides[0])?;
            order.into_iter().try_for_each(|(dim, stride)| view.push(dim, stride))?;
            view.push(h / size, strides[2].checked_mul(side).ok_or_else(wrong)?)?;
            view.push(w / size, side)?;
            [n, c.checked_mul(square).ok_or_else(wrong)?, h / size, w / size]
        } else {
            if !c.is_multiple_of(square) {
                return Err(wrong());
            }
            let depth = c / square;
            let (channel, block) = match self.block_first {
                true => (strides[1], strides[1].checked_mul(depth as isize).ok_or_else(wrong)?),
                false => (strides[1].checked_mul(square as isize).ok_or_else(wrong)?, strides[1]),
            };
            view.push(n, strides[0])?;
            view.push(depth, channel)?;
            view.push(h, strides[2])?;
            view.push(size, block.checked_mul(side).ok_or_else(wrong)?)?;
            view.push(w, strides[3])?;
            view.push(size, block)?;
            let (high, wide) = (h.checked_mul(size), w.checked_mul(size));
            [n, depth, high.ok_or_else(wrong)?, wide.ok_or_else(wrong)?]
        };
        with_values!(input.data(), values => {
            view.copy(values, context.shape_as(&mut outputs[0], &dims)?)
        })
    }
}

fn blocks(view: &NodeView<'_>, to_depth: bool, mode_from: u32) -> Result<Built, ModelError> {
    allowed(view, &[("blocksize", 1, u32::MAX), ("mode", mode_from, u32::MAX)])?;
    let block_first = match view.string("mode")?.unwrap_or("DCR") {
        "DCR" => true,
        "CRD" => false,
        other => return Err(view.refuse(format_args!("mode `{other}` is not known"))),
    };
    let size = view.int("blocksize")?.and_then(|size| usize::try_from(size).ok());
    let size =
        size.filter(|size| *size > 0).ok_or_else(|| view.refuse("no `blocksize` above 0"))?;
    Ok(Built::one(Blocks { to_depth, block_first, size }, view.dtype(0)?))
}

fn depth_to_space(view: &NodeView<'_>) -> Result<Built, ModelError> {
    blocks(view, false, 11)
}

fn space_to_depth(view: &NodeView<'_>) -> Result<Built, ModelError> {
    blocks(view, true, 28)
}

/// The values on one side of a diagonal, the type's default on the other.
#[derive(Debug)]
struct Trilu {
    upper: bool,
}

impl Operator for Trilu {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let diagonal = one_int(inputs, 1)?.unwrap_or(0);
        let [.., rows, columns] = input.shape()[..] else {
            return Err(RunError::input(input.shape(), "two dimensions or more"));
        };
        with_values!(input.data(), values => {
            let out = context.shape_as(&mut outputs[0], input.shape())?;
            out.clone_from_slice(values);
            if out.is_empty() {
                return Ok(());
            }
            for (line, out) in out.chunks_exact_mut(columns).enumerate() {
                let on = diagonal.saturating_add((line % rows) as i64);
                let first = if self.upper { on } else { on.saturating_add(1) };
                let cut = first.clamp(0, columns as i64) as usize;
                let dropped = if self.upper { &mut out[..cut] } else { &mut out[cut..] };
                dropped.fill(Default::default());
            }
            Ok(())
        })
    }
}

fn trilu(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["upper"])?;
    if view.has_input(1) {
        view.dtype_among(1, &[DType::I64])?;
    }
    Ok(Built::one(Trilu { upper: view.int_or("upper", 1)? != 0 }, view.dtype(0)?))
}

/// The beginning of each sequence of a batch backwards.
#[derive(Debug)]
struct ReverseSequence {
    /// Whether the batch is the first dimension and time the second, or the other way round.
    batch_first: bool,
}

impl Operator for ReverseSequence {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let (lens_shape, lens) = inputs.values::<i64>(1)?;
        let shape = input.shape();
        let wrong = || RunError::input(format_args!("{shape} and {lens_shape} lengths"), "fit");
        let [first, second, ..] = shape[..] else { return Err(wrong()) };
        let (batch, time) = if self.batch_first { (first, second) } else { (second, first) };
        let fits = |len: &i64| usize::try_from(*len).is_ok_and(|len| len <= time);
        if **lens_shape != [batch] || !lens.iter().all(fits) {
            return Err(wrong());
        }
        let inner: usize = shape[2..].iter().product();
        with_values!(input.data(), values => {
            let out = context.shape_as(&mut outputs[0], shape)?;
            if out.is_empty() {
                return Ok(());
            }
            for (place, out) in out.chunks_exact_mut(inner).enumerate() {
                let (row, column) = (place / second, place % second);
                let (item, step) = if self.batch_first { (row, column) } else { (column, row) };
                let len = lens[item] as usize;
                let step = if step < len { len - 1 - step } else { step };
                let (row, column) = if self.batch_first { (item, step) } else { (step, item) };
                let from = (row * second + column) * inner;
                out.clone_from_slice(&values[from..from + inner]);
            }
            Ok(())
        })
    }
}

fn reverse_sequence(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["batch_axis", "time_axis"])?;
    view.dtype_among(1, &[DType::I64])?;
    let batch_first = match (view.int_or("batch_axis", 1)?, view.int_or("time_axis", 0)?) {
        (0, 1) => true,
        (1, 0) => false,
        (batch, time) => {
            return Err(view.refuse(format_args!("axes {batch} and {time} are not 0 and 1")));
        }
    };
    Ok(Built::one(ReverseSequence { batch_first }, view.dtype(0)?))
}

/// The parts for which a condition is true.
#[derive(Debug)]
struct Compress {
    axis: Option<i64>,
}

impl Operator for Compress {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let (_, condition) = inputs.values::<bool>(1)?;
        let shape = input.shape();
        let (mut dims, axis) = match self.axis {
            None => (Few::of(&[input.count()])?, 0),
            Some(setting) => (Few::of(shape)?, axis(setting, shape.len())?),
        };
        let len = dims[axis];
        let inner: usize = dims[axis + 1..].iter().product();
        if let Some(extra) = condition.get(len..).filter(|extra| extra.contains(&true)) {
            return Err(RunError::input(format_args!("{} conditions more", extra.len()), len));
        }
        let condition = &condition[..condition.len().min(len)];
        dims[axis] = condition.iter().filter(|keeps| **keeps).count();
        with_values!(input.data(), values => {
            let out = context.shape_as(&mut outputs[0], &dims)?;
            keep(values, condition, [len, inner], out);
        });
        Ok(())
    }
}

fn keep<T: Element>(values: &[T], condition: &[bool], [len, inner]: [usize; 2], out: &mut [T]) {
    if out.is_empty() {
        return;
    }
    let mut out = out.chunks_exact_mut(inner);
    for group in values.chunks_exact(len * inner) {
        for (part, _) in group.chunks_exact(inner).zip(condition).filter(|(_, keeps)| **keeps) {
            if let Some(out) = out.next() {
                out.clone_from_slice(part);
            }
        }
    }
}

fn compress(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["axis"])?;
    view.dtype_among(1, &[DType::Bool])?;
    let axis = view.int("axis")?;
    check_axes(view, axis.as_slice())?;
    Ok(Built::one(Compress { axis }, view.dtype(0)?))
}
