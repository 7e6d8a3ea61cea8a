//! Owns the ranges of layers' inputs, as a data set shows them.
//!
//! Refuses inputs that are not finite. Bound: one run over the data set, two for percentiles;
//! [`BIN_COUNT`] counters per input, never the inputs themselves.

use std::collections::HashMap;
use std::sync::Arc;

use super::data::{DataSet, fill};
use super::figures::BATCH_ROWS;
use super::options::{Ranges, refused};
use super::weights::LinearLayer;
use crate::artifact::Signature;
use crate::error::ModelError;
use crate::graph::{Graph, Port, ValueId};
use crate::kernels::Alone;
use crate::program::{BuildOptions, Program, Session};
use crate::tensor::DType;

const STEP: &str = "int8 static";
/// Bins between the smallest and the largest value of an input.
const BIN_COUNT: usize = 8192;

/// How the rows of a layer are quantised: `x / scale + zero_point`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    pub scale: f32,
    pub zero_point: u8,
}

impl Range {
    /// The range from `low` to `high`, with 0 in it.
    pub fn between(low: f32, high: f32) -> Self {
        let (low, high) = (f64::from(low.min(0.0)), f64::from(high.max(0.0)));
        let scale = ((high - low) / 255.0) as f32;
        // Nothing but zeros, or numbers too small to be told apart.
        let scale = if scale < f32::MIN_POSITIVE { 1.0 } else { scale };
        let zero_point = (-low / f64::from(scale)).round_ties_even().clamp(0.0, 255.0) as u8;
        Self { scale, zero_point }
    }
}

/// What is known of the values of one input.
struct Seen {
    low: f32,
    high: f32,
    counts: Vec<u64>,
}

impl Seen {
    fn bin_width(&self) -> f64 {
        (f64::from(self.high) - f64::from(self.low)) / BIN_COUNT as f64
    }

    fn count(&mut self, values: &[f32]) {
        let (low, width) = (f64::from(self.low), self.bin_width());
        for value in values {
            // The largest value belongs to the last bin; where all are equal, the first is it.
            let bin = ((f64::from(*value) - low) / width) as usize;
            self.counts[bin.min(BIN_COUNT - 1)] += 1;
        }
    }

    /// The range without the bins at either end that together hold at most the share `outside`.
    fn percentile(&self, outside: f64) -> Range {
        let total: u64 = self.counts.iter().sum();
        let allowed = (outside / 2.0 * total as f64) as u64;
        let left_out = |counts: &mut dyn Iterator<Item = &u64>| {
            let mut sum = 0;
            let fits = |count: &&u64| {
                sum += **count;
                sum <= allowed
            };
            counts.take_while(fits).count()
        };
        let below = left_out(&mut self.counts.iter());
        let above = left_out(&mut self.counts.iter().rev());
        let (low, high, width) = (f64::from(self.low), f64::from(self.high), self.bin_width());
        Range::between((low + below as f64 * width) as f32, (high - above as f64 * width) as f32)
    }
}

/// The ranges of the inputs of layers, by the value that is read.
pub(super) fn ranges(
    graph: &Graph,
    layers: &[LinearLayer],
    kind: Ranges,
    signature: &Signature,
    data: &DataSet,
) -> Result<HashMap<ValueId, Range>, ModelError> {
    let mut inputs: Vec<ValueId> = Vec::new();
    for layer in layers {
        let x = graph.nodes[layer.node].inputs.first().copied().flatten();
        inputs.extend(x.filter(|x| !inputs.contains(x)));
    }
    let mut watched = graph.clone();
    let port = |value: &ValueId| Port { value: *value, dtype: DType::F32, dims: None };
    watched.outputs = inputs.iter().map(port).collect();
    let program = Program::build(&watched, &BuildOptions::default())?;
    let mut session = Session::new(Arc::new(program));
    let mut seen: Vec<Seen> =
        inputs.iter().map(|_| Seen { low: 0.0, high: 0.0, counts: Vec::new() }).collect();
    watch(&mut session, signature, data, |index, values| {
        let finite = values.iter().all(|value| value.is_finite());
        let input = &mut seen[index];
        input.low = values.iter().copied().fold(input.low, f32::min);
        input.high = values.iter().copied().fold(input.high, f32::max);
        finite
    })?;
    let ranges: Vec<Range> = match kind {
        Ranges::MinMax => seen.iter().map(|seen| Range::between(seen.low, seen.high)).collect(),
        Ranges::Percentile(percentile) => {
            seen.iter_mut().for_each(|seen| seen.counts = vec![0; BIN_COUNT]);
            watch(&mut session, signature, data, |index, values| {
                seen[index].count(values);
                true
            })?;
            seen.iter().map(|seen| seen.percentile(1.0 - percentile / 100.0)).collect()
        }
    };
    Ok(inputs.into_iter().zip(ranges).collect())
}

/// Runs the data set and gives every batch of every output to `see`, which says whether it is
/// well.
fn watch(
    session: &mut Session,
    signature: &Signature,
    data: &DataSet,
    mut see: impl FnMut(usize, &[f32]) -> bool,
) -> Result<(), ModelError> {
    let step = if signature.batchable { BATCH_ROWS } else { 1 };
    let output_count = session.program().outputs().len();
    for start in (0..data.row_count()).step_by(step) {
        let end = (start + step).min(data.row_count());
        fill(session, data.inputs(signature, start..end)?);
        session.run(&Alone, None)?;
        for index in 0..output_count {
            let values = session.output(index).and_then(|output| output.values::<f32>());
            if !see(index, values.unwrap_or_default()) {
                let reason = format!(
                    "rows {start} to {} give a layer inputs that are not finite; leave them out",
                    end - 1
                );
                return Err(refused(STEP, reason));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_zero_and_their_ends() {
        let check = |low, high, scale: f32, zero_point| {
            assert_eq!(Range::between(low, high), Range { scale, zero_point }, "{low} {high}");
        };
        check(0.0, 255.0, 1.0, 0);
        check(5.0, 510.0, 2.0, 0);
        check(-255.0, -1.0, 1.0, 255);
        check(-100.0, 155.0, 1.0, 100);
        check(0.0, 0.0, 1.0, 0);
        check(0.0, 1e-44, 1.0, 0);
        let widest = Range::between(f32::MIN, f32::MAX);
        assert!(widest.scale.is_finite() && widest.zero_point == 128, "{widest:?}");
    }

    #[test]
    fn a_percentile_leaves_out_what_is_far_out() {
        let mut seen = Seen { low: -8192.0, high: 8192.0, counts: vec![0; BIN_COUNT] };
        // Ten thousand values within -100 and 100, and one far out on either side.
        let values: Vec<f32> = (0..10_000u16).map(|at| f32::from(at % 200) - 99.5).collect();
        seen.count(&values);
        seen.count(&[-8192.0, 8192.0]);
        // One of 10,002 on each side is a share of 0.0002; bins are 2 wide.
        let range = seen.percentile(0.0002);
        assert_eq!(range, Range::between(-100.0, 100.0));
        assert_eq!(seen.percentile(0.0), Range::between(-8192.0, 8192.0));
        let mut equal = Seen { low: 0.0, high: 0.0, counts: vec![0; BIN_COUNT] };
        equal.count(&[0.0; 9]);
        assert_eq!(equal.percentile(0.1), Range { scale: 1.0, zero_point: 0 });
    }
}
