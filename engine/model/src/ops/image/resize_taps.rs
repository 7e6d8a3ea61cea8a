//! Owns where the pixels of a resized axis come from: places of the input and their weights.
//!
//! Refuses to know tensors. Bound: a table of all weights of one axis. Formulas: the definition of
//! Resize in ONNX; Keys, Cubic convolution interpolation for digital image processing, equation 4.

/// How a place of the result becomes one of the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Coordinates {
    /// Pixels are squares, and the edges of both images lie on each other.
    HalfPixel,
    /// The same around the middle of what is kept.
    HalfPixelSymmetric,
    /// The same, and a single pixel is the first.
    PytorchHalfPixel,
    /// The same without moving back by half a pixel.
    TfHalfPixelForNn,
    /// The middles of the corner pixels lie on each other.
    AlignCorners,
    /// The first pixels lie on each other.
    Asymmetric,
    /// The corners of a region of the input.
    CropAndResize,
}

/// Which pixel is the nearest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nearest {
    /// The lower one of two.
    PreferFloor,
    /// The upper one of two.
    PreferCeil,
    /// The one below.
    Floor,
    /// The one above.
    Ceil,
}

/// How pixels are mixed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Filter {
    /// Two.
    Linear,
    /// Four, with this coefficient.
    Cubic(f64),
}

/// One axis of the input and of the result.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scaled {
    /// Pixels of the input.
    pub input: usize,
    /// Pixels of the result.
    pub output: usize,
    /// Pixels of the result for one of the input.
    pub scale: f64,
    /// The part of the input that is taken.
    pub region: [f64; 2],
}

impl Scaled {
    /// Whether the result is the input.
    pub fn is_identity(&self) -> bool {
        self.input == self.output && self.scale == 1.0 && self.region == [0.0, 1.0]
    }

    /// The place of the input for a pixel of the result; none outside of a region's image.
    pub fn place(&self, output: usize, coordinates: Coordinates) -> Option<f64> {
        let (x, scale, last) = (output as f64, self.scale, self.input as f64 - 1.0);
        let half_pixel = (x + 0.5) / scale - 0.5;
        // May be a fraction, where it follows from a scale.
        let width = scale * self.input as f64;
        Some(match coordinates {
            Coordinates::HalfPixel => half_pixel,
            Coordinates::PytorchHalfPixel => {
                if self.output > 1 {
                    half_pixel
                } else {
                    0.0
                }
            }
            Coordinates::TfHalfPixelForNn => (x + 0.5) / scale,
            Coordinates::Asymmetric => x / scale,
            Coordinates::HalfPixelSymmetric => {
                let kept = self.output as f64 / width;
                self.input as f64 / 2.0 * (1.0 - kept) + half_pixel
            }
            Coordinates::AlignCorners => {
                if width == 1.0 {
                    0.0
                } else {
                    x * last / (width - 1.0)
                }
            }
            Coordinates::CropAndResize => {
                let [start, end] = self.region;
                let place = match self.output {
                    1 => 0.5 * (start + end) * last,
                    _ => start * last + x * (end - start) * last / (self.output as f64 - 1.0),
                };
                return (0.0..=last).contains(&place).then_some(place);
            }
        })
    }

    /// The nearest pixel of the input.
    pub fn nearest(&self, place: f64, nearest: Nearest) -> usize {
        let (below, above) = (place.floor(), place.ceil());
        let pixel = match nearest {
            Nearest::Floor => below,
            Nearest::Ceil => above,
            Nearest::PreferFloor => {
                if place - below <= 0.5 {
                    below
                } else {
                    above
                }
            }
            Nearest::PreferCeil => {
                if place - below < 0.5 {
                    below
                } else {
                    above
                }
            }
        };
        self.clamp(pixel)
    }

    fn clamp(&self, pixel: f64) -> usize {
        // No number and everything below the first become the first.
        (pixel as usize).min(self.input.saturating_sub(1))
    }
}

impl Filter {
    /// The weight of a pixel at this distance.
    fn weight(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Self::Linear => (1.0 - x).max(0.0),
            Self::Cubic(a) if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            Self::Cubic(a) if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
            Self::Cubic(_) => 0.0,
        }
    }

    /// How far the filter is stretched: for a smaller image over more pixels, if wanted.
    fn stretch(antialias: bool, scale: f64) -> f64 {
        if antialias { scale.min(1.0) } else { 1.0 }
    }

    /// How many pixels on each side the filter mixes.
    pub fn reach(self, antialias: bool, scale: f64) -> usize {
        let reach = if self == Self::Linear { 1.0 } else { 2.0 };
        (reach / Self::stretch(antialias, scale)).ceil() as usize
    }

    /// Writes the pixels around a place and their weights, [`Filter::reach`] on each side; beyond
    /// the edge lie copies of its pixel, or nothing if those are excluded.
    pub fn taps(
        self,
        scaled: &Scaled,
        place: f64,
        [antialias, excludes]: [bool; 2],
        pixels: &mut [usize],
        weights: &mut [f64],
    ) {
        let stretch = Self::stretch(antialias, scaled.scale);
        let first = place.floor() + 1.0 - (pixels.len() / 2) as f64;
        let mut sum = 0.0;
        for (step, (pixel, weight)) in pixels.iter_mut().zip(weights.iter_mut()).enumerate() {
            let at = first + step as f64;
            *pixel = scaled.clamp(at);
            *weight = self.weight((at - place) * stretch);
            if excludes && (at < 0.0 || at >= scaled.input as f64) {
                *weight = 0.0;
            }
            sum += *weight;
        }
        if (antialias || excludes) && sum != 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= sum);
        }
    }
}
