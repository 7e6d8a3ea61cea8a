//! Owns where the weights of an encoder lie, and the first weights.
//!
//! Refuses to compute. Bound: sizes are checked before memory is taken.

use super::spec::EncoderSpec;
use crate::error::TrainError;
use crate::net::Place;
use crate::random::Random;

/// Deviation of the first weights, as BERT has it.
const DEVIATION: f64 = 0.02;

/// The places of one layer's weights. Of a normalisation gamma is the weight and beta the bias.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LayerPlaces {
    /// `[3 · hidden, hidden]`: queries, keys, values.
    pub(crate) qkv: Place,
    pub(crate) output: Place,
    pub(crate) output_norm: Place,
    pub(crate) up: Place,
    pub(crate) down: Place,
    pub(crate) norm: Place,
}

/// An encoder whose sizes are known; its weights are the first of the network.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Encoder {
    pub(crate) spec: EncoderSpec,
    /// The table of words `[vocabulary, hidden]` as weight; the bias is a row of the next table.
    pub(crate) words: std::ops::Range<usize>,
    pub(crate) positions: std::ops::Range<usize>,
    /// Empty without types.
    pub(crate) types: std::ops::Range<usize>,
    pub(crate) norm: Place,
    pub(crate) layers: Vec<LayerPlaces>,
    pub(crate) weight_count: usize,
}

impl Encoder {
    /// The sizes and places of a description.
    ///
    /// # Errors
    /// [`TrainError::Option`] names what does not fit.
    pub(crate) fn new(spec: &EncoderSpec) -> Result<Self, TrainError> {
        spec.check()?;
        let (hidden, wide) = (spec.hidden, spec.feed_forward);
        // All tables as one layer without outputs of its own, which checks their size.
        let rows = spec.vocabulary + spec.positions() + spec.types;
        Place::after(0, rows, hidden)?;
        let words = 0..spec.vocabulary * hidden;
        let positions = words.end..words.end + spec.positions() * hidden;
        let types = positions.end..positions.end + spec.types * hidden;
        let norm = Place::after(types.end, 1, hidden)?;
        let mut end = norm.bias.end;
        let mut place = |inputs, outputs| -> Result<Place, TrainError> {
            let place = Place::after(end, inputs, outputs)?;
            end = place.bias.end;
            Ok(place)
        };
        let mut layers = Vec::with_capacity(spec.layers);
        for _ in 0..spec.layers {
            layers.push(LayerPlaces {
                qkv: place(hidden, 3 * hidden)?,
                output: place(hidden, hidden)?,
                output_norm: place(1, hidden)?,
                up: place(hidden, wide)?,
                down: place(wide, hidden)?,
                norm: place(1, hidden)?,
            });
        }
        let weight_count = end;
        let spec = spec.clone();
        Ok(Self { spec, words, positions, types, norm, layers, weight_count })
    }

    /// All normalisations.
    fn norms(&self) -> impl Iterator<Item = &Place> {
        let inner = self.layers.iter().flat_map(|layer| [&layer.output_norm, &layer.norm]);
        std::iter::once(&self.norm).chain(inner)
    }

    /// Writes random weights, and normalisations that change nothing.
    pub(crate) fn first_weights(&self, random: &mut Random, weights: &mut [f32]) {
        let mut fill = |weights: &mut [f32]| {
            weights.iter_mut().for_each(|weight| *weight = (random.normal() * DEVIATION) as f32);
        };
        fill(&mut weights[..self.types.end]);
        for layer in &self.layers {
            for place in [&layer.qkv, &layer.output, &layer.up, &layer.down] {
                fill(&mut weights[place.weight.clone()]);
            }
        }
        for norm in self.norms() {
            weights[norm.weight.clone()].fill(1.0);
        }
    }

    /// Values of a token that a pass keeps of all layers, for the size of its parts.
    pub(crate) fn values_per_token(&self) -> usize {
        let EncoderSpec { hidden, feed_forward, layers, heads, length_max, .. } = self.spec;
        let inner = 7 * hidden + 2 * feed_forward + heads * length_max;
        let kept = if self.spec.recompute { 1 } else { layers };
        (inner * kept).saturating_add(hidden * (layers + 12) + feed_forward)
    }
}
