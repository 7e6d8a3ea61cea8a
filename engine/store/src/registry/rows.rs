//! Owns how a registered version and the mark of the active one are put into bytes and read back.
//!
//! Every value is read through its checksum. Refuses to know the indexes.
//! Bound: one entry, or those of the range that the caller gives.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use redb::{Range, ReadableTable, TableDefinition};
use truststram_base::{ModelEntry, ModelVersion};

use crate::database_file::DatabaseFile;
use crate::envelope::{self, HEADER_BYTES, model_context};
use crate::error::{Damage, StoreError};
use crate::stop::Stop;

pub(crate) type RowKey = (&'static str, u32);

pub(crate) const MODELS: TableDefinition<RowKey, &[u8]> = TableDefinition::new("models");
pub(crate) const ACTIVE: TableDefinition<&str, &[u8]> = TableDefinition::new("active");

const ACTIVE_BYTES: usize = HEADER_BYTES + size_of::<u32>();

/// Separates the contexts of the two tables.
const ACTIVE_CONTEXT: u64 = u64::MAX;

/// Texts in keys are free of this character and of all above it, because no such character is
/// assigned.
pub(crate) const LAST_TEXT: &str = "\u{10ffff}";

/// All keys of the rows.
pub(crate) fn every_key() -> RangeInclusive<(&'static str, u32)> {
    ("", 0)..=(LAST_TEXT, u32::MAX)
}

/// The frame of an entry.
pub(crate) fn encode(entry: &ModelEntry) -> Result<Vec<u8>, StoreError> {
    let mut frame = vec![0; HEADER_BYTES];
    postcard::to_io(entry, &mut frame).map_err(|source| StoreError::ModelEncoding {
        id: entry.id.clone(),
        version: entry.version,
        source,
    })?;
    envelope::seal(model_context(&entry.id, entry.version.0.into()), &mut frame);
    Ok(frame)
}

/// The entry in `frame`. Whether it is active is for the caller to say.
pub(crate) fn decode((id, version): (&str, u32), frame: &[u8]) -> Result<ModelEntry, Damage> {
    let body = envelope::open(envelope::context(&[id], version.into()), frame)?;
    let entry: ModelEntry = postcard::from_bytes(body).map_err(|_| Damage::Value)?;
    if (entry.id.as_str(), entry.version.0) != (id, version) {
        return Err(Damage::Value);
    }
    Ok(entry)
}

/// The frame of the mark of an active version.
pub(crate) fn encode_active(id: &str, version: ModelVersion) -> [u8; ACTIVE_BYTES] {
    envelope::frame(envelope::context(&[id], ACTIVE_CONTEXT), &version.0.to_le_bytes())
}

/// The version in the mark of the active one.
pub(crate) fn decode_active(id: &str, frame: &[u8]) -> Result<ModelVersion, Damage> {
    let body = envelope::open(envelope::context(&[id], ACTIVE_CONTEXT), frame)?;
    Ok(ModelVersion(u32::from_le_bytes(body.try_into().map_err(|_| Damage::Length)?)))
}

/// The error of a row that is not what was written.
pub(crate) fn corrupt(file: &DatabaseFile, key: (&str, u32), damage: Damage) -> StoreError {
    file.corrupt("models", format!("{key:?}"), damage)
}

/// The active version of a model, if it has one.
pub(crate) fn active_version(
    file: &DatabaseFile,
    active: &impl ReadableTable<&'static str, &'static [u8]>,
    id: &str,
) -> Result<Option<ModelVersion>, Stop> {
    let Some(frame) = active.get(id)? else { return Ok(None) };
    let version = decode_active(id, frame.value())
        .map_err(|damage| file.corrupt("active", id.to_owned(), damage))?;
    Ok(Some(version))
}

/// One entry, with its flag as `active` has it.
pub(crate) fn get(
    file: &DatabaseFile,
    models: &impl ReadableTable<RowKey, &'static [u8]>,
    active: &impl ReadableTable<&'static str, &'static [u8]>,
    key: (&str, u32),
) -> Result<Option<ModelEntry>, Stop> {
    let Some(frame) = models.get(key)? else { return Ok(None) };
    let mut entry = decode(key, frame.value()).map_err(|damage| corrupt(file, key, damage))?;
    entry.active = active_version(file, active, key.0)? == Some(entry.version);
    Ok(Some(entry))
}

/// The entries of a range of rows, each with its flag as `active` has it.
pub(crate) fn decode_range(
    file: &DatabaseFile,
    range: Range<'_, RowKey, &'static [u8]>,
    active: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Vec<ModelEntry>, Stop> {
    let mut active_versions = BTreeMap::new();
    let mut entries = Vec::new();
    for row in range {
        let (key, frame) = row?;
        let key = key.value();
        let mut entry = decode(key, frame.value()).map_err(|damage| corrupt(file, key, damage))?;
        if !active_versions.contains_key(&entry.id) {
            active_versions.insert(entry.id.clone(), active_version(file, active, key.0)?);
        }
        entry.active = active_versions.get(&entry.id) == Some(&Some(entry.version));
        entries.push(entry);
    }
    Ok(entries)
}
