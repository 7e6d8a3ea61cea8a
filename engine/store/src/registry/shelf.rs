//! Owns small records, of federations, of access and of trainings: bytes under names, changed
//! together.
//!
//! A file that was made before a table is the same as one with nothing in it. Refuses to know what
//! a record means. Bound: [`RECORD_BYTES_MAX`] for one; all are read at once.

use redb::{ReadTransaction, TableDefinition, TableError};

use super::Registry;
use crate::disagreement::{Disagreement, Found};
use crate::envelope::{self, HEADER_BYTES};
use crate::error::{Damage, StoreError};
use crate::stop::{self, Stop};

/// A table of small records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shelf {
    /// What a federation goes on from.
    Federation,
    /// Who may do what.
    Access,
    /// Jobs of training.
    Training,
}

/// Longest record; those of clients, tasks and keys have some hundred bytes.
const RECORD_BYTES_MAX: usize = 64 << 10;

impl Shelf {
    pub(super) const ALL: [Self; 3] = [Self::Federation, Self::Access, Self::Training];

    fn name(self) -> &'static str {
        match self {
            Self::Federation => "federation",
            Self::Access => "access",
            Self::Training => "training",
        }
    }

    pub(super) fn table(self) -> TableDefinition<'static, &'static str, &'static [u8]> {
        TableDefinition::new(self.name())
    }

    /// Separates the context of this table from those of the others.
    fn context(self) -> u64 {
        match self {
            Self::Federation => u64::MAX - 2,
            Self::Access => u64::MAX - 3,
            Self::Training => u64::MAX - 4,
        }
    }

    /// The record in `frame`.
    fn decode(self, name: &str, frame: &[u8]) -> Result<Vec<u8>, Damage> {
        envelope::open(envelope::context(&[name], self.context()), frame).map(<[u8]>::to_vec)
    }
}

/// Checks that all records are readable.
pub(super) fn check(transaction: &ReadTransaction, found: &mut Found) -> Result<(), Stop> {
    for shelf in Shelf::ALL {
        let table = match transaction.open_table(shelf.table()) {
            Err(TableError::TableDoesNotExist(_)) => continue,
            table => table?,
        };
        for row in table.range::<&str>(..)? {
            let (key, frame) = row?;
            let key = key.value().to_owned();
            if let Err(damage) = shelf.decode(&key, frame.value()) {
                found.add(Disagreement::Damaged { table: shelf.name(), key, damage });
            }
        }
    }
    Ok(())
}

impl Registry {
    /// Every record whose name begins so, by name.
    pub(crate) fn records(
        &self,
        shelf: Shelf,
        prefix: &str,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        stop::read(&self.file, |_, transaction| {
            let table = match transaction.open_table(shelf.table()) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let mut found = Vec::new();
            for row in table.range(prefix..)? {
                let (name, frame) = row?;
                let name = name.value().to_owned();
                if !name.starts_with(prefix) {
                    break;
                }
                let body = shelf.decode(&name, frame.value());
                let body =
                    body.map_err(|damage| self.file.corrupt(shelf.name(), name.clone(), damage))?;
                found.push((name, body));
            }
            Ok(found)
        })
    }

    /// Puts records, or removes those without bytes, in one transaction that is synced.
    pub(crate) fn change_records(
        &self,
        shelf: Shelf,
        changes: &[(String, Option<Vec<u8>>)],
    ) -> Result<(), StoreError> {
        let longest = changes.iter().filter_map(|(_, body)| body.as_ref()).map(Vec::len).max();
        if let Some(bytes) = longest.filter(|bytes| *bytes > RECORD_BYTES_MAX) {
            return Err(StoreError::RecordTooLarge { bytes, bytes_max: RECORD_BYTES_MAX });
        }
        stop::write(&self.file, |transaction| {
            let mut table = transaction.open_table(shelf.table())?;
            for (name, body) in changes {
                let Some(body) = body else {
                    table.remove(name.as_str())?;
                    continue;
                };
                let mut frame = vec![0; HEADER_BYTES];
                frame.extend_from_slice(body);
                envelope::seal(envelope::context(&[name], shelf.context()), &mut frame);
                table.insert(name.as_str(), &frame[..])?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use redb::ReadableTable;

    use super::*;
    use crate::disk::HostDisk;

    #[test]
    fn records_change_together_and_outlive_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let open =
            || Registry::open(directory.path().join("meta.redb"), Arc::new(HostDisk)).unwrap();
        let registry = open();
        assert_eq!(registry.records(Shelf::Federation, "digits/").unwrap(), []);
        let put = |name: &str, body: &[u8]| (name.to_owned(), Some(body.to_vec()));
        registry
            .change_records(
                Shelf::Federation,
                &[put("digits/job", b"1"), put("digits/task/7", b"x")],
            )
            .unwrap();
        registry.change_records(Shelf::Federation, &[put("other/job", b"2")]).unwrap();
        drop(registry);
        let registry = open();
        let changes = [put("digits/job", b"3"), ("digits/task/7".to_owned(), None)];
        registry.change_records(Shelf::Federation, &changes).unwrap();
        let found = registry.records(Shelf::Federation, "digits/").unwrap();
        assert_eq!(found, [("digits/job".to_owned(), b"3".to_vec())]);
        assert_eq!(registry.records(Shelf::Federation, "").unwrap().len(), 2);
        // One shelf knows nothing of the other.
        registry.change_records(Shelf::Access, &[put("key/1", b"k")]).unwrap();
        assert_eq!(registry.records(Shelf::Federation, "key/").unwrap(), []);
        assert_eq!(registry.records(Shelf::Access, "").unwrap().len(), 1);
        // One that is too long changes nothing of the others.
        let long = vec![0; RECORD_BYTES_MAX + 1];
        let refused =
            registry.change_records(Shelf::Federation, &[put("digits/job", b"4"), put("y", &long)]);
        assert!(matches!(refused, Err(StoreError::RecordTooLarge { .. })));
        assert_eq!(registry.records(Shelf::Federation, "digits/").unwrap(), found);
        assert_eq!(registry.verify().unwrap(), []);
    }

    #[test]
    fn damage_is_reported_and_not_served() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("meta.redb");
        let registry = Registry::open(path, Arc::new(HostDisk)).unwrap();
        registry
            .change_records(Shelf::Federation, &[("a/job".to_owned(), Some(b"1".to_vec()))])
            .unwrap();
        stop::write(&registry.file, |transaction| {
            let mut table = transaction.open_table(Shelf::Federation.table())?;
            let frame = table.get("a/job")?.map(|frame| frame.value().to_vec());
            table.insert("a/other", &frame.unwrap_or_default()[..])?;
            Ok(())
        })
        .unwrap();
        assert!(matches!(
            registry.records(Shelf::Federation, "a/"),
            Err(StoreError::Corrupt { .. })
        ));
        let damage = Damage::Checksum;
        let key = "a/other".to_owned();
        let expected = Disagreement::Damaged { table: "federation", key, damage };
        assert_eq!(registry.verify().unwrap(), [expected]);
    }
}
