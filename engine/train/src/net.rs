//! Owns the network while it is trained: variables, forward pass, loss.
//!
//! Refuses to know batches and optimisers. Only operations are used whose gradients candle has;
//! some of its fused ones cut gradients silently, so a test compares with finite differences.
//! Bound: the layer sizes.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::loss::cross_entropy;

use crate::random::Random;

/// A dense network with ReLU between its layers.
pub(crate) struct Net {
    /// Weight `[out, in]` and bias `[out]` of each layer.
    pub(crate) layers: Vec<(Var, Var)>,
}

impl Net {
    /// Random weights after He et al. ("Delving deep into rectifiers", 2015), zero biases.
    pub(crate) fn new(sizes: &[usize], dtype: DType, random: &mut Random) -> Result<Self> {
        let device = Device::Cpu;
        let mut layers = Vec::with_capacity(sizes.len().saturating_sub(1));
        for pair in sizes.windows(2) {
            let (inputs, outputs) = (pair[0], pair[1]);
            let deviation = (2.0 / inputs as f64).sqrt();
            let weight: Vec<f64> =
                (0..inputs * outputs).map(|_| random.normal() * deviation).collect();
            let weight = Tensor::from_vec(weight, (outputs, inputs), &device)?.to_dtype(dtype)?;
            let bias = Tensor::zeros(outputs, dtype, &device)?;
            layers.push((Var::from_tensor(&weight)?, Var::from_tensor(&bias)?));
        }
        Ok(Self { layers })
    }

    pub(crate) fn variables(&self) -> Vec<Var> {
        self.layers.iter().flat_map(|(weight, bias)| [weight.clone(), bias.clone()]).collect()
    }

    /// Mean cross-entropy of `input` `[rows, features]` against `labels` `[rows]`.
    pub(crate) fn loss(&self, input: &Tensor, labels: &Tensor) -> Result<Tensor> {
        let mut values = input.clone();
        for (index, (weight, bias)) in self.layers.iter().enumerate() {
            values = values.matmul(&weight.t()?)?.broadcast_add(bias)?;
            if index + 1 < self.layers.len() {
                values = values.relu()?;
            }
        }
        cross_entropy(&values, labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_agree_with_finite_differences() {
        let mut random = Random::new(3);
        let net = Net::new(&[3, 5, 4], DType::F64, &mut random).unwrap();
        let values: Vec<f64> = (0..6 * 3).map(|_| random.normal()).collect();
        let input = Tensor::from_vec(values, (6, 3), &Device::Cpu).unwrap();
        let labels = Tensor::new(&[0u32, 1, 2, 3, 1, 0], &Device::Cpu).unwrap();
        let loss = || net.loss(&input, &labels).unwrap();
        let gradients = loss().backward().unwrap();
        const STEP: f64 = 1e-5;
        for variable in net.variables() {
            let gradient = gradients.get(&variable).unwrap().flatten_all().unwrap();
            let gradient = gradient.to_vec1::<f64>().unwrap();
            let original = variable.as_tensor().copy().unwrap();
            let flat = original.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            for (index, expected) in gradient.iter().enumerate() {
                let at = |step: f64| {
                    let mut moved = flat.clone();
                    moved[index] += step;
                    let moved = Tensor::from_vec(moved, original.dims(), &Device::Cpu).unwrap();
                    variable.set(&moved).unwrap();
                    loss().to_scalar::<f64>().unwrap()
                };
                let found = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                assert!((found - expected).abs() < 1e-6, "{index}: {found} for {expected}");
            }
            variable.set(&original).unwrap();
        }
    }
}
