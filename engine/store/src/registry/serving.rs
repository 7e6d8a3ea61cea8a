//! Owns what is made of the versions of each model besides the active one: who shares its
//! questions, who is kept out, where a roll-back goes.
//!
//! A file that was made before this table is the same as one with nothing in it. Refuses to know
//! whether a version is loaded. Bound: one record per model, with each version at most once per
//! list.

use redb::{ReadableTable, TableDefinition, TableError, WriteTransaction};
use truststram_base::{ModelId, ModelServing, ModelVersion};

use super::Registry;
use super::rows::MODELS;
use crate::envelope::{self, HEADER_BYTES};
use crate::error::{Damage, StoreError};
use crate::stop::{self, Stop};

pub(super) const SERVING: TableDefinition<&str, &[u8]> = TableDefinition::new("serving");

/// Separates the context of this table from those of the others.
const SERVING_CONTEXT: u64 = u64::MAX - 1;

impl Registry {
    /// What is made of the versions of a model.
    pub(crate) fn serving(&self, id: &ModelId) -> Result<ModelServing, StoreError> {
        stop::read(&self.file, |_, transaction| match transaction.open_table(SERVING) {
            Ok(table) => self.read_serving(&table, id),
            Err(TableError::TableDoesNotExist(_)) => Ok(ModelServing::default()),
            Err(error) => Err(error.into()),
        })
    }

    /// Makes a version the active one, if one is named, and keeps what is made of the others, in
    /// one transaction that is synced.
    pub(crate) fn serve(
        &self,
        id: &ModelId,
        active: Option<ModelVersion>,
        serving: &ModelServing,
    ) -> Result<(), StoreError> {
        stop::write(&self.file, |transaction| {
            if let Some(version) = active {
                self.activate_in(transaction, id, version)?;
            }
            self.write_serving(transaction, id, serving)
        })
    }

    /// Forgets a version that is gone.
    pub(super) fn forget(
        &self,
        transaction: &WriteTransaction,
        id: &ModelId,
        version: ModelVersion,
    ) -> Result<(), Stop> {
        let mut serving = self.read_serving(&transaction.open_table(SERVING)?, id)?;
        serving.forget(version);
        let models = transaction.open_table(MODELS)?;
        let is_last = models.range((id.as_str(), 0)..=(id.as_str(), u32::MAX))?.next().is_none();
        drop(models);
        if is_last {
            transaction.open_table(SERVING)?.remove(id.as_str())?;
            return Ok(());
        }
        self.write_serving(transaction, id, &serving)
    }

    fn read_serving(
        &self,
        table: &impl ReadableTable<&'static str, &'static [u8]>,
        id: &ModelId,
    ) -> Result<ModelServing, Stop> {
        let Some(frame) = table.get(id.as_str())? else { return Ok(ModelServing::default()) };
        decode(id.as_str(), frame.value())
            .map_err(|damage| self.file.corrupt("serving", id.as_str().to_owned(), damage).into())
    }

    fn write_serving(
        &self,
        transaction: &WriteTransaction,
        id: &ModelId,
        serving: &ModelServing,
    ) -> Result<(), Stop> {
        let mut frame = vec![0; HEADER_BYTES];
        let version = serving.previous.unwrap_or(ModelVersion(0));
        postcard::to_io(serving, &mut frame).map_err(|source| StoreError::ModelEncoding {
            id: id.clone(),
            version,
            source,
        })?;
        envelope::seal(envelope::context(&[id.as_str()], SERVING_CONTEXT), &mut frame);
        transaction.open_table(SERVING)?.insert(id.as_str(), &frame[..])?;
        Ok(())
    }
}

/// The record in `frame`.
pub(super) fn decode(id: &str, frame: &[u8]) -> Result<ModelServing, Damage> {
    let body = envelope::open(envelope::context(&[id], SERVING_CONTEXT), frame)?;
    postcard::from_bytes(body).map_err(|_| Damage::Value)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::disagreement::Disagreement;
    use crate::disk::HostDisk;
    use crate::registry::tests::entry;

    fn open(directory: &Path) -> Registry {
        Registry::open(directory.join("meta.redb"), Arc::new(HostDisk)).unwrap()
    }

    fn all_of(second: ModelVersion, third: ModelVersion) -> ModelServing {
        ModelServing {
            previous: Some(second),
            canary: Some((third, 5)),
            shadow: Some(third),
            retired: vec![second],
            kept_warm: vec![second, third],
        }
    }

    #[test]
    fn what_is_served_outlives_the_process_and_follows_its_versions() {
        let directory = tempfile::tempdir().unwrap();
        let id = ModelId::new("m").unwrap();
        let [first, second, third] = [1, 2, 3].map(ModelVersion);
        let registry = open(directory.path());
        for version in [first, second, third] {
            registry.register(&entry("m", version.0, 0)).unwrap();
        }
        assert_eq!(registry.serving(&id).unwrap(), ModelServing::default());
        registry.serve(&id, Some(first), &all_of(second, third)).unwrap();
        drop(registry);

        let registry = open(directory.path());
        assert_eq!(registry.serving(&id).unwrap(), all_of(second, third));
        assert!(registry.version(&id, first).unwrap().unwrap().active);
        assert_eq!(registry.verify().unwrap(), []);
        // Neither the version nor the record changes if one of them cannot.
        let unknown = registry.serve(&id, Some(ModelVersion(9)), &ModelServing::default());
        assert!(matches!(unknown, Err(StoreError::ModelUnknown { .. })));
        assert_eq!(registry.serving(&id).unwrap(), all_of(second, third));

        registry.remove(&id, third).unwrap();
        let left = ModelServing {
            previous: Some(second),
            retired: vec![second],
            kept_warm: vec![second],
            ..ModelServing::default()
        };
        assert_eq!(registry.serving(&id).unwrap(), left);
        registry.serve(&id, None, &all_of(second, third)).unwrap();
        let stray = Disagreement::Stray { table: "serving", key: "m".to_owned() };
        assert_eq!(registry.verify().unwrap(), [stray]);
    }

    #[test]
    fn a_file_made_before_the_table_serves_and_takes_it() {
        let directory = tempfile::tempdir().unwrap();
        let id = ModelId::new("m").unwrap();
        let registry = open(directory.path());
        registry.register(&entry("m", 1, 0)).unwrap();
        stop::write(&registry.file, |transaction| Ok(transaction.delete_table(SERVING)?)).unwrap();
        assert_eq!(registry.serving(&id).unwrap(), ModelServing::default());
        assert_eq!(registry.verify().unwrap(), []);
        registry.remove(&id, ModelVersion(1)).unwrap();
        registry.register(&entry("m", 1, 0)).unwrap();
        let serving = ModelServing { retired: vec![ModelVersion(1)], ..ModelServing::default() };
        registry.serve(&id, None, &serving).unwrap();
        assert_eq!(registry.serving(&id).unwrap(), serving);
    }
}
