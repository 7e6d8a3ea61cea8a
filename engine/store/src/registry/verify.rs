//! Owns the comparison of the indexes with the rows, both ways, and making the indexes again.
//!
//! Rows are what is true. An index entry that no row gives, a missing one and a different one are
//! each reported; entries of a row that cannot be read are left out, since nobody knows what they
//! should be. Refuses to know queries. Bound: the entries of all indexes in memory.

use std::collections::BTreeSet;

use redb::{ReadTransaction, ReadableTable, TableError};
use truststram_base::ModelEntry;

use super::Registry;
use super::index::{self, Entries, Index, IndexKey};
use super::rows::{self, ACTIVE, MODELS};
use super::serving::{self, SERVING};
use super::shelf;
use crate::disagreement::{Disagreement, Found};
use crate::envelope;
use crate::error::StoreError;
use crate::stop::{self, Stop};

/// What the rows say.
#[derive(Default)]
struct Truth {
    entries: Entries,
    /// Versions whose entries are unknown.
    unreadable: BTreeSet<(String, u32)>,
    /// Models of which it is unknown which version is active.
    unknown_active: BTreeSet<String>,
}

impl Registry {
    /// Everything in the file that does not agree; nothing if all is well.
    pub(crate) fn verify(&self) -> Result<Vec<Disagreement>, StoreError> {
        stop::read(&self.file, |_, transaction| {
            let mut found = Found::default();
            let truth = read_rows(transaction, &mut found)?;
            for index in Index::ALL {
                compare(transaction, index, &truth, &mut found)?;
            }
            Ok(found.0)
        })
    }

    /// Makes all indexes again from the rows, in one transaction, and gives back how many entries
    /// they have.
    pub(crate) fn reindex(&self) -> Result<u64, StoreError> {
        stop::write(&self.file, |transaction| {
            let (models, active) =
                (transaction.open_table(MODELS)?, transaction.open_table(ACTIVE)?);
            let models = rows::decode_range(&self.file, models.range(rows::every_key())?, &active)?;
            drop(active);
            let mut count = 0;
            for index in Index::ALL {
                transaction.delete_table(index.table())?;
                transaction.open_table(index.table())?;
            }
            for model in &models {
                let key = (model.id.as_str(), model.version.0);
                let entries = index::entries(model)
                    .map_err(|damage| rows::corrupt(&self.file, key, damage))?;
                index::change(transaction, &Entries::new(), &entries)?;
                count += u64::try_from(entries.len()).unwrap_or(u64::MAX);
            }
            Ok(count)
        })
    }
}

fn read_rows(transaction: &ReadTransaction, found: &mut Found) -> Result<Truth, Stop> {
    let mut truth = Truth::default();
    let mut active_versions = BTreeSet::new();
    for row in transaction.open_table(ACTIVE)?.iter()? {
        let (key, frame) = row?;
        match rows::decode_active(key.value(), frame.value()) {
            Ok(version) => {
                active_versions.insert((key.value().to_owned(), version.0));
            }
            Err(damage) => {
                truth.unknown_active.insert(key.value().to_owned());
                let key = key.value().to_owned();
                found.add(Disagreement::Damaged { table: "active", key, damage });
            }
        }
    }
    let mut registered = BTreeSet::new();
    for row in transaction.open_table(MODELS)?.iter()? {
        let (key, frame) = row?;
        let (id, version) = key.value();
        let owned = (id.to_owned(), version);
        let entries = rows::decode((id, version), frame.value()).and_then(|entry| {
            index::entries(&ModelEntry { active: active_versions.contains(&owned), ..entry })
        });
        match entries {
            Ok(entries) => truth.entries.extend(entries),
            Err(damage) => {
                truth.unreadable.insert(owned.clone());
                let key = format!("{:?}", (id, version));
                found.add(Disagreement::Damaged { table: "models", key, damage });
            }
        }
        registered.insert(owned);
    }
    for (id, _) in active_versions.difference(&registered) {
        found.add(Disagreement::Stray { table: "active", key: id.clone() });
    }
    check_serving(transaction, &registered, found)?;
    shelf::check(transaction, found)?;
    Ok(truth)
}

/// Checks that what is made of versions is readable and about registered ones.
fn check_serving(
    transaction: &ReadTransaction,
    registered: &BTreeSet<(String, u32)>,
    found: &mut Found,
) -> Result<(), Stop> {
    let table = match transaction.open_table(SERVING) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        table => table?,
    };
    for row in table.iter()? {
        let (key, frame) = row?;
        let key = key.value().to_owned();
        match serving::decode(&key, frame.value()) {
            Err(damage) => found.add(Disagreement::Damaged { table: "serving", key, damage }),
            Ok(serving) => {
                let mut versions = serving.versions();
                if versions.any(|version| !registered.contains(&(key.clone(), version.0))) {
                    found.add(Disagreement::Stray { table: "serving", key });
                }
            }
        }
    }
    Ok(())
}

fn compare(
    transaction: &ReadTransaction,
    index: Index,
    truth: &Truth,
    found: &mut Found,
) -> Result<(), Stop> {
    let table = index.name();
    let text = |key: &IndexKey| format!("{:?}", key.borrowed());
    let is_unknown = |key: &IndexKey| {
        truth.unknown_active.contains(&key.id)
            || truth.unreadable.contains(&(key.id.clone(), key.version))
    };
    let mut seen = BTreeSet::new();
    for entry in transaction.open_table(index.table())?.iter()? {
        let (key, frame) = entry?;
        let key = IndexKey::new(key.value());
        let sound = envelope::open(index::context(index, key.borrowed()), frame.value());
        let place = (index, key);
        let expected = truth.entries.get(&place);
        let key = text(&place.1);
        match (sound, expected) {
            (Err(damage), _) => found.add(Disagreement::Damaged { table, key, damage }),
            (Ok(_), Some(expected)) if expected == frame.value() => {}
            (Ok(_), _) if is_unknown(&place.1) => {}
            (Ok(_), Some(_)) => found.add(Disagreement::Differs { table, key }),
            (Ok(_), None) => found.add(Disagreement::Stray { table, key }),
        }
        if expected.is_some() {
            seen.insert(place);
        }
    }
    for place in truth.entries.keys().filter(|place| place.0 == index) {
        if !seen.contains(place) && !is_unknown(&place.1) {
            found.add(Disagreement::Missing { table, key: text(&place.1) });
        }
    }
    Ok(())
}
