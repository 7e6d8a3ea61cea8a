//! Owns the plugins that were installed while serving, below the data directory: each component by
//! its hash, and a record of which one is in use.
//!
//! Refuses to run them. Every change is one rename, so that a process that is killed leaves the old
//! record or the new one. Bound: the present component, the one before it and the one on trial for
//! each name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use truststram_machine::replace_file;
use truststram_policy::Stage;

/// A component that can be in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// SHA-256 of an installed component; none for what the configuration names.
    pub sha256: Option<String>,
    /// The text of one JSON object.
    pub settings_json: String,
}

/// What is in use under a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Whether it is asked.
    pub enabled: bool,
    /// The present component.
    pub current: Entry,
    /// The one before it.
    pub previous: Option<Entry>,
    /// The one on trial beside it.
    #[serde(default)]
    pub trial: Option<Tried>,
}

/// A component on trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tried {
    /// The component.
    pub entry: Entry,
    /// How it is tried.
    pub stage: Stage,
}

impl Record {
    /// What is in use where nothing was ever changed.
    pub fn new(current: Entry) -> Self {
        Self { enabled: true, current, previous: None, trial: None }
    }
}

/// The folder of one plugin.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    /// The folder of the plugin `name` below `data_dir`. A name is checked by the configuration.
    pub fn new(data_dir: &Path, name: &str) -> Self {
        Self { folder: data_dir.join("plugins/installed").join(name) }
    }

    /// The record, if anything was ever changed.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(&self) -> io::Result<Option<Record>> {
        match fs::read(self.folder.join("record.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file of an installed component.
    pub fn component(&self, sha256: &str) -> PathBuf {
        self.folder.join(format!("{sha256}.wasm"))
    }

    /// Keeps a component; it is not in use until [`Self::write`] says so.
    ///
    /// # Errors
    /// Why it cannot be kept.
    pub fn keep(&self, sha256: &str, component: &[u8]) -> io::Result<()> {
        replace(&self.folder, &self.component(sha256), component)
    }

    /// Puts `record` in force and removes components that it does not name.
    ///
    /// # Errors
    /// Why it cannot be written; the old one is in force then.
    pub fn write(&self, record: &Record) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(record).map_err(io::Error::from)?;
        replace(&self.folder, &self.folder.join("record.json"), &text)?;
        let tried = record.trial.as_ref().map(|trial| &trial.entry);
        let named: Vec<PathBuf> = [Some(&record.current), record.previous.as_ref(), tried]
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(self.component(entry.sha256.as_ref()?)))
            .collect();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let is_component = path.extension().is_some_and(|extension| extension == "wasm");
            if is_component && !named.contains(&path) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Writes a file that is whole whenever it is there, even after a loss of power.
fn replace(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    replace_file(path, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_kept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(dir.path(), "batcher");
        assert_eq!(shelf.read().unwrap(), None);
        let entry = |sha256: &str| Entry {
            sha256: Some(sha256.to_owned()),
            settings_json: "{}".to_owned(),
        };
        shelf.keep("t", b"t").unwrap();
        for (component, previous) in [("a", None), ("b", Some("a")), ("c", Some("b"))] {
            shelf.keep(component, component.as_bytes()).unwrap();
            let record = Record {
                previous: previous.map(entry),
                trial: Some(Tried { entry: entry("t"), stage: Stage::Canary(0.5) }),
                ..Record::new(entry(component))
            };
            shelf.write(&record).unwrap();
            assert_eq!(shelf.read().unwrap(), Some(record));
        }
        assert_eq!(fs::read(shelf.component("t")).unwrap(), b"t");
        // As it was written before there were trials.
        let older =
            r#"{"enabled":true,"current":{"sha256":null,"settings_json":"{}"},"previous":null}"#;
        fs::write(shelf.folder.join("record.json"), older).unwrap();
        assert_eq!(shelf.read().unwrap().unwrap().trial, None);
        assert!(!shelf.component("a").exists());
        assert_eq!(fs::read(shelf.component("b")).unwrap(), b"b");
        fs::write(shelf.folder.join("record.json"), "{}").unwrap();
        assert!(shelf.read().is_err());
    }
}
