//! Owns the folding of batch normalization into the weights of the convolution or product that it
//! follows.
//!
//! Refuses training, and weights that are not constant. Bound: the new weights replace the old.
//! With `s = scale / √(variance + epsilon)` the weights of a channel become `w · s` and its bias
//! `(bias - mean) · s + shift`.

use super::matcher::{Matcher, float_or, int_or, output};
use crate::graph::{Node, ValueId};
use crate::tensor::Tensor;

/// Batch normalization of what a convolution makes.
pub(super) fn after_conv(matcher: &mut Matcher<'_>, index: usize) -> Option<Node> {
    let (x, channels) = channels(matcher, index)?;
    let layer = matcher.made_by(x, "Conv", 1)?.clone();
    let weights = layer.inputs.get(1).copied()??;
    let rank = matcher.constant(weights)?.shape().len();
    folded(matcher, index, layer, &channels, |dims, at| at / dims[1..].iter().product::<usize>())
        .filter(|_| rank >= 3)
}

/// Batch normalization of what a product with a bias makes.
pub(super) fn after_gemm(matcher: &mut Matcher<'_>, index: usize) -> Option<Node> {
    let (x, channels) = channels(matcher, index)?;
    let layer = matcher.made_by(x, "Gemm", 1)?.clone();
    if float_or(&layer, "alpha", 1.0)? != 1.0 || float_or(&layer, "beta", 1.0)? != 1.0 {
        return None;
    }
    let weights = layer.inputs.get(1).copied()??;
    if matcher.constant(weights)?.shape().len() != 2 {
        return None;
    }
    let is_by_row = int_or(&layer, "transB", 0)? != 0;
    folded(matcher, index, layer, &channels, |dims, at| match is_by_row {
        true => at / dims[1],
        false => at % dims[1],
    })
}

/// A channel's factor `s`, the mean that is taken away before, and what is added after it.
struct Channel {
    factor: f64,
    mean: f64,
    shift: f64,
}

/// What a node of batch normalization reads, and what it does to each channel.
fn channels(matcher: &Matcher<'_>, index: usize) -> Option<(ValueId, Vec<Channel>)> {
    let node = matcher.is(index, "BatchNormalization")?;
    let known = ["epsilon", "momentum", "training_mode"];
    let is_known = node.attributes.keys().all(|name| known.contains(&name.as_str()));
    // In versions before 9 the attribute `spatial` had a meaning of its own.
    if !is_known || int_or(node, "training_mode", 0)? != 0 || matcher.opset() < 9 {
        return None;
    }
    let epsilon = f64::from(float_or(node, "epsilon", 1e-5)?);
    let [Some(x), Some(scale), Some(shift), Some(mean), Some(variance)] = node.inputs[..] else {
        return None;
    };
    let vector = |id: ValueId| {
        let values = matcher.floats(id)?;
        (matcher.constant(id)?.shape().len() == 1).then_some(values)
    };
    let (scale, shift, mean, variance) =
        (vector(scale)?, vector(shift)?, vector(mean)?, vector(variance)?);
    let count = scale.len();
    if [shift.len(), mean.len(), variance.len()] != [count; 3] {
        return None;
    }
    let channels = (0..count).map(|channel| {
        let deviation = (f64::from(variance[channel]) + epsilon).sqrt();
        let factor = f64::from(scale[channel]) / deviation;
        let (mean, shift) = (mean[channel].into(), shift[channel].into());
        factor.is_finite().then_some(Channel { factor, mean, shift })
    });
    Some((x, channels.collect::<Option<_>>()?))
}

/// The layer with the weights and the bias that do both. `channel_of` says for the weights'
/// dimensions to which channel the weight at a place belongs.
fn folded(
    matcher: &mut Matcher<'_>,
    index: usize,
    mut layer: Node,
    channels: &[Channel],
    channel_of: impl Fn(&[usize], usize) -> usize,
) -> Option<Node> {
    let weights = matcher.constant(layer.inputs.get(1).copied()??)?;
    let dims = weights.shape().to_vec();
    let values = weights.values::<f32>()?;
    let is_whole = !values.is_empty() && dims.len() >= 2;
    if !is_whole || channel_of(&dims, values.len() - 1) + 1 != channels.len() {
        return None;
    }
    let scaled = values.iter().enumerate().map(|(at, weight)| {
        let channel = &channels[channel_of(&dims, at)];
        (f64::from(*weight) * channel.factor) as f32
    });
    let scaled = Tensor::of(&dims, scaled.collect())?;
    let bias = match layer.inputs.get(2).copied().flatten() {
        None => vec![0.0; channels.len()],
        Some(id) if **matcher.constant(id)?.shape() == [channels.len()] => {
            matcher.floats(id)?.to_vec()
        }
        Some(_) => return None,
    };
    let shifted = bias.iter().zip(channels).map(|(bias, channel)| {
        ((f64::from(*bias) - channel.mean) * channel.factor + channel.shift) as f32
    });
    let shifted = Tensor::of(&[channels.len()], shifted.collect())?;
    let is_finite = |tensor: &Tensor| {
        tensor.values::<f32>().is_some_and(|values| values.iter().all(|value| value.is_finite()))
    };
    if !is_finite(&scaled) || !is_finite(&shifted) {
        return None;
    }
    layer.inputs.truncate(2);
    layer.inputs[1] = Some(matcher.add_constant("weights", scaled));
    layer.inputs.push(Some(matcher.add_constant("bias", shifted)));
    layer.outputs = vec![Some(output(matcher.node(index))?)];
    Some(layer)
}
