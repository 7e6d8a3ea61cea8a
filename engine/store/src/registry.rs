//! Owns `meta.redb`: which model versions are registered and which one is active.
//!
//! ```text
//! models   (id, version)  -> envelope(postcard ModelEntry)
//! active   id             -> envelope(version u32)
//! ```
//!
//! Which version is active is kept in one place, so that switching it rewrites no entry; the
//! entry's own flag is set when it is read. Refuses to know model files. Bound: all entries are
//! read at once, they are few.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use redb::{ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use truststram_base::{ModelEntry, ModelId, ModelVersion};

use crate::database_file::DatabaseFile;
use crate::disk::Disk;
use crate::envelope::{self, HEADER_BYTES, model_context};
use crate::error::{Damage, StoreError};
use crate::options::OLD_FILE_CACHE_BYTES;

pub(crate) const MODELS: TableDefinition<(&str, u32), &[u8]> = TableDefinition::new("models");
const ACTIVE: TableDefinition<&str, &[u8]> = TableDefinition::new("active");

const ACTIVE_BYTES: usize = HEADER_BYTES + size_of::<u32>();

/// Separates the contexts of the two tables.
const ACTIVE_CONTEXT: u64 = u64::MAX;

type Row<K> = (K, Vec<u8>);

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
        let (id, version) = (entry.id.as_str(), entry.version.0);
        let mut frame = vec![0; HEADER_BYTES];
        postcard::to_io(entry, &mut frame).map_err(|source| StoreError::ModelEncoding {
            id: entry.id.clone(),
            version: entry.version,
            source,
        })?;
        envelope::seal(model_context(&entry.id, version.into()), &mut frame);
        let active: [u8; ACTIVE_BYTES] =
            envelope::frame(model_context(&entry.id, ACTIVE_CONTEXT), &version.to_le_bytes());
        let is_new = self.file.with(|database| {
            let transaction = database.begin_write()?;
            {
                let mut models = transaction.open_table(MODELS)?;
                if models.get((id, version))?.is_some() {
                    return Ok(false);
                }
                models.insert((id, version), &frame[..])?;
                if entry.active {
                    transaction.open_table(ACTIVE)?.insert(id, &active[..])?;
                }
            }
            transaction.commit()?;
            Ok(true)
        })?;
        if is_new {
            Ok(())
        } else {
            Err(StoreError::ModelExists { id: entry.id.clone(), version: entry.version })
        }
    }

    /// Every entry, by id and version.
    pub(crate) fn all(&self) -> Result<Vec<ModelEntry>, StoreError> {
        self.read(None)
    }

    /// The entries of one model, by version.
    pub(crate) fn versions(&self, id: &ModelId) -> Result<Vec<ModelEntry>, StoreError> {
        self.read(Some(id.as_str()))
    }

    fn read(&self, only: Option<&str>) -> Result<Vec<ModelEntry>, StoreError> {
        let (models, active) = self.file.with(|database| read_rows(database, only))?;
        let mut active_versions = BTreeMap::new();
        for (id, frame) in active {
            let version = decode_active(&id, &frame)
                .map_err(|damage| self.file.corrupt("active", id.clone(), damage))?;
            active_versions.insert(id, version);
        }
        let decode = |((id, version), frame): Row<(String, u32)>| {
            let mut entry = decode_model(&id, version, &frame).map_err(|damage| {
                self.file.corrupt("models", format!("({id}, {version})"), damage)
            })?;
            entry.active = active_versions.get(&id) == Some(&entry.version);
            Ok(entry)
        };
        models.into_iter().map(decode).collect()
    }
}

fn create_tables(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(MODELS)?;
    transaction.open_table(ACTIVE)?;
    Ok(())
}

type Rows = (Vec<Row<(String, u32)>>, Vec<Row<String>>);

/// Both tables in one transaction, for one id or for all.
fn read_rows(database: &redb::Database, only: Option<&str>) -> Result<Rows, redb::Error> {
    let transaction = database.begin_read()?;
    let models = transaction.open_table(MODELS)?;
    let range: RangeInclusive<(&str, u32)> = match only {
        Some(id) => (id, 0)..=(id, u32::MAX),
        None => ("", 0)..=(LAST_TEXT, u32::MAX),
    };
    let mut model_rows = Vec::new();
    for row in models.range(range)? {
        let (key, value) = row?;
        let (id, version) = key.value();
        model_rows.push(((id.to_owned(), version), value.value().to_vec()));
    }
    let mut active_rows = Vec::new();
    for row in transaction.open_table(ACTIVE)?.iter()? {
        let (key, value) = row?;
        active_rows.push((key.value().to_owned(), value.value().to_vec()));
    }
    Ok((model_rows, active_rows))
}

/// Model ids are ASCII, so this is above all of them.
const LAST_TEXT: &str = "\u{10ffff}";

fn decode_active(id: &str, frame: &[u8]) -> Result<ModelVersion, Damage> {
    let body = envelope::open(envelope::context(&[id], ACTIVE_CONTEXT), frame)?;
    Ok(ModelVersion(u32::from_le_bytes(body.try_into().map_err(|_| Damage::Length)?)))
}

fn decode_model(id: &str, version: u32, frame: &[u8]) -> Result<ModelEntry, Damage> {
    let body = envelope::open(envelope::context(&[id], version.into()), frame)?;
    postcard::from_bytes(body).map_err(|_| Damage::Value)
}
