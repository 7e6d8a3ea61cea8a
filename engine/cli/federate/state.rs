//! Owns what a client keeps between its runs: its key, and what its encodings have lost.
//!
//! ```text
//! key                 32 secret bytes, hexadecimal; for the owner alone
//! residual-MODEL.bin  f32, little endian, one per parameter
//! ```
//!
//! Refuses to keep rows and models. Bound: one number per parameter.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use truststram_federate::codec::{ErrorFeedback, Schema};
use truststram_federate::identity::{Signer, hexadecimal, of_hexadecimal, random_bytes};
use truststram_machine::replace_file;

/// The folder of a client.
pub(super) struct State {
    folder: PathBuf,
}

impl State {
    /// Takes the folder, which is made if it is not there.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let place = folder.display();
        fs::create_dir_all(folder).with_context(|| format!("cannot make {place}"))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The client's key, made at its first run.
    pub(super) fn signer(&self) -> anyhow::Result<Signer> {
        let path = self.folder.join("key");
        let place = path.display();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let seed = random_bytes::<{ Signer::SEED_BYTES }>()?;
                let text = hexadecimal(&seed);
                let options = OpenOptions::new().write(true).create_new(true).mode(0o600).clone();
                let made = options.open(&path).and_then(|mut file| {
                    file.write_all(text.as_bytes())?;
                    file.sync_all()
                });
                made.with_context(|| format!("cannot write {place}"))?;
                text
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {place}")),
        };
        let seed = of_hexadecimal(text.trim());
        let seed = seed.ok_or_else(|| anyhow!("{place} is no key; remove it to enrol anew"))?;
        Ok(Signer::of_seed(&seed)?)
    }

    fn residual_path(&self, model: &str) -> PathBuf {
        self.folder.join(format!("residual-{model}.bin"))
    }

    /// What was lost so far of the updates of a model; nothing where it does not fit any more.
    pub(super) fn feedback(&self, model: &str, schema: &Schema) -> ErrorFeedback {
        let bytes = fs::read(self.residual_path(model)).unwrap_or_default();
        let values = bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value));
        ErrorFeedback::resume(values.collect(), schema)
            .unwrap_or_else(|_| ErrorFeedback::new(schema))
    }

    /// Keeps it.
    pub(super) fn keep(&self, model: &str, feedback: &ErrorFeedback) -> anyhow::Result<()> {
        let path = self.residual_path(model);
        let bytes: Vec<u8> =
            feedback.residual().iter().flat_map(|value| value.to_le_bytes()).collect();
        replace_file(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use truststram_federate::codec::SchemaTensor;

    use super::*;

    #[test]
    fn a_client_is_the_same_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("client")).unwrap();
        let key = state.signer().unwrap().public_key().to_vec();
        assert_eq!(state.signer().unwrap().public_key(), key);
        let path = folder.path().join("client/key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let tensor = SchemaTensor { name: "w".into(), shape: vec![2] };
        let schema = Schema::new(vec![tensor]).unwrap();
        assert_eq!(state.feedback("m", &schema).residual(), [0.0; 2]);
        let feedback = ErrorFeedback::resume(vec![0.5, -1.0], &schema).unwrap();
        state.keep("m", &feedback).unwrap();
        assert_eq!(state.feedback("m", &schema).residual(), [0.5, -1.0]);
        fs::write(state.residual_path("m"), b"1234").unwrap();
        assert_eq!(state.feedback("m", &schema).residual(), [0.0; 2]);
        fs::write(path, "no key").unwrap();
        assert!(state.signer().unwrap_err().to_string().contains("enrol anew"));
    }
}
