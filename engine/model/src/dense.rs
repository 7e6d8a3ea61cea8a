//! Owns the dense network at work: rows in, probabilities out, on the thread that built it.
//!
//! Refuses to know queues and requests. Bound: `rows_max` rows per call; one activation buffer per
//! layer and call.
//!
//! Preprocessing is applied while the rows are gathered into the input tensor, not folded into the
//! first layer: the copy touches each value anyway, and `x - mean` before the product keeps the
//! digits that `W·x - W·mean` would cancel away for features with a large mean.
//!
//! The softmax is applied while the answers are copied out, because candle's own one asks rayon
//! for a thread even for a single row.

mod ops;

use std::sync::Arc;

use candle_core::{CpuStorage, DType, Device, Storage, Tensor};

use crate::error::ModelError;
use crate::file::ModelFile;
use crate::spec::ModelSpec;
use ops::{AddBias, Gather};

/// A dense network ready to answer.
#[derive(Debug)]
pub struct DenseNet {
    spec: Arc<ModelSpec>,
    layers: Vec<Layer>,
    /// `[rows_max, features]`, written anew by each call.
    input: Tensor,
    rows_max: usize,
}

#[derive(Debug)]
struct Layer {
    /// `[in, out]`, a transposed view of the file's `[out, in]`: each output neuron's weights lie
    /// together, which suits the single row, and the kernel packs them itself for more rows.
    weight: Tensor,
    /// `[out]`.
    bias: Tensor,
}

impl DenseNet {
    /// Builds the network for batches of up to `rows_max` rows. The weights are moved, not copied,
    /// so they stay in the memory where `file` was parsed.
    ///
    /// # Errors
    /// [`ModelError::Compute`] if candle refuses a tensor.
    pub fn new(file: ModelFile, rows_max: usize) -> Result<Self, ModelError> {
        let (spec, weights) = file.into_parts();
        let device = Device::Cpu;
        let mut layers = Vec::with_capacity(weights.len());
        for ((inputs, outputs), values) in spec.layer_shapes().zip(weights) {
            let weight = Tensor::from_vec(values.weight, (outputs, inputs), &device)?.t()?;
            let bias = Tensor::from_vec(values.bias, outputs, &device)?;
            layers.push(Layer { weight, bias });
        }
        let rows_max = rows_max.max(1);
        let input = Tensor::zeros((rows_max, spec.feature_count()), DType::F32, &device)?;
        Ok(Self { spec: Arc::new(spec), layers, input, rows_max })
    }

    /// The description of the network.
    pub fn spec(&self) -> &Arc<ModelSpec> {
        &self.spec
    }

    /// Replaces `out` by the probabilities of each row, `[rows, classes]` row-major. A row whose
    /// answer overflows gets values that are not finite; the other rows are not touched by it.
    ///
    /// # Errors
    /// [`ModelError::FeatureCount`] or [`ModelError::BatchSize`] for rows that do not fit,
    /// [`ModelError::Compute`] if candle refuses.
    pub fn forward<R: AsRef<[f32]>>(
        &mut self,
        rows: &[R],
        out: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        out.clear();
        if rows.is_empty() {
            return Ok(());
        }
        if rows.len() > self.rows_max {
            return Err(ModelError::BatchSize { rows: rows.len(), rows_max: self.rows_max });
        }
        let expected = self.spec.feature_count();
        if let Some(row) = rows.iter().find(|row| row.as_ref().len() != expected) {
            return Err(ModelError::FeatureCount { found: row.as_ref().len(), expected });
        }
        let mut activations = self.input.narrow(0, 0, rows.len())?;
        activations.inplace_op1(&Gather { rows, preprocessing: &self.spec.preprocessing })?;
        for (index, layer) in self.layers.iter().enumerate() {
            activations = activations.matmul(&layer.weight)?;
            let relu = index + 1 < self.layers.len();
            activations.inplace_op2(&layer.bias, &AddBias { relu })?;
        }
        copy_values(&activations, out)?;
        for row in out.chunks_exact_mut(self.spec.class_count()) {
            softmax(row);
        }
        Ok(())
    }
}

/// Appends the tensor's values to `out`; the tensor is contiguous, as a product is.
fn copy_values(tensor: &Tensor, out: &mut Vec<f32>) -> Result<(), ModelError> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => {
            out.extend_from_slice(&values[start..end]);
            Ok(())
        }
        _ => Err(ops::unexpected("copy_values").into()),
    }
}

/// Turns scores into probabilities. The largest score is subtracted first, so that `exp` cannot
/// overflow; scores that are not finite give probabilities that are not.
fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for value in row.iter_mut() {
        *value = (*value - largest).exp();
        sum += *value;
    }
    for value in row.iter_mut() {
        *value /= sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Preprocessing;
    use crate::testing::small_model;

    /// The definition, in double precision.
    fn reference(file: &ModelFile, row: &[f32]) -> Vec<f64> {
        let Preprocessing { mean, scale } = &file.spec().preprocessing;
        let mut values: Vec<f64> = row
            .iter()
            .zip(mean.iter().zip(scale))
            .map(|(x, (mean, scale))| f64::from(x - mean) * f64::from(*scale))
            .collect();
        for (index, layer) in file.layers().iter().enumerate() {
            let rows = layer.weight.chunks_exact(values.len()).zip(&layer.bias);
            values = rows
                .map(|(weights, bias)| {
                    let pairs = weights.iter().zip(&values);
                    let sum: f64 = pairs.map(|(w, x)| f64::from(*w) * x).sum();
                    let sum = sum + f64::from(*bias);
                    if index + 1 < file.layers().len() { sum.max(0.0) } else { sum }
                })
                .collect();
        }
        let sum: f64 = values.iter().map(|value| value.exp()).sum();
        values.iter().map(|value| value.exp() / sum).collect()
    }

    fn rows(count: usize) -> Vec<Vec<f32>> {
        (0..count).map(|row| vec![row as f32 * 0.3 - 2.0, 1.0 - row as f32 * 0.17]).collect()
    }

    #[test]
    fn every_batch_size_gives_what_the_definition_gives() {
        let file = small_model(0.0);
        let mut net = DenseNet::new(file.clone(), 33).unwrap();
        let mut out = Vec::new();
        for count in [1, 2, 3, 8, 32, 33] {
            let rows = rows(count);
            net.forward(&rows, &mut out).unwrap();
            assert_eq!(out.len(), count * 3);
            for (row, answer) in rows.iter().zip(out.chunks_exact(3)) {
                for (found, expected) in answer.iter().zip(reference(&file, row)) {
                    assert!((f64::from(*found) - expected).abs() < 1e-5, "{answer:?}");
                }
            }
        }
    }

    #[test]
    fn a_row_that_overflows_spoils_no_other() {
        let mut net = DenseNet::new(small_model(0.0), 4).unwrap();
        let (mut alone, mut together) = (Vec::new(), Vec::new());
        net.forward(&[[1.0, 2.0]], &mut alone).unwrap();
        for hostile in [[f32::NAN, 0.0], [f32::INFINITY, 0.0], [f32::MAX, f32::MAX]] {
            net.forward(&[hostile, [1.0, 2.0]], &mut together).unwrap();
            assert!(!together[..3].iter().all(|value| value.is_finite()), "{together:?}");
            assert!(together[3..].iter().zip(&alone).all(|(a, b)| (a - b).abs() < 1e-6));
        }
    }

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        let mut net = DenseNet::new(small_model(0.0), 2).unwrap();
        let mut out = vec![1.0];
        net.forward::<[f32; 2]>(&[], &mut out).unwrap();
        assert!(out.is_empty());
        let wide = net.forward(&[[0.0; 3]], &mut out);
        assert!(matches!(wide, Err(ModelError::FeatureCount { found: 3, expected: 2 })));
        let many = net.forward(&[[0.0; 2]; 3], &mut out);
        assert!(matches!(many, Err(ModelError::BatchSize { rows: 3, rows_max: 2 })));
    }
}
