//! Owns the small models that this crate's tests share.
//!
//! Refuses to know any test's purpose. Bound: compiled for tests only.

use crate::file::{LayerWeights, ModelFile};
use crate::spec::{ModelSpec, Preprocessing};

/// A 2-4-3 network with fixed weights; `shift` is added to the last bias of class 2, so that a
/// large shift makes it the answer to everything.
pub fn small_model(shift: f32) -> ModelFile {
    let preprocessing = Preprocessing { mean: vec![0.5, -1.0], scale: vec![2.0, 0.25] };
    let classes = ["low", "middle", "high"].map(str::to_owned).into();
    let spec = ModelSpec::dense(vec![2, 4, 3], classes, preprocessing).unwrap();
    let ramp = |count: usize, start: f32, step: f32| -> Vec<f32> {
        (0..count).map(|index| start + step * index as f32).collect()
    };
    let hidden = LayerWeights { weight: ramp(8, -0.7, 0.2), bias: ramp(4, 0.1, -0.05) };
    let mut output = LayerWeights { weight: ramp(12, 0.6, -0.11), bias: ramp(3, -0.2, 0.3) };
    output.bias[2] += shift;
    ModelFile::new(spec, vec![hidden, output]).unwrap()
}
