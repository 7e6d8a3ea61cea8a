//! Owns the models of a federation as files that clients fetch: the numbers of a round in the frame
//! of the model that it began with.
//!
//! Refuses to know rounds. Bound: one model in memory while its file is written.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use truststram_api::ports::ModelFacts;
use truststram_federate::FederateError;
use truststram_federate::identity::hexadecimal;
use truststram_machine::replace_file;
use truststram_model::{LayerWeights, ModelFile, ModelSpec};

/// The models that can be fetched.
pub(super) struct Served {
    folder: PathBuf,
    spec: ModelSpec,
    versions: BTreeMap<u64, ModelFacts>,
}

/// All weights of a model, in the order of a federation's schema.
pub fn flat(file: &ModelFile) -> Vec<f32> {
    file.layers().iter().flat_map(|layer| layer.weight.iter().chain(&layer.bias)).copied().collect()
}

/// A model like `spec` with these weights, in the order of the schema.
///
/// # Errors
/// If they are too few.
pub fn framed(spec: &ModelSpec, weights: &[f32]) -> Result<ModelFile, FederateError> {
    let mut rest = weights;
    let mut take = |count: usize| {
        let (taken, left) = rest.split_at(count.min(rest.len()));
        rest = left;
        taken.to_vec()
    };
    let layers = spec
        .layer_shapes()
        .map(|(inputs, outputs)| LayerWeights {
            weight: take(inputs * outputs),
            bias: take(outputs),
        })
        .collect();
    ModelFile::new(spec.clone(), layers).map_err(FederateError::Container)
}

/// Where the file of a version is.
pub fn place(folder: &Path, version: u64) -> PathBuf {
    folder.join(format!("{version}.safetensors"))
}

impl Served {
    pub(super) fn open(folder: PathBuf, spec: ModelSpec) -> Result<Self, FederateError> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, spec, versions: BTreeMap::new() })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a version one that can be fetched; gives back its bytes.
    pub(super) fn add(&mut self, version: u64, values: &[f32]) -> Result<Vec<u8>, FederateError> {
        let bytes = framed(&self.spec, values)?.to_bytes().map_err(FederateError::Container)?;
        let sha256 = hexadecimal(&Sha256::digest(&bytes));
        replace_file(&place(&self.folder, version), &bytes)?;
        self.versions.insert(version, ModelFacts { sha256, bytes: bytes.len() as u64 });
        Ok(bytes)
    }

    pub(super) fn facts(&self, version: u64) -> Option<&ModelFacts> {
        self.versions.get(&version)
    }

    /// Removes all versions but these.
    pub(super) fn keep(&mut self, versions: &RangeInclusive<u64>) {
        let gone: Vec<u64> =
            self.versions.keys().filter(|version| !versions.contains(version)).copied().collect();
        for version in gone {
            self.versions.remove(&version);
            // What cannot be removed goes with the folder.
            let _ = fs::remove_file(place(&self.folder, version));
        }
    }
}
