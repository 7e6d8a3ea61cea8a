//! Owns the passes forward and backward of an encoder: embeddings, layers, pooling.
//!
//! Refuses to know what stands behind it. Bound: as the module says; tokens beyond the vocabulary
//! count as the last of it.

use super::layer::{Inner, Normalised, Outer, Texts};
use super::sizes::Encoder;
use super::spec::EncoderPooling;
use crate::net::{Dropping, Products, grow};

/// What a pass keeps from step to step.
#[derive(Debug, Default)]
pub(crate) struct EncoderPass {
    offsets: Vec<u32>,
    tokens: Vec<u32>,
    positions: Vec<u32>,
    dropping: Option<Dropping>,
    norm: Normalised,
    /// What goes into each layer, and what comes out of the last.
    between: Vec<Vec<f32>>,
    /// Of each layer; with `recompute` of the last that was computed.
    inner: Vec<Inner>,
    outer: Outer,
    sums: Vec<f32>,
    square: Vec<f32>,
}

impl EncoderPass {
    /// How many numbers its buffers hold.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        let inner: usize = self.inner.iter().map(Inner::count).sum();
        inner + self.between.iter().map(Vec::len).sum::<usize>() + self.square.len()
    }

    /// Reads the tokens of rows, up to the first number below 0.
    fn read(&mut self, encoder: &Encoder, rows: &[f32]) {
        let spec = &encoder.spec;
        self.offsets.clear();
        self.offsets.push(0);
        self.tokens.clear();
        self.positions.clear();
        for row in rows.chunks_exact(spec.length_max) {
            let length = row.iter().position(|token| *token < 0.0).unwrap_or(row.len()).max(1);
            let mut counted = 0;
            for token in &row[..length] {
                let token = (*token as u32).min(spec.vocabulary as u32 - 1);
                self.tokens.push(token);
                self.positions.push(match spec.padding == Some(token) {
                    true => spec.position_first as u32 - 1,
                    false => {
                        counted += 1;
                        spec.position_first as u32 + counted - 1
                    }
                });
            }
            self.offsets.push(self.tokens.len() as u32);
        }
    }

    /// One row of `hidden` numbers for each row of tokens.
    pub(crate) fn forward(
        &mut self,
        products: &mut Products,
        encoder: &Encoder,
        weights: &[f32],
        rows: &[f32],
        dropping: Option<Dropping>,
        out: &mut [f32],
    ) {
        self.read(encoder, rows);
        self.dropping = dropping;
        let spec = &encoder.spec;
        let texts = Texts { encoder, weights, offsets: &self.offsets, dropping };
        let (tokens, layers) = (texts.tokens(), spec.layers);
        self.between.resize_with(layers + 1, Vec::new);
        self.inner.resize_with(if spec.recompute { 1 } else { layers }, Inner::default);
        grow(&mut self.sums, tokens * spec.hidden);
        for values in &mut self.between {
            grow(values, tokens * spec.hidden);
        }
        let sums = &mut self.sums[..tokens * spec.hidden];
        embed(encoder, weights, (&self.tokens, &self.positions), sums);
        self.norm.grow(tokens, spec.hidden);
        let first = &mut self.between[0][..tokens * spec.hidden];
        self.norm.forward(products.isa, &texts, &encoder.norm, (sums, None), first);
        texts.drop_out(0, first);
        for index in 0..layers {
            let (before, after) = self.between.split_at_mut(index + 1);
            let kept = index.min(self.inner.len() - 1);
            let to = (&mut self.sums[..], &mut self.square, &mut after[0][..]);
            texts.layer(products, index, &before[index], &mut self.inner[kept], to);
        }
        let last = &self.between[layers];
        for (pair, out) in self.offsets.windows(2).zip(out.chunks_exact_mut(spec.hidden)) {
            let text = &last[pair[0] as usize * spec.hidden..pair[1] as usize * spec.hidden];
            out.copy_from_slice(&text[..spec.hidden]);
            if spec.pooling == EncoderPooling::Mean {
                for row in text.chunks_exact(spec.hidden).skip(1) {
                    out.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
                }
                let count = (pair[1] - pair[0]) as f32;
                out.iter_mut().for_each(|sum| *sum /= count);
            }
        }
    }

    /// From the gradients of what [`Self::forward`] gave those of the encoder's weights, which are
    /// added to `of`.
    pub(crate) fn backward(
        &mut self,
        products: &mut Products,
        encoder: &Encoder,
        weights: &[f32],
        above: &[f32],
        of: &mut [f32],
    ) {
        let spec = &encoder.spec;
        let texts = Texts { encoder, weights, offsets: &self.offsets, dropping: self.dropping };
        self.outer.grow(encoder, texts.tokens());
        let gradients = &mut self.outer.gradients;
        for (pair, above) in self.offsets.windows(2).zip(above.chunks_exact(spec.hidden)) {
            let text = &mut gradients[pair[0] as usize * spec.hidden..];
            let text = &mut text[..(pair[1] - pair[0]) as usize * spec.hidden];
            match spec.pooling {
                EncoderPooling::First => {
                    text.fill(0.0);
                    text[..spec.hidden].copy_from_slice(above);
                }
                EncoderPooling::Mean => {
                    let share = 1.0 / (pair[1] - pair[0]) as f32;
                    for row in text.chunks_exact_mut(spec.hidden) {
                        row.iter_mut().zip(above).for_each(|(to, above)| *to = above * share);
                    }
                }
            }
        }
        for index in (0..spec.layers).rev() {
            let kept = index.min(self.inner.len() - 1);
            if spec.recompute && index + 1 < spec.layers {
                let (before, after) = self.between.split_at_mut(index + 1);
                let to = (&mut self.sums[..], &mut self.square, &mut after[0][..]);
                texts.layer(products, index, &before[index], &mut self.inner[kept], to);
            }
            let (x, inner) = (&self.between[index], &self.inner[kept]);
            texts.layer_back(products, index, x, inner, &mut self.outer, of);
        }
        let gradients = &mut self.outer.gradients[..texts.tokens() * spec.hidden];
        texts.drop_out(0, gradients);
        self.norm.backward(products.isa, &texts, &encoder.norm, gradients, of);
        embed_back(encoder, (&self.tokens, &self.positions), gradients, of);
    }
}

/// The sums of the rows of words, positions and the first type.
fn embed(
    encoder: &Encoder,
    weights: &[f32],
    (tokens, positions): (&[u32], &[u32]),
    to: &mut [f32],
) {
    let hidden = encoder.spec.hidden;
    let row = |start: usize, index: u32| &weights[start + index as usize * hidden..][..hidden];
    for ((token, position), to) in tokens.iter().zip(positions).zip(to.chunks_exact_mut(hidden)) {
        let pairs = row(encoder.words.start, *token).iter();
        let pairs = pairs.zip(row(encoder.positions.start, *position));
        to.iter_mut().zip(pairs).for_each(|(to, (word, position))| *to = word + position);
        if !encoder.types.is_empty() {
            to.iter_mut().zip(row(encoder.types.start, 0)).for_each(|(to, kind)| *to += kind);
        }
    }
}

/// Adds gradients of tokens to the rows of their words, their positions and the first type.
fn embed_back(
    encoder: &Encoder,
    (tokens, positions): (&[u32], &[u32]),
    gradients: &[f32],
    of: &mut [f32],
) {
    let hidden = encoder.spec.hidden;
    let mut add = |start: usize, gradients: &[f32]| {
        let row = &mut of[start..start + hidden];
        row.iter_mut().zip(gradients).for_each(|(sum, gradient)| *sum += gradient);
    };
    for ((token, position), gradients) in
        tokens.iter().zip(positions).zip(gradients.chunks_exact(hidden))
    {
        add(encoder.words.start + *token as usize * hidden, gradients);
        add(encoder.positions.start + *position as usize * hidden, gradients);
        if !encoder.types.is_empty() {
            add(encoder.types.start, gradients);
        }
    }
}
