//! Encoders computed plainly in f64, one number after the other.
//!
//! Owns the values that passes are held against. Refuses to know gradients. Bound: small encoders.

use super::*;

/// See the module.
pub(super) struct Plain<'a> {
    pub(super) encoder: &'a Encoder,
    pub(super) weights: &'a [f64],
    /// Factors of what is left out at each site, for all tokens.
    pub(super) kept: &'a [Vec<f64>],
    /// Which shares of attention are left out.
    pub(super) dropping: Option<Dropping>,
}

impl Plain<'_> {
    fn linear(&self, place: &Place, x: &[f64]) -> Vec<f64> {
        let rows = self.weights[place.weight.clone()].chunks_exact(x.len());
        let sum = |row: &[f64]| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
        rows.zip(&self.weights[place.bias.clone()]).map(|(row, bias)| sum(row) + bias).collect()
    }

    fn norm(&self, place: &Place, x: &[f64]) -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let scale = 1.0 / (variance + f64::from(self.encoder.spec.epsilon)).sqrt();
        let gamma = &self.weights[place.weight.clone()];
        let pairs = gamma.iter().zip(&self.weights[place.bias.clone()]);
        x.iter().zip(pairs).map(|(x, (gamma, beta))| (x - mean) * scale * gamma + beta).collect()
    }

    fn bend(&self, x: f64) -> f64 {
        let tanh = |cube: f64| 0.5 * x * (1.0 + (0.797_884_560_802_865_4 * cube).tanh());
        match self.encoder.spec.activation {
            // The error function by its integral, Simpson's rule.
            EncoderActivation::Gelu => {
                let top = x / std::f64::consts::SQRT_2;
                let at = |part: f64| (-(part * top).powi(2)).exp();
                let steps = 400;
                let sum: f64 = (0..steps)
                    .map(|step| {
                        let (from, to) = (f64::from(step), f64::from(step + 1));
                        let of = |place: f64| at(place / f64::from(steps));
                        (of(from) + 4.0 * of((from + to) / 2.0) + of(to)) / 6.0
                    })
                    .sum();
                let erf = std::f64::consts::FRAC_2_SQRT_PI * top * sum / f64::from(steps);
                0.5 * x * (1.0 + erf)
            }
            EncoderActivation::GeluTanh => tanh(x + 0.044_715 * x.powi(3)),
            EncoderActivation::Relu => x.max(0.0),
            EncoderActivation::Silu => x / (1.0 + (-x).exp()),
            EncoderActivation::Tanh => x.tanh(),
        }
    }

    /// Of layer `index`, for the text of that number.
    fn attention(&self, rows: &[Vec<f64>], index: usize, text: usize) -> Vec<Vec<f64>> {
        let EncoderSpec { hidden, heads, .. } = self.encoder.spec;
        let size = hidden / heads;
        let mut out = vec![vec![0.0; hidden]; rows.len()];
        for head in 0..heads {
            let mut kept = vec![1.0_f32; rows.len() * rows.len()];
            if let Some(of) = ShareDropping::of(&self.encoder.spec, self.dropping, index) {
                of.drop_out(text, head, &mut kept);
            }
            let part =
                |row: &[f64], kind: usize| row[kind * hidden + head * size..][..size].to_vec();
            let kept = kept.chunks_exact(rows.len());
            for ((query, out), kept) in rows.iter().zip(&mut out).zip(kept) {
                let query = part(query, 0);
                let score = |key: &Vec<f64>| -> f64 {
                    let key = part(key, 1);
                    query.iter().zip(&key).map(|(q, k)| q * k).sum::<f64>() / (size as f64).sqrt()
                };
                let shares: Vec<f64> = rows.iter().map(|key| score(key).exp()).collect();
                let total: f64 = shares.iter().sum();
                for ((share, row), kept) in shares.iter().zip(rows).zip(kept) {
                    let value = part(row, 2);
                    let share = share * f64::from(*kept);
                    let to = out[head * size..].iter_mut().zip(value);
                    to.for_each(|(to, value)| *to += share / total * value);
                }
            }
        }
        out
    }

    /// The pooled row of the text of a number, whose first token is `start` in all.
    fn text(&self, number: usize, tokens: &[u32], start: usize) -> Vec<f64> {
        let spec = &self.encoder.spec;
        let hidden = spec.hidden;
        let kept = |site: usize, place: usize| &self.kept[site][(start + place) * hidden..];
        let mut counted = 0;
        let mut rows = Vec::new();
        for (place, token) in tokens.iter().enumerate() {
            let position = match spec.padding == Some(*token) {
                true => spec.position_first - 1,
                false => {
                    counted += 1;
                    spec.position_first + counted - 1
                }
            };
            let row = |start: usize, index: usize| &self.weights[start + index * hidden..];
            let word = row(self.encoder.words.start, *token as usize);
            let position = row(self.encoder.positions.start, position);
            let kind = row(self.encoder.types.start, 0);
            let sum = (0..hidden).map(|at| {
                let kind = if spec.types > 0 { kind[at] } else { 0.0 };
                word[at] + position[at] + kind
            });
            let row = self.norm(&self.encoder.norm, &sum.collect::<Vec<_>>());
            rows.push(row.iter().zip(kept(0, place)).map(|(x, kept)| x * kept).collect());
        }
        for (index, layer) in self.encoder.layers.iter().enumerate() {
            let qkv: Vec<Vec<f64>> =
                rows.iter().map(|row: &Vec<f64>| self.linear(&layer.qkv, row)).collect();
            let context = self.attention(&qkv, index, number);
            for (place, (row, context)) in rows.iter_mut().zip(context).enumerate() {
                let sum = |out: Vec<f64>, site: usize, row: &[f64]| -> Vec<f64> {
                    let kept = out.iter().zip(kept(site, place)).map(|(x, kept)| x * kept);
                    kept.zip(row).map(|(x, row)| x + row).collect()
                };
                let out = self.linear(&layer.output, &context);
                let middle = self.norm(&layer.output_norm, &sum(out, 2 * index + 1, row));
                let up = self.linear(&layer.up, &middle);
                let active: Vec<f64> = up.into_iter().map(|x| self.bend(x)).collect();
                let down = self.linear(&layer.down, &active);
                *row = self.norm(&layer.norm, &sum(down, 2 * index + 2, &middle));
            }
        }
        match spec.pooling {
            EncoderPooling::First => rows.swap_remove(0),
            EncoderPooling::Mean => {
                let mean = |at: usize| rows.iter().map(|row| row[at]).sum::<f64>();
                (0..hidden).map(|at| mean(at) / rows.len() as f64).collect()
            }
        }
    }

    /// The whole network.
    pub(super) fn answers(&self, net: &Net, texts: &[Vec<u32>]) -> Vec<f64> {
        let mut start = 0;
        let mut all = Vec::new();
        for (number, tokens) in texts.iter().enumerate() {
            let mut row = self.text(number, tokens, start);
            start += tokens.len();
            for layer in &net.layers[1..] {
                let crate::net::Layer::Dense { place, activation, .. } = layer else {
                    panic!("a head of dense layers");
                };
                row = self.linear(place, &row);
                if *activation == LayerActivation::Tanh {
                    row.iter_mut().for_each(|x| *x = x.tanh());
                }
            }
            all.extend(row);
        }
        all
    }
}
