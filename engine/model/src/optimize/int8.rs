//! Owns the step to 8-bit numbers: the weights of linear layers quantised, one scale per output,
//! and stored so.
//!
//! Refuses narrow layers, for which f32 is faster, and layers that are quantised already.
//! Bound: each weight is copied once, into a quarter of its size.

use std::collections::HashMap;

use super::calibrate::Range;
use super::options::refused;
use super::weights::{LinearLayer, WEIGHT, floats, linear_layers, operator_names};
use crate::error::ModelError;
use crate::graph::{Attribute, Graph, ValueId};
use crate::kernels::{Weights, quantise_weights};
use crate::tensor::Tensor;

const STEP: &str = "int8";
/// The input of `Linear` that is the scales of its weights, behind the bias.
const SCALE: usize = 3;

/// Layers with fewer outputs stay in f32: quantising a row costs as much as the product of so few
/// outputs saves. See the table in [`INPUT_COUNT_MIN`].
pub const OUTPUT_COUNT_MIN: usize = 32;

/// Layers with fewer inputs stay in f32: what a row and a call cost by themselves is as much as
/// the whole product.
///
/// Microseconds of batches of 1, 8 and 128 rows by `cargo run --release --example kernels`, on one
/// core of a Zen 4 (AVX-512 with VNNI):
///
/// ```text
/// inputs x outputs    f32                   int8
///  32 x  16           0.05   0.11    1.22   0.09   0.21    2.42
///  32 x  32           0.06   0.19    2.49   0.10   0.26    2.79
///  32 x  64           0.09   0.33    4.80   0.12   0.30    3.84
///  64 x  32           0.09   0.34    4.76   0.11   0.33    4.29
///  64 x 128           0.26   1.21   18.46   0.16   0.60    8.76
/// 200 x  10           0.12   0.47    7.03   0.14   0.59    8.59
/// 200 x  16           0.12   0.47    7.04   0.14   0.59    8.62
/// 200 x  32           0.19   0.93   14.16   0.16   0.71   10.49
/// 200 x 200           1.51   5.75   91.65   0.53   2.06   31.84
/// ```
pub const INPUT_COUNT_MIN: usize = 64;

/// The layers that are worth 8-bit numbers.
///
/// # Errors
/// [`ModelError::Optimize`] if there is none.
pub(super) fn wide_layers(graph: &Graph) -> Result<Vec<LinearLayer>, ModelError> {
    let plain: Vec<_> =
        linear_layers(graph).into_iter().filter(|layer| layer.is_plain(graph)).collect();
    if plain.is_empty() {
        let reason = format!(
            "it has no linear layer with constant weights in f32; it has {}",
            operator_names(graph)
        );
        return Err(refused(STEP, reason));
    }
    let count = plain.len();
    let wide: Vec<_> = plain.into_iter().filter(is_worth_it).collect();
    if wide.is_empty() {
        let reason = format!(
            "each of its {count} linear layers has fewer than {OUTPUT_COUNT_MIN} outputs or \
             {INPUT_COUNT_MIN} inputs, which f32 computes faster; leave it as it is, or ask for \
             bf16 to save memory"
        );
        return Err(refused(STEP, reason));
    }
    Ok(wide)
}

fn is_worth_it(layer: &LinearLayer) -> bool {
    layer.outputs >= OUTPUT_COUNT_MIN && layer.inputs >= INPUT_COUNT_MIN
}

/// Quantises layers; `ranges` are those of their inputs, or none for rows that are quantised each
/// by itself.
pub(super) fn quantise(
    graph: &mut Graph,
    layers: &[LinearLayer],
    ranges: Option<&HashMap<ValueId, Range>>,
) -> Result<(), ModelError> {
    let mut quantised = HashMap::new();
    for layer in layers {
        let key = (layer.weight, layer.is_transposed);
        let (weight, scales) = match quantised.get(&key) {
            Some(known) => *known,
            None => {
                let made = quantised_weights(graph, layer)?;
                quantised.insert(key, made);
                made
            }
        };
        let x = graph.nodes[layer.node].inputs.first().copied().flatten();
        let range = match (ranges, x) {
            (None, _) => None,
            (Some(ranges), x) => x.and_then(|x| ranges.get(&x)).copied(),
        };
        let node = &mut graph.nodes[layer.node];
        node.inputs.resize(SCALE + 1, None);
        node.inputs[WEIGHT] = Some(weight);
        node.inputs[SCALE] = Some(scales);
        node.attributes.remove("transposed");
        node.attributes.insert("precision".to_owned(), Attribute::String("int8".to_owned()));
        if let Some(Range { scale, zero_point }) = range {
            let zero_point = Attribute::Int(zero_point.into());
            node.attributes.insert("input_scale".to_owned(), Attribute::Float(scale));
            node.attributes.insert("input_zero_point".to_owned(), zero_point);
        }
    }
    graph.prune();
    Ok(())
}

/// The quantised weights `[outputs, inputs]` of a layer and their scales, as constants.
fn quantised_weights(
    graph: &mut Graph,
    layer: &LinearLayer,
) -> Result<(ValueId, ValueId), ModelError> {
    let values = floats(graph, layer.weight).unwrap_or_default();
    let weights = Weights::new(values, layer.outputs, layer.inputs, layer.is_transposed);
    let (values, scales) = weights.and_then(quantise_weights).map_err(|error| {
        refused(STEP, format!("{} cannot be quantised: {error}", graph.place(layer.node)))
    })?;
    let name = graph.value(layer.weight).name.clone();
    let values = Tensor::of(&[layer.outputs, layer.inputs], values).unwrap_or_default();
    let scales = Tensor::of(&[layer.outputs], scales).unwrap_or_default();
    let weight = graph.add_constant(name.clone(), values);
    Ok((weight, graph.add_constant(format!("{name} scales"), scales)))
}
