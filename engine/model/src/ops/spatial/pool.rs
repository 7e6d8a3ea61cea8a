//! Owns the pools: the largest value, the average and the norm of each window.
//!
//! Refuses a window that covers no value, of which nobody knows the largest or the average.
//! Bound: one pass over all windows.

use super::grid::{Axis, Grid, Window};
use super::settings::{Around, Settings};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, Float, Wide, allowed};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Element, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family =
    &[("", "MaxPool", max_pool), ("", "AveragePool", average_pool), ("", "LpPool", lp_pool)];

/// Dimensions of the result and the grid of an input.
fn sizes(settings: &Settings, input: &Tensor) -> Result<(Few<usize>, Grid), RunError> {
    let shape = input.shape();
    let spatial = shape.get(2..).unwrap_or_default();
    let grid = settings.grid(spatial, &settings.kernel)?;
    let same = matches!(settings.around, Around::SameUpper | Around::SameLower);
    if same && grid.0.iter().any(leaves) {
        return Err(RunError::input(shape, "no more values than windows with SAME pads cover"));
    }
    let mut dims = Few::of(&shape[..2])?;
    let outputs = grid.0[grid.0.len() - spatial.len()..].iter();
    outputs.map(|axis| axis.output).try_for_each(|dim| dims.push(dim))?;
    Ok((dims, grid))
}

/// Whether more than one value is left over behind the last window. With pads to the same size, the
/// first window then begins within the input for some and at its first value for others.
fn leaves(axis: &Axis) -> bool {
    (axis.output - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 2 < axis.input
}

fn empty_window() -> RunError {
    RunError::input("a window that covers padding only", "values in each window")
}

#[derive(Debug)]
struct MaxPool {
    settings: Settings,
    /// Whether places are counted along the first dimension first.
    column_major: bool,
}

impl MaxPool {
    fn fill<T: Element + Copy + PartialOrd>(
        &self,
        values: &[T],
        grid: &Grid,
        out: &mut [T],
        mut places: Option<&mut [i64]>,
    ) -> Result<(), RunError> {
        let (inputs, outputs) = (grid.input_count(), grid.output_count());
        if out.is_empty() {
            return Ok(());
        }
        let mut is_empty = false;
        for (plane, out) in out.chunks_exact_mut(outputs).enumerate() {
            let values = &values[plane * inputs..(plane + 1) * inputs];
            grid.each(|output, window| match largest(values, window) {
                None => is_empty = true,
                Some((value, place)) => {
                    out[output] = value;
                    if let Some(places) = places.as_deref_mut() {
                        let place = if self.column_major { turned(place, grid) } else { place };
                        places[plane * outputs + output] = (plane * inputs + place) as i64;
                    }
                }
            });
        }
        if is_empty { Err(empty_window()) } else { Ok(()) }
    }
}

/// The largest value and its place; what is no number counts as larger than all numbers.
#[inline]
fn largest<T: Copy + PartialOrd>(values: &[T], window: &Window) -> Option<(T, usize)> {
    let mut found: Option<(T, usize)> = None;
    window.each(|place, _| {
        let value = values[place];
        let is_number = |value: &T| value.partial_cmp(value).is_some();
        let replaces = match found {
            None => true,
            Some((best, _)) => value > best || (!is_number(&value) && is_number(&best)),
        };
        if replaces {
            found = Some((value, place));
        }
    });
    found
}

/// The place when the first dimension is counted along first.
fn turned(place: usize, grid: &Grid) -> usize {
    let [deep, high, wide] = grid.0.map(|axis| axis.input);
    let (z, y, x) = (place / (high * wide), place / wide % high, place % wide);
    z + (y + x * high) * deep
}

impl Operator for MaxPool {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let (dims, grid) = sizes(&self.settings, input)?;
        let Some((first, rest)) = outputs.split_first_mut() else { return Ok(()) };
        let places = match rest.first_mut() {
            None => None,
            Some(places) => Some(context.shape_as::<i64>(places, &dims)?),
        };
        with_values!([F32, F64, F16, Bf16, I8, U8] input.data(), values => {
            self.fill(values, &grid, context.shape_as(first, &dims)?, places)
        }, else Err(RunError::input(input.dtype(), "a type that is pooled")))
    }
}

const FLOATS: [DType; 4] = [DType::F32, DType::F64, DType::F16, DType::Bf16];

fn windowed(view: &NodeView<'_>) -> Result<Settings, ModelError> {
    let settings = Settings::read(view)?;
    match settings.kernel.is_empty() {
        false => Ok(settings),
        true => Err(view.refuse("it has no `kernel_shape`")),
    }
}

fn max_pool(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let since = |name, first| (name, first, u32::MAX);
    allowed(
        view,
        &[
            since("auto_pad", 1),
            since("kernel_shape", 1),
            since("pads", 1),
            since("strides", 1),
            since("storage_order", 8),
            since("ceil_mode", 10),
            since("dilations", 10),
        ],
    )?;
    let [a, b, c, d] = FLOATS;
    let dtype = view.dtype_among(0, &[a, b, c, d, DType::I8, DType::U8])?;
    let column_major = match view.int_or("storage_order", 0)? {
        0 => false,
        1 => true,
        other => return Err(view.refuse(format_args!("`storage_order` {other}"))),
    };
    let mut outputs = vec![dtype];
    if view.has_output(1) {
        outputs.push(DType::I64);
    }
    Ok(Built::many(MaxPool { settings: windowed(view)?, column_major }, outputs))
}

/// What is made of the values of a window.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Their sum, divided by how many there are, padding included or not.
    Average { padded: bool },
    /// The sum of their absolute values to a power, to one through that power.
    Norm { power: i64 },
}

#[derive(Debug)]
struct SumPool {
    settings: Settings,
    kind: Kind,
}

impl SumPool {
    fn fill<T: Float>(&self, values: &[T], grid: &Grid, out: &mut [T]) -> Result<(), RunError> {
        let (inputs, outputs) = (grid.input_count(), grid.output_count());
        if out.is_empty() {
            return Ok(());
        }
        let mut is_empty = false;
        for (plane, out) in out.chunks_exact_mut(outputs).enumerate() {
            let values = &values[plane * inputs..(plane + 1) * inputs];
            grid.each(|output, window| {
                let mut sum = T::Wide::ZERO;
                let value = match self.kind {
                    Kind::Average { padded } => {
                        window.each(|place, _| sum += values[place].wide());
                        let count = if padded { window.padded() } else { window.count() };
                        is_empty |= count == 0;
                        sum / T::Wide::of(count as f64)
                    }
                    Kind::Norm { power } => {
                        window.each(|place, _| sum += to_power(values[place].wide(), power));
                        root(sum, power)
                    }
                };
                out[output] = T::narrow(value);
            });
        }
        if is_empty { Err(empty_window()) } else { Ok(()) }
    }
}

/// The absolute value to a power.
pub fn to_power<W: Wide>(value: W, power: i64) -> W {
    match power {
        1 => value.abs(),
        2 => value * value,
        _ => value.abs().powf(W::of(power as f64)),
    }
}

/// To one through a power.
pub fn root<W: Wide>(value: W, power: i64) -> W {
    if power == 1 { value } else { value.powf(W::ONE / W::of(power as f64)) }
}

impl Operator for SumPool {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let (dims, grid) = sizes(&self.settings, input)?;
        with_values!([F32, F64, F16, Bf16] input.data(), values => {
            self.fill(values, &grid, context.shape_as(&mut outputs[0], &dims)?)
        }, else Err(RunError::input(input.dtype(), "floating-point numbers")))
    }
}

fn average_pool(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let since = |name, first| (name, first, u32::MAX);
    allowed(
        view,
        &[
            since("auto_pad", 1),
            since("kernel_shape", 1),
            since("pads", 1),
            since("strides", 1),
            since("count_include_pad", 7),
            since("ceil_mode", 10),
            since("dilations", 19),
        ],
    )?;
    let dtype = view.dtype_among(0, &FLOATS)?;
    let kind = Kind::Average { padded: view.int_or("count_include_pad", 0)? != 0 };
    Ok(Built::one(SumPool { settings: windowed(view)?, kind }, dtype))
}

fn lp_pool(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let since = |name, first| (name, first, u32::MAX);
    allowed(
        view,
        &[
            since("auto_pad", 1),
            since("kernel_shape", 1),
            since("p", 1),
            since("pads", 1),
            since("strides", 1),
            since("ceil_mode", 18),
            since("dilations", 18),
        ],
    )?;
    let dtype = view.dtype_among(0, &FLOATS)?;
    let kind = Kind::Norm { power: power(view)? };
    Ok(Built::one(SumPool { settings: windowed(view)?, kind }, dtype))
}

/// The power of a norm.
pub fn power(view: &NodeView<'_>) -> Result<i64, ModelError> {
    match view.int_or("p", 2)? {
        power @ 1..=1024 => Ok(power),
        other => Err(view.refuse(format_args!("a norm of power {other}"))),
    }
}
