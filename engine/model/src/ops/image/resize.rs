//! Owns the operators that change the size of images.
//!
//! Refuses to mix integers, whose rounding nobody defines. Bound: two buffers of the largest
//! result along the way; computed axis after axis, in 32 bits for all types but the 64-bit one.

use super::resize_sizes::{Policy, Sizes, count_max, output_dims};
use super::resize_taps::{Coordinates, Filter, Nearest, Scaled};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{BUFFER_COUNT, Float, Number, OUTSIDE, Wide, allowed, check_axes, pick};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "Resize", resize), ("", "Upsample", upsample)];

/// How pixels are made.
#[derive(Clone, Copy, Debug)]
enum Mode {
    /// The nearest one.
    Nearest(Nearest),
    /// Mixed; whether over more pixels when smaller, and whether only of those that are there.
    Filter { filter: Filter, antialias: bool, excludes: bool },
}

#[derive(Debug)]
struct Resize {
    sizes: Sizes,
    coordinates: Coordinates,
    mode: Mode,
    /// The value outside of the image, for regions that reach there.
    outside: f32,
    /// Whether only larger images are defined.
    larger_only: bool,
}

impl Operator for Resize {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let all = self.sizes.scaled(inputs, input.shape())?;
        if self.larger_only && all.iter().any(|axis| axis.scale < 1.0) {
            return Err(RunError::input("a scale below 1", "larger ones"));
        }
        let dims = output_dims(&all)?;
        let dtype = input.dtype();
        context.shape(&mut outputs[0], dtype, &dims)?;
        if outputs[0].count() == 0 {
            return Ok(());
        }
        match self.mode {
            Mode::Nearest(nearest) => self.pick(input, &all, nearest, &dims, outputs, context),
            Mode::Filter { filter, antialias, excludes } => {
                with_values!([F32, F64, F16, Bf16] input.data(), values => {
                    let filter = (filter, [antialias, excludes]);
                    self.mix(input, values, &all, filter, &mut outputs[0], context)
                }, else Err(RunError::input(dtype, "floating-point numbers")))
            }
        }
    }
}

impl Resize {
    fn pick(
        &self,
        input: &Tensor,
        all: &[Scaled],
        nearest: Nearest,
        dims: &[usize],
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let strides = input.shape().strides();
        let tables = &mut context.scratch.usizes;
        tables.clear();
        for (axis, stride) in all.iter().zip(strides) {
            for output in 0..axis.output {
                let pixel = match axis.is_identity() {
                    true => Some(output),
                    false => axis
                        .place(output, self.coordinates)
                        .map(|place| axis.nearest(place, nearest)),
                };
                tables.push(pixel.map_or(OUTSIDE, |pixel| pixel * stride));
            }
        }
        let (output, tables) = (&mut outputs[0], &context.scratch.usizes);
        if self.coordinates == Coordinates::CropAndResize {
            let outside = f64::from(self.outside);
            return with_values!([F32, F64, F16, Bf16, I8, I16, I32, I64, U8, U16, U32, U64]
                input.data(), values => {
                    let fill = Number::from_f64(outside);
                    let out = context.shape_as(output, dims)?;
                    pick(tables, dims, values, &fill, out)
                }, else Err(RunError::input(input.dtype(), "numbers")));
        }
        with_values!(input.data(), values => {
            let out = context.shape_as(output, dims)?;
            pick(tables, dims, values, &Default::default(), out)
        })
    }

    fn mix<T: Float>(
        &self,
        input: &Tensor,
        values: &[T],
        all: &[Scaled],
        filter: (Filter, [bool; 2]),
        output: &mut Tensor,
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let bytes_max = context.bytes_max;
        let largest = count_max(input, all).and_then(|count| count.checked_mul(8));
        if largest.is_none_or(|bytes| bytes > bytes_max) {
            let bytes = largest.unwrap_or(usize::MAX);
            return Err(RunError::TooLarge { bytes, bytes_max });
        }
        let mut own: [Vec<T::Wide>; BUFFER_COUNT] = Default::default();
        let mut pixels = std::mem::take(&mut context.scratch.usizes);
        let [from, to, weights, ..] = T::Wide::buffers(context.scratch, &mut own);
        from.clear();
        from.extend(values.iter().map(|value| value.wide()));
        for (index, axis) in all.iter().enumerate().filter(|(_, axis)| !axis.is_identity()) {
            // Axes before this one have their new size already.
            let outer: usize = all[..index].iter().map(|axis| axis.output).product();
            let inner: usize = all[index + 1..].iter().map(|axis| axis.input).product();
            let reach = filter.0.reach(filter.1[0], axis.scale);
            // No more pixels on each side than there are, twice, for those beyond the edges.
            let taps = 2 * reach.min(bytes_max / 16);
            let table_len = taps.checked_mul(axis.output).filter(|len| *len <= bytes_max / 8);
            let Some(table_len) = table_len else {
                return Err(RunError::TooLarge { bytes: usize::MAX, bytes_max });
            };
            pixels.clear();
            pixels.resize(table_len, 0);
            weights.clear();
            let mut row = vec![0.0; taps];
            for (output, pixels) in pixels.chunks_exact_mut(taps).enumerate() {
                match axis.place(output, self.coordinates) {
                    Some(place) => filter.0.taps(axis, place, filter.1, pixels, &mut row),
                    None => pixels.fill(OUTSIDE),
                }
                weights.extend(row.iter().map(|weight| T::Wide::of(*weight)));
            }
            to.clear();
            to.resize(outer * axis.output * inner, T::Wide::ZERO);
            let table = Table { taps, pixels: &pixels, weights, outside: self.outside };
            table.apply(from, to, axis, inner);
            std::mem::swap(from, to);
        }
        let out = output.values_mut::<T>().unwrap_or_default();
        out.iter_mut().zip(from.iter()).for_each(|(out, value)| *out = T::narrow(*value));
        context.scratch.usizes = pixels;
        Ok(())
    }
}

/// What each pixel of an axis is mixed of.
struct Table<'a, W> {
    taps: usize,
    pixels: &'a [usize],
    weights: &'a [W],
    outside: f32,
}

impl<W: Wide> Table<'_, W> {
    fn apply(&self, from: &[W], to: &mut [W], axis: &Scaled, inner: usize) {
        if to.is_empty() {
            return;
        }
        for (line, to) in to.chunks_exact_mut(inner).enumerate() {
            let (group, output) = (line / axis.output, line % axis.output);
            let range = output * self.taps..(output + 1) * self.taps;
            for (pixel, weight) in self.pixels[range.clone()].iter().zip(&self.weights[range]) {
                if *pixel == OUTSIDE {
                    to.fill(W::of(f64::from(self.outside)));
                    break;
                }
                let from = &from[(group * axis.input + pixel) * inner..][..inner];
                to.iter_mut().zip(from).for_each(|(to, from)| *to += *weight * *from);
            }
        }
    }
}

fn coordinates(view: &NodeView<'_>) -> Result<Coordinates, ModelError> {
    let opset = view.opset();
    Ok(match view.string("coordinate_transformation_mode")?.unwrap_or("half_pixel") {
        "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" if opset >= 19 => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "tf_half_pixel_for_nn" if opset < 13 => Coordinates::TfHalfPixelForNn,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        // The definition and its reference differ in the size that scales of a region give.
        "tf_crop_and_resize" if view.has_input(2) && !is_empty(view, 2) => {
            return Err(view.refuse("scales of a region are not computed"));
        }
        "tf_crop_and_resize" => Coordinates::CropAndResize,
        other => return Err(view.refuse(format_args!("coordinates `{other}` are not known"))),
    })
}

fn is_empty(view: &NodeView<'_>, index: usize) -> bool {
    view.constant(index).is_some_and(|tensor| tensor.count() == 0)
}

fn mode(view: &NodeView<'_>) -> Result<Mode, ModelError> {
    let antialias = view.int_or("antialias", 0)? != 0;
    let excludes = view.int_or("exclude_outside", 0)? != 0;
    let filter = match view.string("mode")?.unwrap_or("nearest") {
        "nearest" if !antialias && !excludes => {
            let name = view.string("nearest_mode")?.unwrap_or("round_prefer_floor");
            return Ok(Mode::Nearest(match name {
                "round_prefer_floor" => Nearest::PreferFloor,
                "round_prefer_ceil" => Nearest::PreferCeil,
                "floor" => Nearest::Floor,
                "ceil" => Nearest::Ceil,
                other => return Err(view.refuse(format_args!("`nearest_mode` {other}"))),
            }));
        }
        "linear" => Filter::Linear,
        "cubic" => Filter::Cubic(f64::from(view.float_or("cubic_coeff_a", -0.75)?)),
        other => return Err(view.refuse(format_args!("mode `{other}` with these settings"))),
    };
    Ok(Mode::Filter { filter, antialias, excludes })
}

fn built(view: &NodeView<'_>, resize: Resize) -> Result<Built, ModelError> {
    let dtype = view.dtype(0)?;
    if matches!(resize.mode, Mode::Filter { .. }) && !dtype.is_float() {
        return Err(view.refuse(format_args!("type {dtype} is not mixed")));
    }
    let is_numeric = !matches!(dtype, DType::Bool | DType::String);
    if resize.coordinates == Coordinates::CropAndResize && !is_numeric {
        return Err(view.refuse(format_args!("type {dtype} has no value outside")));
    }
    Ok(Built::one(resize, dtype))
}

fn resize(view: &NodeView<'_>) -> Result<Built, ModelError> {
    if view.opset() < 11 {
        return old(view, None, Some(1));
    }
    let since = |name, first| (name, first, u32::MAX);
    allowed(
        view,
        &[
            since("coordinate_transformation_mode", 11),
            since("cubic_coeff_a", 11),
            since("exclude_outside", 11),
            since("extrapolation_value", 11),
            since("mode", 11),
            since("nearest_mode", 11),
            since("antialias", 18),
            since("axes", 18),
            since("keep_aspect_ratio_policy", 18),
        ],
    )?;
    let policy = match view.string("keep_aspect_ratio_policy")?.unwrap_or("stretch") {
        "stretch" => Policy::Stretch,
        "not_larger" => Policy::NotLarger,
        "not_smaller" => Policy::NotSmaller,
        other => return Err(view.refuse(format_args!("policy `{other}` is not known"))),
    };
    for (index, known) in
        [(2, &[DType::F32][..]), (3, &[DType::I64]), (1, &[DType::F32, DType::F64, DType::F16])]
    {
        if view.has_input(index) {
            view.dtype_among(index, known)?;
        }
    }
    let axes = view.ints("axes")?;
    check_axes(view, axes.unwrap_or_default())?;
    let coordinates = coordinates(view)?;
    let crops = coordinates == Coordinates::CropAndResize;
    if crops && !view.has_input(1) {
        return Err(view.refuse("it has no region"));
    }
    let region = crops.then_some(1);
    let sizes = Sizes {
        given: None,
        inputs: [region, Some(2), Some(3)],
        axes: axes.map(<[i64]>::to_vec),
        policy,
    };
    let (mode, outside) = (mode(view)?, view.float_or("extrapolation_value", 0.0)?);
    built(view, Resize { sizes, coordinates, mode, outside, larger_only: false })
}

/// The operators of opset 10 and before: first pixels lie on each other. Which pixel is the
/// nearest is only plain in larger images.
fn old(
    view: &NodeView<'_>,
    given: Option<Vec<f32>>,
    scales: Option<usize>,
) -> Result<Built, ModelError> {
    allowed(view, &[("mode", 1, 10), ("scales", 1, 8)])?;
    let mode = match view.string("mode")?.unwrap_or("nearest") {
        "nearest" => Mode::Nearest(Nearest::Floor),
        "linear" => Mode::Filter { filter: Filter::Linear, antialias: false, excludes: false },
        other => return Err(view.refuse(format_args!("mode `{other}` is not known"))),
    };
    if let Some(index) = scales {
        view.dtype_among(index, &[DType::F32])?;
    }
    let sizes = Sizes { given, inputs: [None, scales, None], axes: None, policy: Policy::Stretch };
    let larger_only = matches!(mode, Mode::Nearest(_));
    let coordinates = Coordinates::Asymmetric;
    built(view, Resize { sizes, coordinates, mode, outside: 0.0, larger_only })
}

fn upsample(view: &NodeView<'_>) -> Result<Built, ModelError> {
    match view.opset() {
        ..=8 => {
            let scales = view.floats("scales")?.ok_or_else(|| view.refuse("it has no `scales`"))?;
            old(view, Some(scales.to_vec()), None)
        }
        9 => old(view, None, Some(1)),
        _ => Err(view.refuse("this opset has Resize instead")),
    }
}
