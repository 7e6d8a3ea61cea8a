//! Owns the operator that takes samples of an image at places that a grid names.
//!
//! Refuses more than three dimensions. Bound: one pass over the grid for each channel.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, Float, Wide};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "GridSample", grid_sample)];

/// Most dimensions of an image.
const SPATIAL_MAX: usize = 3;

/// How pixels around a place are mixed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// What lies beyond the edges.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

#[derive(Debug)]
struct GridSample {
    mode: Mode,
    padding: Padding,
    align_corners: bool,
}

/// Pixels along one axis, each with its weight; none where nothing lies.
#[derive(Clone, Copy, Default)]
struct Taps {
    pixels: [Option<usize>; 4],
    weights: [f64; 4],
    count: usize,
}

/// Mirrored at both ends until it lies between them.
fn reflect(place: f64, low: f64, high: f64) -> f64 {
    let range = high - low;
    let beyond = if place < low { low - place } else { place - high };
    if beyond <= 0.0 || range <= 0.0 {
        return place.clamp(low, high.max(low));
    }
    let turns = (beyond / range).trunc();
    let rest = beyond - turns * range;
    if (turns % 2.0 == 0.0) == (place < low) { low + rest } else { high - rest }
}

/// Weights of four pixels around a place this far behind the second; coefficient -0.75.
fn cubic(x: f64) -> [f64; 4] {
    let a = -0.75;
    let far = |x: f64| ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a;
    let near = |x: f64| ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    [far(x + 1.0), near(x), near(1.0 - x), far(2.0 - x)]
}

impl GridSample {
    fn borders(&self, len: usize) -> [f64; 2] {
        let last = len as f64 - 1.0;
        if self.align_corners { [0.0, last] } else { [-0.5, last + 0.5] }
    }

    /// From -1 to 1 over the image to pixels.
    fn place<W: Wide>(&self, at: W, len: usize) -> f64 {
        let (two, count) = (W::of(2.0), W::of(len as f64));
        let place = match self.align_corners {
            true => (at + W::ONE) / two * (count - W::ONE),
            false => ((at + W::ONE) * count - W::ONE) / two,
        };
        let place = place.to_f64();
        let place = if self.mode == Mode::Nearest { place.round_ties_even() } else { place };
        let [low, high] = self.borders(len);
        match self.padding {
            _ if (low..=high).contains(&place) => place,
            Padding::Zeros => place,
            Padding::Border => place.clamp(0.0, len as f64 - 1.0),
            Padding::Reflection => reflect(place, low, high),
        }
    }

    fn pixel(&self, at: f64, len: usize) -> Option<usize> {
        let last = len as f64 - 1.0;
        match self.padding {
            _ if (0.0..=last).contains(&at) => Some(at as usize),
            Padding::Zeros => None,
            Padding::Border => Some(at.clamp(0.0, last) as usize),
            Padding::Reflection => {
                let [low, high] = self.borders(len);
                Some((reflect(at, low, high) as usize).min(len - 1))
            }
        }
    }

    fn taps<W: Wide>(&self, at: W, len: usize) -> Taps {
        let place = self.place(at, len);
        let floor = place.floor();
        let mut taps = Taps::default();
        let first = match self.mode {
            Mode::Nearest => {
                (taps.count, taps.weights[0]) = (1, 1.0);
                place
            }
            Mode::Linear => {
                taps.count = 2;
                taps.weights[..2].copy_from_slice(&[1.0 - (place - floor), place - floor]);
                floor
            }
            Mode::Cubic => {
                (taps.count, taps.weights) = (4, cubic(place - floor));
                floor - 1.0
            }
        };
        for step in 0..taps.count {
            taps.pixels[step] = self.pixel(first + step as f64, len);
        }
        taps
    }

    fn fill<T: Float, G: Float>(
        &self,
        values: &[T],
        grid: &[G],
        [channels, points]: [usize; 2],
        lens: [usize; SPATIAL_MAX],
        rank: usize,
        out: &mut [T],
    ) {
        let plane: usize = lens.iter().product();
        for (index, point) in grid.chunks_exact(rank).enumerate() {
            let (item, at) = (index / points, index % points);
            let single = Taps { pixels: [Some(0); 4], weights: [1.0; 4], count: 1 };
            let mut taps = [single; SPATIAL_MAX];
            // The grid names the innermost axis first.
            for (step, place) in point.iter().enumerate() {
                let axis = SPATIAL_MAX - 1 - step;
                taps[axis] = self.taps(place.wide(), lens[axis]);
            }
            for channel in 0..channels {
                let group = item * channels + channel;
                let values = &values[group * plane..][..plane];
                out[group * points + at] = T::narrow(mix(values, lens, &taps));
            }
        }
    }
}

fn mix<T: Float>(values: &[T], lens: [usize; SPATIAL_MAX], taps: &[Taps; SPATIAL_MAX]) -> T::Wide {
    let [deep, high, wide] = taps;
    let mut sum = T::Wide::ZERO;
    let pairs = |taps: &Taps| {
        let Taps { pixels, weights, count } = *taps;
        (0..count).filter_map(move |step| Some((pixels[step]?, weights[step])))
    };
    for (z, z_weight) in pairs(deep) {
        for (y, y_weight) in pairs(high) {
            for (x, x_weight) in pairs(wide) {
                let value = values[(z * lens[1] + y) * lens[2] + x].wide();
                sum += value * T::Wide::of(z_weight * y_weight * x_weight);
            }
        }
    }
    sum
}

impl Operator for GridSample {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (input, grid) = (inputs.need(0)?, inputs.need(1)?);
        let (shape, at) = (input.shape(), grid.shape());
        let wrong = || RunError::input(format_args!("{shape} at {at}"), "an image and its places");
        let ([batch, channels, spatial @ ..], [items, points @ .., rank]) = (&shape[..], &at[..])
        else {
            return Err(wrong());
        };
        let fits = batch == items
            && spatial.len() == *rank
            && points.len() == *rank
            && (1..=SPATIAL_MAX).contains(rank)
            && !spatial.contains(&0);
        if !fits {
            return Err(wrong());
        }
        let mut lens = [1; SPATIAL_MAX];
        lens[SPATIAL_MAX - rank..].copy_from_slice(spatial);
        let mut dims = Few::of(&[*batch, *channels])?;
        points.iter().try_for_each(|dim| dims.push(*dim))?;
        let counts = [*channels, points.iter().product()];
        with_values!([F32, F64, F16, Bf16] input.data(), values => {
            let out = context.shape_as(&mut outputs[0], &dims)?;
            if out.is_empty() {
                return Ok(());
            }
            with_values!([F32, F64, F16, Bf16] grid.data(), grid => {
                self.fill(values, grid, counts, lens, *rank, out);
                Ok(())
            }, else Err(wrong()))
        }, else Err(RunError::input(input.dtype(), "floating-point numbers")))
    }
}

fn grid_sample(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["align_corners", "mode", "padding_mode"])?;
    let (linear, cubic) =
        if view.opset() < 20 { ("bilinear", "bicubic") } else { ("linear", "cubic") };
    let mode = match view.string("mode")?.unwrap_or(linear) {
        "nearest" => Mode::Nearest,
        name if name == linear => Mode::Linear,
        name if name == cubic => Mode::Cubic,
        other => return Err(view.refuse(format_args!("mode `{other}` is not known"))),
    };
    let padding = match view.string("padding_mode")?.unwrap_or("zeros") {
        "zeros" => Padding::Zeros,
        "border" => Padding::Border,
        "reflection" => Padding::Reflection,
        other => return Err(view.refuse(format_args!("padding `{other}` is not known"))),
    };
    // Whether the place or each of its pixels is moved to the border: not all agree.
    if mode == Mode::Cubic && padding == Padding::Border {
        return Err(view.refuse("cubic samples beyond a border are not computed"));
    }
    let floats = [DType::F32, DType::F64, DType::F16, DType::Bf16];
    let dtype = view.dtype_among(0, &floats)?;
    view.dtype_among(1, &floats)?;
    let align_corners = view.int_or("align_corners", 0)? != 0;
    Ok(Built::one(GridSample { mode, padding, align_corners }, dtype))
}
