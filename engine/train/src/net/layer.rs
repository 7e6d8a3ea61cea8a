//! Owns the layers with their sizes and the places of their weights, and the first weights.
//!
//! Refuses to compute. Bound: sizes are checked before memory is taken.

use std::ops::Range;

use truststram_base::limits::{FEATURE_COUNT_MAX, MODEL_FILE_BYTES_MAX};
use truststram_model::kernels::Isa;

use super::spec::{
    LAYER_COUNT_MAX, LayerActivation, LayerSpec, NetSpec, Precision, SIZE_MAX, refused,
};
use crate::encoder::Encoder;
use crate::error::TrainError;
use crate::random::Random;

/// Values of the rows that are computed together.
const VALUES_AT_ONCE: usize = 1 << 21;

/// Where the weights of a layer lie.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// `[outputs, inputs]`; of a convolution `[channels, kernel, kernel, channels before]`.
    pub(crate) weight: Range<usize>,
    /// `[outputs]`, right after the weight.
    pub(crate) bias: Range<usize>,
}

impl Place {
    /// That of a layer whose weights begin at `start`.
    pub(crate) fn after(start: usize, inputs: usize, outputs: usize) -> Result<Self, TrainError> {
        let weight = start..start.saturating_add(inputs.saturating_mul(outputs));
        let bias = weight.end..weight.end.saturating_add(outputs);
        match bias.end as u64 > MODEL_FILE_BYTES_MAX / 4 {
            true => refused("net", "fewer weights than a model file can hold"),
            false => Ok(Self { weight, bias }),
        }
    }

    /// Weight and bias.
    pub(crate) fn of<'a>(&self, weights: &'a [f32]) -> (&'a [f32], &'a [f32]) {
        weights[self.weight.start..self.bias.end].split_at(self.weight.len())
    }

    /// The places for the gradients of weight and bias; without `adds` zeros for the bias.
    pub(crate) fn split<'a>(
        &self,
        gradients: &'a mut [f32],
        adds: bool,
    ) -> (&'a mut [f32], &'a mut [f32]) {
        let all = &mut gradients[self.weight.start..self.bias.end];
        let (weight, bias) = all.split_at_mut(self.weight.len());
        if !adds {
            bias.fill(0.0);
        }
        (weight, bias)
    }
}

/// A layer with its sizes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Layer {
    /// A text encoder, before all others.
    Encoder(Box<Encoder>),
    /// Fully connected.
    Dense { inputs: usize, outputs: usize, activation: LayerActivation, place: Place },
    /// A convolution over an image, channels last.
    Conv {
        image: [usize; 3],
        channels: usize,
        side: usize,
        padding: usize,
        activation: LayerActivation,
        place: Place,
    },
    /// The largest of each square.
    MaxPool { image: [usize; 3], size: usize },
    /// Values left out.
    Dropout { count: usize, rate: f32 },
}

impl Layer {
    /// The encoder, if it is one.
    pub(crate) fn encoder(&self) -> Option<&Encoder> {
        match self {
            Self::Encoder(encoder) => Some(encoder),
            _ => None,
        }
    }

    /// Values of a row that comes out.
    pub(crate) fn outputs(&self) -> usize {
        match self {
            Self::Encoder(encoder) => encoder.spec.hidden,
            Self::Dense { outputs, .. } => *outputs,
            Self::Dropout { count, .. } => *count,
            Self::Conv { .. } | Self::MaxPool { .. } => self.image().iter().product(),
        }
    }

    /// The image that comes out; a row of dense values is one of one pixel.
    pub(crate) fn image(&self) -> [usize; 3] {
        match *self {
            Self::Encoder(_) => [1, 1, self.outputs()],
            Self::Dense { outputs, .. } => [1, 1, outputs],
            Self::Dropout { count, .. } => [1, 1, count],
            Self::Conv { image: [height, width, _], channels, side, padding, .. } => {
                [height + 2 * padding + 1 - side, width + 2 * padding + 1 - side, channels]
            }
            Self::MaxPool { image: [height, width, channels], size } => {
                [height / size, width / size, channels]
            }
        }
    }
}

/// A network whose sizes are known.
#[derive(Clone, Debug, PartialEq)]
pub struct Net {
    pub(crate) layers: Vec<Layer>,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) image: Option<[usize; 3]>,
    pub(crate) precision: Precision,
    weight_count: usize,
}

impl Net {
    /// The network from `inputs` features to `outputs` numbers.
    ///
    /// # Errors
    /// [`TrainError::Option`] names what does not fit.
    pub fn new(spec: &NetSpec, inputs: usize, outputs: usize) -> Result<Self, TrainError> {
        if spec.layers.len() > LAYER_COUNT_MAX {
            return refused("net.layer", "at most 64 layers");
        }
        let volume = |image: [usize; 3]| {
            image.into_iter().try_fold(1usize, |volume, side| volume.checked_mul(side))
        };
        if !(1..=FEATURE_COUNT_MAX).contains(&inputs) || !(1..=SIZE_MAX).contains(&outputs) {
            return refused("net", "1 to 65536 features");
        }
        if spec.image.is_some_and(|image| volume(image) != Some(inputs)) {
            return refused(
                "net.image",
                "height, width and channels that multiply to the features",
            );
        }
        let (image, precision) = (spec.image, spec.precision);
        precision.check(Isa::detect())?;
        let layers = Vec::new();
        let mut net = Self { layers, inputs, outputs, image, precision, weight_count: 0 };
        let mut image = spec.image;
        let mut size = inputs;
        for layer in &spec.layers {
            let added = net.layer(layer, image, size)?;
            if !(1..=SIZE_MAX).contains(&added.outputs()) {
                return refused("net.layer", "layers that give 1 to 2^20 values");
            }
            size = added.outputs();
            image = match &added {
                Layer::Encoder(_) | Layer::Dense { .. } => None,
                Layer::Dropout { .. } => image,
                _ => Some(added.image()),
            };
            net.layers.push(added);
        }
        let last = net.dense(size, outputs, LayerActivation::None)?;
        net.layers.push(last);
        Ok(net)
    }

    fn layer(
        &mut self,
        spec: &LayerSpec,
        image: Option<[usize; 3]>,
        size: usize,
    ) -> Result<Layer, TrainError> {
        match *spec {
            LayerSpec::Encoder(ref spec) => {
                if !self.layers.is_empty() || image.is_some() || spec.length_max != size {
                    let expected = "first, in front of `length_max` tokens of each row";
                    return refused("net.layer.encoder", expected);
                }
                let encoder = Encoder::new(spec)?;
                self.weight_count = encoder.weight_count;
                Ok(Layer::Encoder(Box::new(encoder)))
            }
            LayerSpec::Dense { outputs, activation } => {
                if !(1..=FEATURE_COUNT_MAX).contains(&outputs) {
                    return refused("net.layer.outputs", "1 to 65536 neurons");
                }
                self.dense(size, outputs, activation)
            }
            LayerSpec::Conv { channels, kernel: side, padding, activation } => {
                let Some(image) = image else {
                    return refused("net.layer", "an image before a convolution; give `net.image`");
                };
                let least = image[0].min(image[1]).saturating_add(2 * padding.min(side));
                if !(1..=least.min(31)).contains(&side) || padding >= side {
                    return refused("net.layer.kernel", "1 to 31, above the padding, in the image");
                }
                if !(1..=4096).contains(&channels) {
                    return refused("net.layer.channels", "1 to 4096");
                }
                let place = self.place(side * side * image[2], channels)?;
                Ok(Layer::Conv { image, channels, side, padding, activation, place })
            }
            LayerSpec::MaxPool { size } => {
                let Some(image) = image else {
                    return refused("net.layer", "an image before a pool; give `net.image`");
                };
                if !(1..=image[0].min(image[1]).min(15)).contains(&size) {
                    return refused("net.layer.size", "1 to 15 and within the image");
                }
                Ok(Layer::MaxPool { image, size })
            }
            LayerSpec::Dropout { rate } => match (0.0..1.0).contains(&rate) {
                true => Ok(Layer::Dropout { count: size, rate }),
                false => refused("net.layer.rate", "from 0 to below 1"),
            },
        }
    }

    fn dense(
        &mut self,
        inputs: usize,
        outputs: usize,
        activation: LayerActivation,
    ) -> Result<Layer, TrainError> {
        Ok(Layer::Dense { inputs, outputs, activation, place: self.place(inputs, outputs)? })
    }

    fn place(&mut self, inputs: usize, outputs: usize) -> Result<Place, TrainError> {
        let place = Place::after(self.weight_count, inputs, outputs)?;
        self.weight_count = place.bias.end;
        Ok(place)
    }

    /// How many weights and biases there are.
    pub fn weight_count(&self) -> usize {
        self.weight_count
    }

    /// Rows whose values stay near while they go forward and back; more are done part by part.
    pub(crate) fn rows_at_once(&self) -> usize {
        let values = |layer: &Layer| match layer {
            Layer::Encoder(encoder) => {
                encoder.values_per_token().saturating_mul(encoder.spec.length_max)
            }
            _ => layer.outputs(),
        };
        let largest = self.layers.iter().map(Layer::outputs).max().unwrap_or(0);
        let count = self.layers.iter().map(values).fold(2 * largest, usize::saturating_add);
        (VALUES_AT_ONCE / count.max(1)).next_multiple_of(8).max(8)
    }

    /// Random weights after He et al. ("Delving deep into rectifiers", 2015), zero biases.
    pub(crate) fn first_weights(&self, random: &mut Random) -> Vec<f32> {
        let mut weights = vec![0.0; self.weight_count];
        for layer in &self.layers {
            let (place, outputs) = match layer {
                Layer::Encoder(encoder) => {
                    encoder.first_weights(random, &mut weights);
                    continue;
                }
                Layer::Dense { place, outputs, .. } => (place, outputs),
                Layer::Conv { place, channels, .. } => (place, channels),
                Layer::MaxPool { .. } | Layer::Dropout { .. } => continue,
            };
            let inputs = place.weight.len() / outputs;
            let deviation = (2.0 / inputs as f64).sqrt();
            for weight in &mut weights[place.weight.clone()] {
                *weight = (random.normal() * deviation) as f32;
            }
        }
        weights
    }
}
