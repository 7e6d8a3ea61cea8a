//! Owns `meta.redb`: which model versions are registered, which one is active, and the indexes by
//! which they are found.
//!
//! ```text
//! models     (id, version)                        -> envelope(postcard ModelEntry)
//! active     id                                   -> envelope(version u32)
//! federation name                                 -> envelope(bytes)
//! access     name                                 -> envelope(bytes)
//! training   name                                 -> envelope(bytes)
//! serving    id                                   -> envelope(postcard ModelServing)
//! m_*        (group, position, id, version)       -> see index.rs
//! ```
//!
//! Which version is active is kept in one place, so that switching it rewrites no entry; the
//! entry's own flag is set when it is read. Rows, `active` and all indexes change in one
//! transaction. Refuses to know model files. Bound: what `check.rs` lets in per entry; `all` reads
//! every entry at once, `list` a page.

use std::path::PathBuf;
use std::sync::Arc;

use redb::{ReadTransaction, ReadableTable, WriteTransaction};
use truststram_base::{ModelEntry, ModelId, ModelVersion};

use self::rows::{ACTIVE, MODELS};
use self::serving::SERVING;
use self::shelf::Shelf;
use crate::database_file::DatabaseFile;
use crate::disk::Disk;
use crate::error::{Damage, StoreError};
use crate::options::OLD_FILE_CACHE_BYTES;
use crate::stop::{self, Stop};

pub mod check;
mod index;
pub mod list;
mod rows;
mod serving;
pub(crate) mod shelf;
mod verify;

/// The registered models.
pub(crate) struct Registry {
    pub(crate) file: DatabaseFile,
}

impl Registry {
    /// Opens or creates the file.
    pub(crate) fn open(path: PathBuf, disk: Arc<dyn Disk>) -> Result<Self, StoreError> {
        let file = DatabaseFile::new(path, OLD_FILE_CACHE_BYTES, disk, create_tables);
        file.with(|_| Ok(()))?;
        Ok(Self { file })
    }

    /// Adds a version and syncs. An active one takes over from the version that was active.
    pub(crate) fn register(&self, entry: &ModelEntry) -> Result<(), StoreError> {
        check::entry(entry)?;
        let frame = rows::encode(entry)?;
        let (id, version) = (&entry.id, entry.version);
        stop::write(&self.file, |transaction| {
            let mut models = transaction.open_table(MODELS)?;
            if models.get((id.as_str(), version.0))?.is_some() {
                return Err(StoreError::ModelExists { id: id.clone(), version }.into());
            }
            models.insert((id.as_str(), version.0), &frame[..])?;
            drop(models);
            if entry.active {
                self.make_active(transaction, id, version)?;
            }
            self.reindex_one(transaction, None, Some(entry))
        })
    }

    /// Makes a registered version the active one of its model and syncs. Gives back the one that
    /// was active before.
    pub(crate) fn activate(
        &self,
        id: &ModelId,
        version: ModelVersion,
    ) -> Result<Option<ModelVersion>, StoreError> {
        stop::write(&self.file, |transaction| self.activate_in(transaction, id, version))
    }

    fn activate_in(
        &self,
        transaction: &WriteTransaction,
        id: &ModelId,
        version: ModelVersion,
    ) -> Result<Option<ModelVersion>, Stop> {
        let mut entry = self.existing(transaction, id, version)?;
        let previous = self.make_active(transaction, id, version)?;
        if previous != Some(version) {
            let before = entry.clone();
            entry.active = true;
            self.reindex_one(transaction, Some(&before), Some(&entry))?;
        }
        Ok(previous)
    }

    /// Removes a version that is not active, syncs, and gives back what it was.
    pub(crate) fn remove(
        &self,
        id: &ModelId,
        version: ModelVersion,
    ) -> Result<ModelEntry, StoreError> {
        stop::write(&self.file, |transaction| {
            let entry = self.existing(transaction, id, version)?;
            let active = transaction.open_table(ACTIVE)?;
            if rows::active_version(&self.file, &active, id.as_str())? == Some(version) {
                return Err(StoreError::ModelActive { id: id.clone(), version }.into());
            }
            drop(active);
            transaction.open_table(MODELS)?.remove((id.as_str(), version.0))?;
            self.reindex_one(transaction, Some(&entry), None)?;
            self.forget(transaction, id, version)?;
            Ok(entry)
        })
    }

    /// Every entry, by id and version.
    pub(crate) fn all(&self) -> Result<Vec<ModelEntry>, StoreError> {
        self.read(|transaction| {
            let (models, active) =
                (transaction.open_table(MODELS)?, transaction.open_table(ACTIVE)?);
            rows::decode_range(&self.file, models.range(rows::every_key())?, &active)
        })
    }

    /// The entries of one model, by version.
    pub(crate) fn versions(&self, id: &ModelId) -> Result<Vec<ModelEntry>, StoreError> {
        self.read(|transaction| {
            let (models, active) =
                (transaction.open_table(MODELS)?, transaction.open_table(ACTIVE)?);
            let range = (id.as_str(), 0)..=(id.as_str(), u32::MAX);
            rows::decode_range(&self.file, models.range(range)?, &active)
        })
    }

    /// One entry.
    pub(crate) fn version(
        &self,
        id: &ModelId,
        version: ModelVersion,
    ) -> Result<Option<ModelEntry>, StoreError> {
        self.read(|transaction| {
            let (models, active) =
                (transaction.open_table(MODELS)?, transaction.open_table(ACTIVE)?);
            rows::get(&self.file, &models, &active, (id.as_str(), version.0))
        })
    }

    fn read<T>(
        &self,
        operation: impl FnOnce(&ReadTransaction) -> Result<T, Stop>,
    ) -> Result<T, StoreError> {
        stop::read(&self.file, |_, transaction| operation(transaction))
    }

    /// The entry of a version, with its flag as `active` has it.
    fn existing(
        &self,
        transaction: &WriteTransaction,
        id: &ModelId,
        version: ModelVersion,
    ) -> Result<ModelEntry, Stop> {
        let (models, active) = (transaction.open_table(MODELS)?, transaction.open_table(ACTIVE)?);
        rows::get(&self.file, &models, &active, (id.as_str(), version.0))?
            .ok_or_else(|| StoreError::ModelUnknown { id: id.clone(), version }.into())
    }

    /// Moves `active` to `version` and the previous one out of the indexes of active versions.
    fn make_active(
        &self,
        transaction: &WriteTransaction,
        id: &ModelId,
        version: ModelVersion,
    ) -> Result<Option<ModelVersion>, Stop> {
        let mut active = transaction.open_table(ACTIVE)?;
        let previous = rows::active_version(&self.file, &active, id.as_str())?;
        if previous == Some(version) {
            return Ok(previous);
        }
        active.insert(id.as_str(), &rows::encode_active(id.as_str(), version)[..])?;
        if let Some(version) = previous {
            let models = transaction.open_table(MODELS)?;
            let key = (id.as_str(), version.0);
            let mut after = rows::get(&self.file, &models, &active, key)?
                .ok_or_else(|| rows::corrupt(&self.file, key, Damage::Missing))?;
            drop((active, models));
            let before = ModelEntry { active: true, ..after.clone() };
            after.active = false;
            self.reindex_one(transaction, Some(&before), Some(&after))?;
        }
        Ok(previous)
    }

    /// Takes the index entries of a version from what they were to what they are.
    fn reindex_one(
        &self,
        transaction: &WriteTransaction,
        before: Option<&ModelEntry>,
        after: Option<&ModelEntry>,
    ) -> Result<(), Stop> {
        let entries = |entry: Option<&ModelEntry>| match entry {
            Some(entry) => index::entries(entry).map_err(|damage| {
                Stop::from(rows::corrupt(&self.file, (entry.id.as_str(), entry.version.0), damage))
            }),
            None => Ok(index::Entries::new()),
        };
        index::change(transaction, &entries(before)?, &entries(after)?)
    }
}

fn create_tables(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(MODELS)?;
    transaction.open_table(ACTIVE)?;
    transaction.open_table(SERVING)?;
    for shelf in Shelf::ALL {
        transaction.open_table(shelf.table())?;
    }
    for index in index::Index::ALL {
        transaction.open_table(index.table())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
