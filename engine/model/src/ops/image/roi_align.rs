//! Owns the operator that pools regions of images, with samples between pixels.
//!
//! Refuses images that are not there. Bound: [`SAMPLE_COUNT_MAX`] samples along a side of one
//! pooled value. Formula: He et al., Mask R-CNN, 3; the largest is taken of the four weighted
//! pixels of each sample, as the reference of ONNX does.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Float, Wide, allowed};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "RoiAlign", roi_align)];

/// Most samples along one side of a pooled value.
const SAMPLE_COUNT_MAX: f64 = 4096.0;

#[derive(Debug)]
struct RoiAlign {
    output: [usize; 2],
    /// Samples along one side; as many as pixels if 0.
    samples: usize,
    scale: f32,
    /// Whether regions are moved back by half a pixel.
    half_pixel: bool,
    takes_largest: bool,
}

/// One side of a region: where it begins, the size of a pooled value, samples of one.
#[derive(Clone, Copy)]
struct Side<W> {
    start: W,
    bin: W,
    samples: usize,
}

/// Two pixels along an axis and the weight of the second; none outside of the image.
fn pair<W: Wide>(place: W, len: usize) -> Option<([usize; 2], W)> {
    if place < W::of(-1.0) || place > W::of(len as f64) || place.is_nan() {
        return None;
    }
    let place = if place < W::ZERO { W::ZERO } else { place };
    let low = place.to_f64() as usize;
    match low + 1 >= len {
        true => Some(([len - 1; 2], W::ZERO)),
        false => Some(([low, low + 1], place - W::of(low as f64))),
    }
}

impl RoiAlign {
    fn side<W: Wide>(&self, [start, end]: [W; 2], outputs: usize) -> Result<Side<W>, RunError> {
        let scale = W::of(f64::from(self.scale));
        let offset = if self.half_pixel { W::of(0.5) } else { W::ZERO };
        let (start, end) = (start * scale - offset, end * scale - offset);
        let size = end - start;
        // Without moving, regions are at least one pixel.
        let size = if !self.half_pixel && size < W::ONE { W::ONE } else { size };
        let bin = size / W::of(outputs as f64);
        let wanted = bin.to_f64().ceil();
        let samples = match self.samples {
            0 if wanted.is_nan() || wanted > SAMPLE_COUNT_MAX => {
                return Err(RunError::input("a region of many pixels", SAMPLE_COUNT_MAX));
            }
            0 => wanted.max(0.0) as usize,
            given => given,
        };
        Ok(Side { start, bin, samples })
    }

    fn pool<T: Float>(
        &self,
        values: &[T],
        lens: [usize; 2],
        sides: [Side<T::Wide>; 2],
        at: [usize; 2],
    ) -> T::Wide {
        let place = |axis: usize, sample: usize| {
            let Side { start, bin, samples } = sides[axis];
            let within = (T::Wide::of(sample as f64) + T::Wide::of(0.5)) * bin;
            let place =
                start + T::Wide::of(at[axis] as f64) * bin + within / T::Wide::of(samples as f64);
            pair(place, lens[axis])
        };
        let mut sum = T::Wide::ZERO;
        let mut largest: Option<T::Wide> = None;
        for row in 0..sides[0].samples {
            for column in 0..sides[1].samples {
                let mut parts = [T::Wide::ZERO; 4];
                if let (Some((rows, down)), Some((columns, right))) =
                    (place(0, row), place(1, column))
                {
                    let (up, left) = (T::Wide::ONE - down, T::Wide::ONE - right);
                    let weights = [up * left, up * right, down * left, down * right];
                    let pixel = |row: usize, column: usize| {
                        values[rows[row] * lens[1] + columns[column]].wide()
                    };
                    let pixels = [pixel(0, 0), pixel(0, 1), pixel(1, 0), pixel(1, 1)];
                    for (part, (weight, pixel)) in
                        parts.iter_mut().zip(weights.into_iter().zip(pixels))
                    {
                        *part = weight * pixel;
                    }
                }
                sum += parts.into_iter().sum::<T::Wide>();
                for part in parts {
                    largest =
                        Some(largest.map_or(part, |best| if part > best { part } else { best }));
                }
            }
        }
        let count = (sides[0].samples * sides[1].samples).max(1);
        match self.takes_largest {
            true => largest.unwrap_or(T::Wide::ZERO),
            false => sum / T::Wide::of(count as f64),
        }
    }

    fn fill<T: Float>(
        &self,
        values: &[T],
        regions: &[T],
        images: &[i64],
        [batch, channels, height, width]: [usize; 4],
        out: &mut [T],
    ) -> Result<(), RunError> {
        let [rows, columns] = self.output;
        let (plane, pooled) = (height * width, rows * columns);
        let groups = out.chunks_exact_mut(channels * pooled);
        for ((region, image), out) in regions.chunks_exact(4).zip(images).zip(groups) {
            let wrong = || RunError::input(format_args!("image {image}"), batch);
            let image = usize::try_from(*image).ok().filter(|image| *image < batch);
            let image = image.ok_or_else(wrong)?;
            let edge = |index: usize| region[index].wide();
            let sides =
                [self.side([edge(1), edge(3)], rows)?, self.side([edge(0), edge(2)], columns)?];
            for (channel, out) in out.chunks_exact_mut(pooled).enumerate() {
                let values = &values[(image * channels + channel) * plane..][..plane];
                for (index, out) in out.iter_mut().enumerate() {
                    let at = [index / columns, index % columns];
                    *out = T::narrow(self.pool(values, [height, width], sides, at));
                }
            }
        }
        Ok(())
    }
}

impl Operator for RoiAlign {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (input, regions) = (inputs.need(0)?, inputs.need(1)?);
        let (image_shape, images) = inputs.values::<i64>(2)?;
        let wrong = || {
            let found = format!("{} with regions {}", input.shape(), regions.shape());
            RunError::input(found, "images, four numbers for each region, and its image")
        };
        let [batch, channels, height, width] = input.shape()[..] else { return Err(wrong()) };
        let count = images.len();
        let fits = **regions.shape() == [count, 4] && image_shape.len() == 1;
        if !fits || height == 0 || width == 0 {
            return Err(wrong());
        }
        let dims = [count, channels, self.output[0], self.output[1]];
        with_values!([F32, F64, F16, Bf16] input.data(), values => {
            let (_, regions) = crate::ops::support::values_like(inputs, 1, values)?;
            let out = context.shape_as(&mut outputs[0], &dims)?;
            if out.is_empty() {
                return Ok(());
            }
            self.fill(values, regions, images, [batch, channels, height, width], out)
        }, else Err(RunError::input(input.dtype(), "floating-point numbers")))
    }
}

fn roi_align(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let since = |name, first| (name, first, u32::MAX);
    allowed(
        view,
        &[
            since("mode", 10),
            since("output_height", 10),
            since("output_width", 10),
            since("sampling_ratio", 10),
            since("spatial_scale", 10),
            since("coordinate_transformation_mode", 16),
        ],
    )?;
    let dtype = view.dtype_among(0, &[DType::F32, DType::F64, DType::F16, DType::Bf16])?;
    view.dtype_among(1, &[dtype])?;
    view.dtype_among(2, &[DType::I64])?;
    let default = if view.opset() < 16 { "output_half_pixel" } else { "half_pixel" };
    let half_pixel = match view.string("coordinate_transformation_mode")?.unwrap_or(default) {
        "half_pixel" => true,
        "output_half_pixel" => false,
        other => return Err(view.refuse(format_args!("coordinates `{other}` are not known"))),
    };
    let takes_largest = match view.string("mode")?.unwrap_or("avg") {
        "avg" => false,
        "max" => true,
        other => return Err(view.refuse(format_args!("mode `{other}` is not known"))),
    };
    let size = |name: &str, default: i64, min: i64| match view.int_or(name, default)? {
        size if (min..=SAMPLE_COUNT_MAX as i64).contains(&size) => Ok(size as usize),
        other => Err(view.refuse(format_args!("`{name}` {other}"))),
    };
    let operator = RoiAlign {
        output: [size("output_height", 1, 1)?, size("output_width", 1, 1)?],
        samples: size("sampling_ratio", 0, 0)?,
        scale: view.float_or("spatial_scale", 1.0)?,
        half_pixel,
        takes_largest,
    };
    Ok(Built::one(operator, dtype))
}
