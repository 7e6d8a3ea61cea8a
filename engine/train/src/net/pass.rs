//! Owns the passes forward and backward of one worker, and their buffers.
//!
//! Refuses to know losses and optimisers. Bound: buffers for the rows of the largest step so far;
//! a step of no more rows allocates nothing.

use truststram_model::kernels::{
    Activation, Isa, Known, Squares, gradient_rows, max_pool, max_pool_gradient,
};

use super::conv::{self, Shape};
use super::layer::{Layer, Net};
use super::product::{Products, Sizes};
use super::spec::LayerActivation;
use crate::encoder::EncoderPass;
use crate::random::Random;

/// What a pass keeps from step to step.
#[derive(Debug)]
pub struct Pass {
    isa: Isa,
    products: Products,
    pub(crate) encoder: EncoderPass,
    /// What each layer gave, and of some layers what the way back needs.
    outputs: Vec<Vec<f32>>,
    chosen: Vec<Vec<f32>>,
    pub(super) kept: Vec<Vec<f32>>,
    /// Gradients of what a layer gave, and of what it was given.
    above: Vec<f32>,
    below: Vec<f32>,
    patches: Vec<f32>,
    /// Gradients of all weights: the sum over the rows of the last step.
    pub(crate) gradients: Vec<f32>,
}

/// Which values are left out in a step; none when a network is asked and not trained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropping {
    /// Of the step.
    pub(crate) seed: u64,
    /// The number of the first row within the step, so that workers drop what one would.
    pub(crate) first_row: usize,
}

fn kernel(activation: LayerActivation) -> Activation {
    match activation {
        LayerActivation::None => Activation::None,
        LayerActivation::Relu => Activation::Relu,
        LayerActivation::Tanh => Activation::Tanh,
    }
}

pub(crate) fn grow<T: Clone + Default>(values: &mut Vec<T>, count: usize) {
    if values.len() < count {
        values.resize(count, T::default());
    }
}

impl Pass {
    /// Without buffers yet.
    pub fn new(isa: Isa, net: &Net) -> Self {
        let count = net.layers.len();
        Self {
            isa,
            products: Products::new(isa, net.precision),
            encoder: EncoderPass::default(),
            outputs: vec![Vec::new(); count],
            chosen: vec![Vec::new(); count],
            kept: vec![Vec::new(); count],
            above: Vec::new(),
            below: Vec::new(),
            patches: Vec::new(),
            gradients: vec![0.0; net.weight_count()],
        }
    }

    /// Computes `rows` rows of `input`; returns what the last layer gave and the place for its
    /// gradient, which [`Self::backward`] goes on from.
    pub(crate) fn forward(
        &mut self,
        net: &Net,
        weights: &[f32],
        input: &[f32],
        rows: usize,
        dropping: Option<Dropping>,
    ) -> (&mut [f32], &mut [f32]) {
        for (index, layer) in net.layers.iter().enumerate() {
            let (before, rest) = self.outputs.split_at_mut(index);
            let input = before.last().map_or(input, Vec::as_slice);
            let count = rows * layer.outputs();
            grow(&mut rest[0], count);
            let out = &mut rest[0][..count];
            match layer {
                Layer::Encoder(encoder) => {
                    let input = &input[..rows * encoder.spec.length_max];
                    let products = &mut self.products;
                    self.encoder.forward(products, encoder, weights, input, dropping, out);
                }
                Layer::Dense { inputs, outputs, activation, place } => {
                    let sizes = Sizes { rows, inputs: *inputs, outputs: *outputs };
                    let weights = place.of(weights);
                    let input = &input[..rows * inputs];
                    self.products.forward(sizes, input, weights, kernel(*activation), out);
                }
                Layer::Conv { image, activation, place, .. } => {
                    let images = &input[..rows * image.iter().product::<usize>()];
                    let (shape, activation) = (shape(layer), kernel(*activation));
                    let (products, patches) = (&mut self.products, &mut self.patches);
                    let weights = place.of(weights);
                    conv::forward(products, shape, weights, activation, images, patches, out);
                }
                Layer::MaxPool { image, size } => {
                    let images = &input[..rows * image.iter().product::<usize>()];
                    grow(&mut self.chosen[index], count);
                    let chosen = &mut self.chosen[index][..count];
                    let squares = Squares { image: *image, size: *size };
                    max_pool(self.isa, squares, images, out, chosen);
                }
                Layer::Dropout { count: size, rate } => {
                    out.copy_from_slice(&input[..count]);
                    let Some(dropping) = dropping else { continue };
                    grow(&mut self.kept[index], count);
                    let kept = &mut self.kept[index][..count];
                    drop_out(kept, *size, *rate, dropping, index);
                    out.iter_mut().zip(kept).for_each(|(out, kept)| *out *= *kept);
                }
            }
        }
        let count = rows * net.outputs;
        grow(&mut self.above, count);
        let last = self.outputs.last_mut().map_or(&mut [][..], |last| &mut last[..count]);
        (last, &mut self.above[..count])
    }

    /// What the encoder in front gives for rows of tokens; only its weights are needed.
    pub(crate) fn encoded(
        &mut self,
        net: &Net,
        weights: &[f32],
        input: &[f32],
        rows: usize,
    ) -> &[f32] {
        let Some(encoder) = net.layers.first().and_then(Layer::encoder) else { return &[] };
        let count = rows * encoder.spec.hidden;
        grow(&mut self.outputs[0], count);
        let out = &mut self.outputs[0][..count];
        self.encoder.forward(&mut self.products, encoder, weights, input, None, out);
        &self.outputs[0][..count]
    }

    /// From the gradients of what the last layer gave those of all weights; with `adds` they are
    /// added to those that are there.
    pub(crate) fn backward(
        &mut self,
        net: &Net,
        weights: &[f32],
        input: &[f32],
        rows: usize,
        adds: bool,
    ) {
        for (index, layer) in net.layers.iter().enumerate().rev() {
            let input = match index {
                0 => input,
                _ => &self.outputs[index - 1],
            };
            let above = &mut self.above[..rows * layer.outputs()];
            let output = &self.outputs[index][..above.len()];
            let count = match index {
                0 => 0,
                _ => rows * net.layers[index - 1].outputs(),
            };
            grow(&mut self.below, count);
            // Nobody asks for the gradients of the features.
            let below = (index > 0).then_some(&mut self.below[..count]);
            match layer {
                Layer::Encoder(encoder) => {
                    let of = &mut self.gradients[..encoder.weight_count];
                    if !adds {
                        of.fill(0.0);
                    }
                    self.encoder.backward(&mut self.products, encoder, weights, above, of);
                }
                Layer::Dense { inputs, outputs, activation, place } => {
                    let (of_weight, of_bias) = place.split(&mut self.gradients, adds);
                    let known = Known::After(output);
                    gradient_rows(self.isa, kernel(*activation), known, above, of_bias);
                    let sizes = Sizes { rows, inputs: *inputs, outputs: *outputs };
                    let (products, weight) = (&mut self.products, place.of(weights).0);
                    products.of_weight(sizes, above, &input[..rows * inputs], adds, of_weight);
                    if let Some(below) = below {
                        products.of_input(sizes, above, weight, false, below);
                    }
                }
                Layer::Conv { image, activation, place, .. } => {
                    let (of_weight, of_bias) = place.split(&mut self.gradients, adds);
                    let known = Known::After(output);
                    gradient_rows(self.isa, kernel(*activation), known, above, of_bias);
                    let images = &input[..rows * image.iter().product::<usize>()];
                    let back = conv::Back { gradients: above, images, weight: place.of(weights).0 };
                    let (products, of) = (&mut self.products, (adds, of_weight));
                    conv::backward(products, shape(layer), back, of, below, &mut self.patches);
                }
                Layer::MaxPool { image, size } => {
                    let chosen = &self.chosen[index][..above.len()];
                    if let Some(below) = below {
                        let squares = Squares { image: *image, size: *size };
                        max_pool_gradient(self.isa, squares, above, chosen, below);
                    }
                }
                Layer::Dropout { .. } => {
                    let pairs = above.iter().zip(&self.kept[index]);
                    let below = below.into_iter().flatten().zip(pairs);
                    below.for_each(|(below, (above, kept))| *below = above * kept);
                }
            }
            std::mem::swap(&mut self.above, &mut self.below);
        }
    }
}

fn shape(layer: &Layer) -> Shape {
    match *layer {
        Layer::Conv { image, side, padding, .. } => {
            Shape { image, out: layer.image(), side, padding }
        }
        _ => Shape { image: [1; 3], out: [1; 3], side: 1, padding: 0 },
    }
}

/// Zero for what is left out, and for the rest the factor that keeps the mean.
fn drop_out(kept: &mut [f32], size: usize, rate: f32, dropping: Dropping, layer: usize) {
    let factor = 1.0 / (1.0 - rate);
    for (row, kept) in kept.chunks_exact_mut(size).enumerate() {
        let place = [layer as u64, (dropping.first_row + row) as u64];
        let mut random = Random::of(dropping.seed, &place);
        for kept in kept {
            *kept = if random.unit() < f64::from(rate) { 0.0 } else { factor };
        }
    }
}
