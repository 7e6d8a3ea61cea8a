//! Owns one layer's passes forward and backward.
//!
//! Refuses to know which values are kept. Bound: buffers for the tokens of a pass.

use truststram_model::kernels::{
    Activation, Isa, Known, NormKept, NormWeights, activate_from, gradient_rows,
    norm_gradient_rows, norm_rows_kept,
};

use super::attention::Heads;
use super::dropping::{ShareDropping, drop_out};
use super::sizes::{Encoder, LayerPlaces};
use super::spec::EncoderActivation;
use crate::net::{Dropping, Place, Products, Sizes, grow};

/// The texts of a pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texts<'a> {
    pub(super) encoder: &'a Encoder,
    pub(super) weights: &'a [f32],
    pub(super) offsets: &'a [u32],
    pub(super) dropping: Option<Dropping>,
}

/// Rows with mean 0 and variance 1, and one over the deviations.
#[derive(Debug, Default)]
pub(super) struct Normalised {
    pub(super) rows: Vec<f32>,
    pub(super) scales: Vec<f32>,
}

/// The inner values of a layer that the way back needs.
#[derive(Debug, Default)]
pub(super) struct Inner {
    qkv: Vec<f32>,
    shares: Vec<f32>,
    context: Vec<f32>,
    middle_norm: Normalised,
    middle: Vec<f32>,
    /// Before and after the function between the linear layers.
    up: Vec<f32>,
    active: Vec<f32>,
    norm: Normalised,
}

/// Buffers of the way back, the same for all layers.
#[derive(Debug, Default)]
pub(super) struct Outer {
    /// What the layer before gave goes in, what this one was given comes out.
    pub(super) gradients: Vec<f32>,
    dropped: Vec<f32>,
    wide: Vec<f32>,
    of_context: Vec<f32>,
    of_qkv: Vec<f32>,
    square: Vec<f32>,
}

impl Inner {
    fn grow(&mut self, heads: &Heads<'_>, encoder: &Encoder, tokens: usize) {
        let (hidden, wide) = (encoder.spec.hidden, encoder.spec.feed_forward);
        grow(&mut self.qkv, tokens * 3 * hidden);
        grow(&mut self.shares, heads.share_count());
        grow(&mut self.context, tokens * hidden);
        self.middle_norm.grow(tokens, hidden);
        grow(&mut self.middle, tokens * hidden);
        grow(&mut self.up, tokens * wide);
        grow(&mut self.active, tokens * wide);
        self.norm.grow(tokens, hidden);
    }

    /// How many numbers the buffers hold.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        let norms = [&self.middle_norm, &self.norm].map(|norm| norm.rows.len() + norm.scales.len());
        let more = [&self.qkv, &self.shares, &self.context, &self.middle, &self.up, &self.active];
        norms.iter().sum::<usize>() + more.map(Vec::len).iter().sum::<usize>()
    }
}

impl Outer {
    /// Makes room for the gradients of so many tokens.
    pub(super) fn grow(&mut self, encoder: &Encoder, tokens: usize) {
        let (hidden, wide) = (encoder.spec.hidden, encoder.spec.feed_forward);
        for values in [&mut self.gradients, &mut self.dropped, &mut self.of_context] {
            grow(values, tokens * hidden);
        }
        grow(&mut self.wide, tokens * wide);
        grow(&mut self.of_qkv, tokens * 3 * hidden);
    }
}

impl Normalised {
    pub(super) fn grow(&mut self, tokens: usize, hidden: usize) {
        grow(&mut self.rows, tokens * hidden);
        grow(&mut self.scales, tokens);
    }

    /// Normalises rows, or their sums with others.
    pub(super) fn forward(
        &mut self,
        isa: Isa,
        texts: &Texts<'_>,
        place: &Place,
        (x, residual): (&[f32], Option<&[f32]>),
        out: &mut [f32],
    ) {
        let (gamma, beta) = place.of(texts.weights);
        let weights = NormWeights { gamma, beta, epsilon: texts.encoder.spec.epsilon };
        let kept = NormKept { rows: &mut self.rows, scales: &mut self.scales };
        norm_rows_kept(isa, x, residual, weights, kept, out);
    }

    /// From gradients of the results those of what went in, in their place.
    pub(super) fn backward(
        &self,
        isa: Isa,
        texts: &Texts<'_>,
        place: &Place,
        gradients: &mut [f32],
        of_weights: &mut [f32],
    ) {
        let (of_gamma, of_beta) = place.split(of_weights, true);
        let (kept, gamma) = ((&self.rows[..], &self.scales[..]), place.of(texts.weights).0);
        norm_gradient_rows(isa, gradients, kept, gamma, of_gamma, of_beta);
    }
}

impl<'a> Texts<'a> {
    pub(super) fn tokens(&self) -> usize {
        self.offsets.last().map_or(0, |last| *last as usize)
    }

    /// Attention of layer `index`.
    fn heads(&self, isa: Isa, index: usize) -> Heads<'a> {
        let spec = &self.encoder.spec;
        let (heads, size) = (spec.heads, spec.hidden / spec.heads);
        let dropping = ShareDropping::of(spec, self.dropping, index);
        Heads { isa, offsets: self.offsets, heads, size, dropping }
    }

    pub(super) fn drop_out(&self, site: usize, values: &mut [f32]) {
        drop_out(&self.encoder.spec, self.dropping, site, self.offsets, values);
    }

    /// Gradients of what was left out or kept at a site.
    fn dropped<'b>(&self, site: usize, from: &'b mut [f32], room: &'b mut [f32]) -> &'b mut [f32] {
        if self.encoder.spec.dropout == 0.0 || self.dropping.is_none() {
            return from;
        }
        let room = &mut room[..from.len()];
        room.copy_from_slice(from);
        self.drop_out(site, room);
        room
    }

    fn sizes(&self, inputs: usize, outputs: usize) -> Sizes {
        Sizes { rows: self.tokens(), inputs, outputs }
    }

    /// Embeddings have the site 0, each layer the next two.
    fn sites(index: usize) -> [usize; 2] {
        [2 * index + 1, 2 * index + 2]
    }

    /// What layer `index` gives for `x`; `sums` is room for as much, `square` for shares.
    pub(super) fn layer(
        &self,
        products: &mut Products,
        index: usize,
        x: &[f32],
        inner: &mut Inner,
        (sums, square, out): (&mut [f32], &mut Vec<f32>, &mut [f32]),
    ) {
        let (tokens, isa, weights) = (self.tokens(), products.isa, self.weights);
        let (hidden, wide) = (self.encoder.spec.hidden, self.encoder.spec.feed_forward);
        let count = tokens * hidden;
        let heads = self.heads(isa, index);
        inner.grow(&heads, self.encoder, tokens);
        let LayerPlaces { qkv, output, output_norm, up, down, norm } = &self.encoder.layers[index];
        let [first_site, second_site] = Self::sites(index);
        let (x, sums, out) = (&x[..count], &mut sums[..count], &mut out[..count]);
        let none = Activation::None;

        let sizes = self.sizes(hidden, 3 * hidden);
        products.forward(sizes, x, qkv.of(weights), none, &mut inner.qkv);
        let scratch = &mut products.scratch;
        let shares = &mut inner.shares;
        heads.forward(&inner.qkv, shares, &mut inner.context, square, scratch);
        let sizes = self.sizes(hidden, hidden);
        products.forward(sizes, &inner.context, output.of(weights), none, sums);
        self.drop_out(first_site, sums);
        let middle = &mut inner.middle[..count];
        inner.middle_norm.forward(isa, self, output_norm, (sums, Some(x)), middle);

        let sizes = self.sizes(hidden, wide);
        products.forward(sizes, middle, up.of(weights), none, &mut inner.up);
        let active = &mut inner.active[..tokens * wide];
        let function = self.encoder.spec.activation.kernel();
        activate_from(isa, function, &inner.up[..tokens * wide], active);
        let sizes = self.sizes(wide, hidden);
        products.forward(sizes, active, down.of(weights), none, sums);
        self.drop_out(second_site, sums);
        inner.norm.forward(isa, self, norm, (sums, Some(middle)), out);
    }

    /// From the gradients of what layer `index` gave those of what it was given, in their place,
    /// and adds those of its weights.
    pub(super) fn layer_back(
        &self,
        products: &mut Products,
        index: usize,
        x: &[f32],
        inner: &Inner,
        outer: &mut Outer,
        of: &mut [f32],
    ) {
        let (tokens, isa, weights) = (self.tokens(), products.isa, self.weights);
        let (hidden, wide) = (self.encoder.spec.hidden, self.encoder.spec.feed_forward);
        let count = tokens * hidden;
        let LayerPlaces { qkv, output, output_norm, up, down, norm } = &self.encoder.layers[index];
        let [first_site, second_site] = Self::sites(index);
        let x = &x[..count];
        let gradients = &mut outer.gradients[..count];
        let of_wide = &mut outer.wide[..tokens * wide];
        let known = Known::After(&[]);

        inner.norm.backward(isa, self, norm, gradients, of);
        let sums = self.dropped(second_site, gradients, &mut outer.dropped);
        let (of_weight, of_bias) = down.split(of, true);
        gradient_rows(isa, Activation::None, known, sums, of_bias);
        let sizes = self.sizes(wide, hidden);
        let active = &inner.active[..tokens * wide];
        products.of_weight(sizes, sums, active, true, of_weight);
        products.of_input(sizes, sums, down.of(weights).0, false, of_wide);
        let activation = self.encoder.spec.activation;
        let slope = match activation {
            EncoderActivation::Tanh => Known::After(active),
            _ => Known::Before(&inner.up[..tokens * wide]),
        };
        let (of_weight, of_bias) = up.split(of, true);
        gradient_rows(isa, activation.kernel(), slope, of_wide, of_bias);
        let sizes = self.sizes(hidden, wide);
        products.of_weight(sizes, of_wide, &inner.middle[..count], true, of_weight);
        products.of_input(sizes, of_wide, up.of(weights).0, true, gradients);

        inner.middle_norm.backward(isa, self, output_norm, gradients, of);
        let sums = self.dropped(first_site, gradients, &mut outer.dropped);
        let (of_weight, of_bias) = output.split(of, true);
        gradient_rows(isa, Activation::None, known, sums, of_bias);
        let sizes = self.sizes(hidden, hidden);
        products.of_weight(sizes, sums, &inner.context[..count], true, of_weight);
        let of_context = &mut outer.of_context[..count];
        products.of_input(sizes, sums, output.of(weights).0, false, of_context);
        let of_qkv = &mut outer.of_qkv[..3 * count];
        let (square, scratch) = (&mut outer.square, &mut products.scratch);
        let kept = (&inner.qkv[..], &inner.shares[..]);
        self.heads(isa, index).backward(kept, of_context, of_qkv, square, scratch);
        let (of_weight, of_bias) = qkv.split(of, true);
        gradient_rows(isa, Activation::None, known, of_qkv, of_bias);
        let sizes = self.sizes(hidden, 3 * hidden);
        products.of_weight(sizes, of_qkv, x, true, of_weight);
        products.of_input(sizes, of_qkv, qkv.of(weights).0, true, gradients);
    }
}
