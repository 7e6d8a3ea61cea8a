//! Steady predictions take no memory: neither the submitting thread nor any worker, and no program
//! in its session.
//!
//! Owns the counting allocator of this binary. Refuses to measure time. Bound: what takes memory is
//! counted per thread, so other tests do not disturb.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests by clippy")]

mod serving;
mod sessions;

use truststram_machine::CountingAllocator;
use truststram_model::{LayerWeights, ModelFile, ModelSpec, Preprocessing};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Features of a row of [`dense_net`].
const FEATURES: usize = 30;

/// A 30-64-32-2 network with fixed weights.
fn dense_net() -> ModelFile {
    let layers = [FEATURES as u32, 64, 32, 2];
    let preprocessing = Preprocessing { mean: vec![0.5; FEATURES], scale: vec![2.0; FEATURES] };
    let classes = ["no", "yes"].map(str::to_owned).into();
    let spec = ModelSpec::dense(layers.to_vec(), classes, preprocessing).unwrap();
    let weights = layers.windows(2).map(|widths| {
        let (inputs, outputs) = (widths[0] as usize, widths[1] as usize);
        let value = |index: usize| (index % 13) as f32 * 0.05 - 0.3;
        let weight = (0..inputs * outputs).map(value).collect();
        LayerWeights { weight, bias: (0..outputs).map(value).collect() }
    });
    ModelFile::new(spec, weights.collect()).unwrap()
}
