//! Owns the comparison of gradients with those of candle's autograd, a second opinion on them.
//!
//! Refuses pools: candle 0.11.1 divides the gradient of a square's largest value by the values in
//! it. Bound: batches of a dozen rows.

use candle_core::{Device, Result, Tensor, Var};
use candle_nn::loss::cross_entropy;
use truststram_model::kernels::Isa;

use super::*;
use crate::loss::{Loss, Targets};
use crate::random::Random;

const ROWS: usize = 12;

#[test]
fn gradients_of_convolutions_and_dense_layers_are_those_of_candle() -> Result<()> {
    let activation = LayerActivation::Relu;
    let layers = vec![
        LayerSpec::Conv { channels: 5, kernel: 3, padding: 1, activation },
        LayerSpec::Conv { channels: 3, kernel: 3, padding: 1, activation },
        LayerSpec::Dense { outputs: 20, activation },
    ];
    let spec = NetSpec { image: Some([6, 6, 1]), layers, ..NetSpec::default() };
    let net = Net::new(&spec, 36, 4).unwrap();
    let mut random = Random::new(5);
    let weights = net.first_weights(&mut random);
    let input: Vec<f32> = (0..ROWS * 36).map(|_| random.normal() as f32).collect();
    let labels: Vec<u32> = (0..ROWS as u32).map(|row| row % 4).collect();
    let isa = Isa::detect();
    let mut pass = Pass::new(isa, &net);
    let (given, gradients) = pass.forward(&net, &weights, &input, ROWS, None);
    let targets = Targets::Classes(&labels);
    let sums = Loss::CrossEntropy.compute(isa, 4, given, targets, &[], gradients);
    pass.backward(&net, &weights, &input, ROWS, false);

    let mut variables = Vec::new();
    let mut values = Tensor::from_vec(input, (ROWS, 1, 6, 6), &Device::Cpu)?;
    for layer in &net.layers {
        values = match layer {
            Layer::Conv { place, channels, image, .. } => {
                let weight = &weights[place.weight.clone()];
                // Channels come last in our rows and kernels.
                let dims = (*channels, 3, 3, image[2]);
                let weight = Tensor::from_slice(weight, dims, &Device::Cpu)?;
                let bias =
                    Tensor::from_slice(&weights[place.bias.clone()], *channels, &Device::Cpu)?;
                let (weight, bias) = (Var::from_tensor(&weight)?, Var::from_tensor(&bias)?);
                let kernels = weight.permute((0, 3, 1, 2))?.contiguous()?;
                let sums = values.conv2d(&kernels, 1, 1, 1, 1)?;
                let sums = sums.broadcast_add(&bias.reshape((1, *channels, 1, 1))?)?;
                variables.extend([(place.weight.clone(), weight), (place.bias.clone(), bias)]);
                sums.relu()?
            }
            Layer::Dense { inputs, outputs, activation, place } => {
                let weight = &weights[place.weight.clone()];
                let weight = Tensor::from_slice(weight, (*outputs, *inputs), &Device::Cpu)?;
                let bias =
                    Tensor::from_slice(&weights[place.bias.clone()], *outputs, &Device::Cpu)?;
                let (weight, bias) = (Var::from_tensor(&weight)?, Var::from_tensor(&bias)?);
                let values = match values.rank() {
                    4 => values.permute((0, 2, 3, 1))?.contiguous()?.flatten_from(1)?,
                    _ => values,
                };
                let sums = values.matmul(&weight.t()?)?.broadcast_add(&bias)?;
                variables.extend([(place.weight.clone(), weight), (place.bias.clone(), bias)]);
                if *activation == LayerActivation::Relu { sums.relu()? } else { sums }
            }
            Layer::Encoder(_) | Layer::MaxPool { .. } | Layer::Dropout { .. } => values,
        };
    }
    let labels = Tensor::from_vec(labels, ROWS, &Device::Cpu)?;
    let loss = cross_entropy(&values, &labels)?;
    assert!((f64::from(loss.to_scalar::<f32>()?) - sums.mean()).abs() < 1e-5);
    let gradients = loss.backward()?;
    for (place, variable) in variables {
        let gradient = gradients.get(&variable).map(Tensor::flatten_all).transpose()?;
        let expected = gradient.map(|gradient| gradient.to_vec1::<f32>()).transpose()?;
        for (found, expected) in pass.gradients[place].iter().zip(expected.unwrap()) {
            let found = found / ROWS as f32;
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
    Ok(())
}
