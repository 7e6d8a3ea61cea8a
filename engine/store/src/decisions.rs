//! Owns `decisions.redb`: recorded runs of the decisions of policies.
//!
//! ```text
//! runs   (plugin, sequence)  -> envelope(bytes of the run)
//! ```
//!
//! Sequences of a plugin are consecutive, so that the last and the first say how many runs there
//! are. Refuses to know what a run holds. Bound: as many of the newest runs of each plugin as the
//! caller keeps.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use redb::{ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::database_file::DatabaseFile;
use crate::disk::Disk;
use crate::envelope::{self, HEADER_BYTES};
use crate::error::StoreError;
use crate::options::OLD_FILE_CACHE_BYTES;

const RUNS: TableDefinition<(&str, u64), &[u8]> = TableDefinition::new("runs");

/// The recorded runs.
pub(crate) struct Decisions {
    pub(crate) file: DatabaseFile,
}

impl Decisions {
    /// Opens or creates the file.
    pub(crate) fn open(path: PathBuf, disk: Arc<dyn Disk>) -> Result<Self, StoreError> {
        let file = DatabaseFile::new(path, OLD_FILE_CACHE_BYTES, disk, create_tables);
        file.with(|_| Ok(()))?;
        Ok(Self { file })
    }

    /// Adds runs of plugins in one transaction and removes the oldest beyond `runs_max` of each.
    pub(crate) fn append(
        &self,
        runs: &[(String, Vec<u8>)],
        runs_max: u64,
    ) -> Result<(), StoreError> {
        self.file.with(|database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(RUNS)?;
                for (plugin, run) in runs {
                    let last = table.range(all_of(plugin))?.next_back().transpose()?;
                    let sequence = last.map_or(0, |(key, _)| key.value().1 + 1);
                    let mut frame = vec![0; HEADER_BYTES];
                    frame.extend_from_slice(run);
                    envelope::seal(envelope::context(&[plugin], sequence), &mut frame);
                    table.insert((plugin.as_str(), sequence), &frame[..])?;
                    let kept_from = (sequence + 1).saturating_sub(runs_max);
                    let first = table.range(all_of(plugin))?.next().transpose()?;
                    let oldest = first.map_or(sequence, |(key, _)| key.value().1);
                    for superfluous in oldest..kept_from {
                        table.remove((plugin.as_str(), superfluous))?;
                    }
                }
            }
            transaction.commit()?;
            Ok(())
        })
    }

    /// The newest runs of a plugin, at most `limit`, the oldest of them first.
    pub(crate) fn newest(&self, plugin: &str, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let frames = self.file.with(|database| {
            let table = database.begin_read()?.open_table(RUNS)?;
            let mut frames = Vec::new();
            for row in table.range(all_of(plugin))?.rev().take(limit) {
                let (key, frame) = row?;
                frames.push((key.value().1, frame.value().to_vec()));
            }
            Ok(frames)
        })?;
        let body = |(sequence, frame): &(u64, Vec<u8>)| {
            let body = envelope::open(envelope::context(&[plugin], *sequence), frame);
            body.map(<[u8]>::to_vec).map_err(|damage| {
                self.file.corrupt("runs", format!("({plugin}, {sequence})"), damage)
            })
        };
        frames.iter().rev().map(body).collect()
    }

    /// Reads every run.
    pub(crate) fn verify(&self) -> Result<(), StoreError> {
        let plugins = self.file.with(|database| {
            let table = database.begin_read()?.open_table(RUNS)?;
            let names = table.iter()?.map(|row| Ok(row?.0.value().0.to_owned()));
            names.collect::<Result<std::collections::BTreeSet<String>, redb::Error>>()
        })?;
        plugins.iter().try_for_each(|plugin| self.newest(plugin, usize::MAX).map(drop))
    }
}

fn all_of(plugin: &str) -> RangeInclusive<(&str, u64)> {
    (plugin, 0)..=(plugin, u64::MAX)
}

fn create_tables(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(RUNS)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::HostDisk;

    #[test]
    fn the_newest_runs_of_each_plugin_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("decisions.redb");
        let open = || Decisions::open(path.clone(), Arc::new(HostDisk)).unwrap();
        let decisions = open();
        assert_eq!(decisions.newest("a", 10).unwrap(), Vec::<Vec<u8>>::new());
        for round in 0..10_u8 {
            let runs = [("a", vec![round]), ("b", vec![round, 1]), ("a", vec![round; 2])];
            let runs = runs.map(|(plugin, run)| (plugin.to_owned(), run));
            decisions.append(&runs, 3).unwrap();
        }
        decisions.file.close().unwrap();
        let decisions = open();
        assert_eq!(decisions.newest("a", 10).unwrap(), [vec![8; 2], vec![9], vec![9; 2]]);
        assert_eq!(decisions.newest("a", 2).unwrap(), [vec![9], vec![9; 2]]);
        assert_eq!(decisions.newest("b", 10).unwrap(), [[7, 1], [8, 1], [9, 1]]);
        decisions.append(&[("a".to_owned(), vec![])], 1).unwrap();
        assert_eq!(decisions.newest("a", 10).unwrap(), [Vec::<u8>::new()]);
    }

    #[test]
    fn a_damaged_run_is_reported_and_not_served() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("decisions.redb");
        let decisions = Decisions::open(path, Arc::new(HostDisk)).unwrap();
        decisions.append(&[("a".to_owned(), vec![1, 2, 3])], 9).unwrap();
        decisions
            .file
            .with(|database| {
                let transaction = database.begin_write()?;
                {
                    let mut table = transaction.open_table(RUNS)?;
                    let mut frame = table.get(("a", 0))?.unwrap().value().to_vec();
                    frame[HEADER_BYTES] ^= 1;
                    table.insert(("a", 0), &frame[..])?;
                }
                transaction.commit()?;
                Ok(())
            })
            .unwrap();
        let error = decisions.newest("a", 1).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { table: "runs", .. }), "{error}");
    }
}
