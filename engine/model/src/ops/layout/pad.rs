//! Owns the operators that put values around a tensor or cut its edges off.
//!
//! Refuses modes that it does not know. Bound: tables of one place per row of each axis, in
//! scratch memory.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{
    Few, Number, OUTSIDE, allowed, check_axes, few_ints, pick, unique_axes, values_like,
};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Element, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "Pad", pad), ("", "CenterCropPad", center_crop_pad)];

/// Where values beyond an edge come from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Constant,
    Reflect,
    Edge,
    Wrap,
}

#[derive(Debug)]
struct Pad {
    mode: Mode,
    /// Pads and the value where they are settings; inputs otherwise.
    given: Option<(Vec<i64>, f32)>,
}

impl Mode {
    /// The place of the source that a place before, in or after it stands for.
    fn place(self, place: i64, dim: i64) -> Result<usize, RunError> {
        let inside = (0..dim).contains(&place);
        let found = match self {
            _ if inside => place,
            Self::Constant => return Ok(OUTSIDE),
            Self::Edge if dim > 0 => place.clamp(0, dim - 1),
            Self::Wrap if dim > 0 => place.rem_euclid(dim),
            Self::Reflect if place > -dim && place < 0 => -place,
            Self::Reflect if place >= dim && place - dim < dim - 1 => 2 * (dim - 1) - place,
            _ => {
                let found = format!("place {place} beyond a dimension of {dim}");
                return Err(RunError::input(found, "pads that the mode can fill"));
            }
        };
        usize::try_from(found).map_err(|_| RunError::input("a place", "one within"))
    }
}

/// Dimensions of the result, and the tables of [`pick`]: each axis begins at a place of the source,
/// which may lie before it, and has so many places.
fn tables(
    input: &Tensor,
    ranges: &[(i64, usize)],
    mode: Mode,
    bytes_max: usize,
    tables: &mut Vec<usize>,
) -> Result<Few<usize>, RunError> {
    let (shape, strides) = (input.shape(), input.shape().strides());
    tables.clear();
    let mut dims = Few::<usize>::new();
    for (axis, (start, count)) in ranges.iter().enumerate() {
        if *count > bytes_max {
            return Err(RunError::TooLarge { bytes: *count, bytes_max });
        }
        let dim = shape[axis] as i64;
        for step in 0..*count as i64 {
            let place = mode.place(start.saturating_add(step), dim)?;
            tables.push(if place == OUTSIDE { OUTSIDE } else { place * strides[axis] });
        }
        dims.push(*count)?;
    }
    Ok(dims)
}

impl Pad {
    fn ranges(&self, inputs: &Inputs<'_>) -> Result<Few<(i64, usize)>, RunError> {
        let shape = inputs.need(0)?.shape();
        let (pads, axes) = match &self.given {
            Some((pads, _)) => (Few::of(pads)?, None),
            None => (few_ints(inputs, 1)?.unwrap_or_default(), few_ints(inputs, 3)?),
        };
        let mut ranges = Few::<(i64, usize)>::new();
        for dim in shape.iter() {
            ranges.push((0, *dim))?;
        }
        let axes = match axes {
            Some(axes) => unique_axes(&axes, shape.len())?,
            None => {
                let mut axes = Few::<usize>::new();
                (0..shape.len()).try_for_each(|axis| axes.push(axis))?;
                axes
            }
        };
        let wrong =
            |found: &[i64]| RunError::input(format_args!("pads {found:?} of {shape}"), "two each");
        if pads.len() != 2 * axes.len() {
            return Err(wrong(&pads));
        }
        for (index, axis) in axes.iter().enumerate() {
            let (before, after) = (pads[index], pads[index + axes.len()]);
            let dim = shape[*axis] as i64;
            let padded = dim.checked_add(before).and_then(|dim| dim.checked_add(after));
            let count = padded.and_then(|dim| usize::try_from(dim).ok());
            let start = before.checked_neg().ok_or_else(|| wrong(&pads))?;
            // More is cut on one side than there is: no mode says what fills the other.
            if (self.mode != Mode::Constant) && (-before > dim || -after > dim) {
                return Err(wrong(&pads));
            }
            ranges[*axis] = (start, count.ok_or_else(|| wrong(&pads))?);
        }
        Ok(ranges)
    }
}

/// The value that fills: that of the third input, or the type's default.
fn filling<T: Element>(inputs: &Inputs<'_>, like: &[T]) -> Result<T, RunError> {
    match inputs.get(2) {
        None => Ok(T::default()),
        Some(_) => match values_like(inputs, 2, like)?.1 {
            [value] => Ok(value.clone()),
            values => Err(RunError::input(format_args!("{} values", values.len()), "one")),
        },
    }
}

impl Operator for Pad {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let ranges = self.ranges(inputs)?;
        let max = context.bytes_max;
        let dims = tables(input, &ranges, self.mode, max, &mut context.scratch.usizes)?;
        if let Some((_, value)) = &self.given {
            return with_values!([F32, F64, F16] input.data(), values => {
                let fill = of_f32(values, *value);
                let out = context.shape_as(&mut outputs[0], &dims)?;
                pick(&context.scratch.usizes, &dims, values, &fill, out)
            }, else Err(RunError::input(input.dtype(), "floating-point numbers")));
        }
        with_values!(input.data(), values => {
            let fill = filling(inputs, values)?;
            let out = context.shape_as(&mut outputs[0], &dims)?;
            pick(&context.scratch.usizes, &dims, values, &fill, out)
        })
    }
}

fn of_f32<T: Number>(_like: &[T], value: f32) -> T {
    T::from_f64(f64::from(value))
}

/// Cut to a size around the middle, or filled up around it.
#[derive(Debug)]
struct CenterCropPad(Option<Vec<i64>>);

impl Operator for CenterCropPad {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let wanted = few_ints(inputs, 1)?.unwrap_or_default();
        let mut ranges = Few::<(i64, usize)>::new();
        for dim in input.shape().iter() {
            ranges.push((0, *dim))?;
        }
        let axes = match &self.0 {
            Some(axes) => unique_axes(axes, ranges.len())?,
            None => {
                let mut axes = Few::<usize>::new();
                (0..ranges.len()).try_for_each(|axis| axes.push(axis))?;
                axes
            }
        };
        let wrong = || RunError::input(format_args!("sizes {:?}", &*wanted), "one per axis");
        if axes.len() != wanted.len() {
            return Err(wrong());
        }
        for (axis, size) in axes.iter().zip(wanted.iter()) {
            let size = usize::try_from(*size).map_err(|_| wrong())?;
            let dim = ranges[*axis].1;
            let start = match size <= dim {
                true => ((dim - size) / 2) as i64,
                false => -(((size - dim) / 2) as i64),
            };
            ranges[*axis] = (start, size);
        }
        let max = context.bytes_max;
        let dims = tables(input, &ranges, Mode::Constant, max, &mut context.scratch.usizes)?;
        with_values!(input.data(), values => {
            let out = context.shape_as(&mut outputs[0], &dims)?;
            pick(&context.scratch.usizes, &dims, values, &Default::default(), out)
        })
    }
}

fn pad(view: &NodeView<'_>) -> Result<Built, ModelError> {
    allowed(view, &[("mode", 1, u32::MAX), ("pads", 2, 10), ("value", 1, 10)])?;
    let mode = match view.string("mode")?.unwrap_or("constant") {
        "constant" => Mode::Constant,
        "reflect" => Mode::Reflect,
        "edge" => Mode::Edge,
        "wrap" if view.opset() >= 19 => Mode::Wrap,
        other => return Err(view.refuse(format_args!("mode `{other}` is not known"))),
    };
    let dtype = view.dtype(0)?;
    if view.opset() < 11 {
        view.dtype_among(0, &[DType::F32, DType::F64, DType::F16])?;
        let pads = view.ints("pads")?.ok_or_else(|| view.refuse("it has no `pads`"))?;
        if view.input_count() > 1 {
            return Err(view.refuse("this opset has pads as an attribute"));
        }
        let given = Some((pads.to_vec(), view.float_or("value", 0.0)?));
        return Ok(Built::one(Pad { mode, given }, dtype));
    }
    view.dtype_among(1, &[DType::I64])?;
    if view.has_input(2) {
        view.dtype_among(2, &[dtype])?;
    }
    if view.has_input(3) {
        view.dtype_among(3, &[DType::I32, DType::I64])?;
        if view.opset() < 18 {
            return Err(view.refuse("this opset has no axes"));
        }
    }
    Ok(Built::one(Pad { mode, given: None }, dtype))
}

fn center_crop_pad(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["axes"])?;
    view.dtype_among(1, &[DType::I32, DType::I64])?;
    let axes = view.ints("axes")?;
    check_axes(view, axes.unwrap_or_default())?;
    Ok(Built::one(CenterCropPad(axes.map(<[i64]>::to_vec)), view.dtype(0)?))
}
