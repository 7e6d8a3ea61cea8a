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
use truststram_base::Kind;
use truststram_federate::FederateError;
use truststram_federate::codec::{Schema, SchemaTensor};
use truststram_federate::identity::hexadecimal;
use truststram_machine::replace_file;
use truststram_train::{TrainError, Trainable, WeightTensor};

/// The models that can be fetched.
pub(super) struct Served {
    folder: PathBuf,
    base: Trainable,
    versions: BTreeMap<u64, ModelFacts>,
}

/// What updates of a model are held against: its tensors, as its file has them.
///
/// # Errors
/// As [`Schema::new`].
pub fn schema_of(model: &Trainable) -> Result<Schema, FederateError> {
    let tensors = model.tensors().iter().cloned();
    Schema::new(tensors.map(|WeightTensor { name, shape }| SchemaTensor { name, shape }).collect())
}

/// What the rounds say where training refuses a model.
pub fn unfit(error: &TrainError) -> FederateError {
    FederateError::Port { message: error.to_string(), kind: Kind::Corrupt }
}

/// Where the file of a version is.
pub fn place(folder: &Path, version: u64) -> PathBuf {
    folder.join(format!("{version}.safetensors"))
}

impl Served {
    pub(super) fn open(folder: PathBuf, base: Trainable) -> Result<Self, FederateError> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, base, versions: BTreeMap::new() })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a version one that can be fetched; gives back its bytes.
    pub(super) fn add(&mut self, version: u64, values: &[f32]) -> Result<Vec<u8>, FederateError> {
        let model = self.base.with(values).map_err(|error| unfit(&error))?;
        let bytes = model.to_bytes().map_err(FederateError::Container)?;
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
