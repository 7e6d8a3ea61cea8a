//! Owns the making of a backup while the store goes on.
//!
//! Month files are copied entry by entry from one state of each, so that the copies have no holes.
//! The other databases are copied as they are while nobody may write to them, and closed, so that
//! nothing needs repair. The log is not copied: a checkpoint moves its rows into the month files
//! first. What is committed later is not in the backup.
//! Refuses to know schedules. Bound: one file at a time.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::{BackupFormat, Manifest, ManifestFile, OnProgress, copy_file, pack, sum_of};
use super::copy::copy_all;
use super::month::failed;
use super::{BackupProgress, BackupReport};
use crate::database_file::{DatabaseFile, FORMAT, catch, unfinished};
use crate::disk::HostDisk;
use crate::error::{BackupProblem, StoreError};
use crate::month::Month;
use crate::month_file::MonthFile;
use crate::options::OLD_FILE_CACHE_BYTES;
use crate::store::Store;

/// Directories below the store's whose files never change once they are there.
const COPIED: [&str; 3] = ["models", "plugins", FEDERATIONS];
/// Where federations keep updates and models. Some go while others are copied: what a record still
/// names of them is done without by the federation that is taken up from a backup.
const FEDERATIONS: &str = "fl";
/// What arrives there and is of use to nobody else, below the folder of a federation.
const ARRIVING: [&str; 2] = ["arriving", "partial"];

impl Store {
    /// Copies everything that is committed now to `target`, which must not exist. It appears there
    /// only when it is whole.
    ///
    /// # Errors
    /// [`StoreError::Backup`] if something is there already, or `on_progress` ended it; nothing is
    /// left then.
    pub fn backup(
        &self,
        target: &Path,
        format: BackupFormat,
        on_progress: &mut dyn FnMut(&BackupProgress) -> bool,
    ) -> Result<BackupReport, StoreError> {
        let problem = |problem| StoreError::Backup { path: target.to_owned(), problem };
        if target.exists() {
            return Err(problem(BackupProblem::Exists));
        }
        self.checkpoint()?;
        let directory = unfinished(target);
        let packed = unfinished(&directory);
        let remove = || {
            let _ = fs::remove_dir_all(&directory);
            let _ = fs::remove_file(&packed);
        };
        // What an earlier one left.
        remove();
        let made = self.collect(&directory, on_progress).and_then(|manifest| {
            let Some(manifest) = manifest else { return Err(problem(BackupProblem::Ended)) };
            manifest.write(&directory)?;
            match format {
                BackupFormat::Directory => {
                    fs::rename(&directory, target).map_err(failed("rename", &directory))?;
                }
                BackupFormat::Tar => {
                    pack(&directory, &manifest, &packed)?;
                    fs::rename(&packed, target).map_err(failed("rename", &packed))?;
                }
            }
            sync_parent(target)?;
            Ok(manifest)
        });
        remove();
        let manifest = made?;
        Ok(BackupReport {
            files: manifest.files.len() as u64,
            bytes: manifest.files.iter().map(|file| file.bytes).sum(),
            rows: manifest.rows,
            path: target.to_owned(),
        })
    }

    /// Puts all files into `to`; `None` if it was ended.
    fn collect(
        &self,
        to: &Path,
        on_progress: OnProgress<'_>,
    ) -> Result<Option<Manifest>, StoreError> {
        let months = self.core.files.between(i64::MIN, i64::MAX);
        let databases = [&self.registry.file, &self.datasets.file, &self.decisions.file];
        let listed_now = || {
            COPIED.iter().try_fold(Vec::new(), |mut found, name| {
                list_files(&self.directory, name, &mut found)?;
                Ok::<_, StoreError>(found)
            })
        };
        let others = listed_now()?;
        let bytes_total = months.iter().map(|(_, file)| file.file.bytes()).sum::<u64>()
            + databases.iter().map(|file| file.bytes()).sum::<u64>()
            + others
                .iter()
                .map(|name| self.core.disk.bytes(&self.directory.join(name)))
                .sum::<u64>();
        let mut progress = BackupProgress { bytes: 0, bytes_total };
        let mut manifest = Manifest {
            manifest: 1,
            format: FORMAT,
            created_us: self.core.clock.utc_us(),
            rows: 0,
            files: Vec::new(),
        };
        let mut on_bytes = |count: u64| {
            progress.bytes = (progress.bytes + count).min(progress.bytes_total);
            on_progress(&progress)
        };
        for (month, file) in &months {
            let name = format!("predictions/{}", month.file_name());
            let before = file.file.bytes();
            let Some(rows) = copy_month(*month, file, &to.join(&name))? else { return Ok(None) };
            manifest.rows += rows;
            manifest.files.push(listed(to, name)?);
            if !on_bytes(before) {
                return Ok(None);
            }
        }
        for file in databases {
            let path = file.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            copy_database(file, &to.join(&name))?;
            manifest.files.push(listed(to, name)?);
            if !on_bytes(file.bytes()) {
                return Ok(None);
            }
        }
        // What the databases name is there by now, whenever it came.
        for name in listed_now()? {
            let from = self.directory.join(&name);
            if name.starts_with(FEDERATIONS) && !from.exists() {
                continue;
            }
            let copied = copy_file(&from, &to.join(&name), &mut on_bytes);
            let copied = match copied {
                Err(_) if name.starts_with(FEDERATIONS) && !from.exists() => continue,
                other => other?,
            };
            let Some((bytes, sha256)) = copied else { return Ok(None) };
            manifest.files.push(ManifestFile { path: name, bytes, sha256 });
        }
        Ok(Some(manifest))
    }
}

fn listed(directory: &Path, path: String) -> Result<ManifestFile, StoreError> {
    let (bytes, sha256) = sum_of(&directory.join(&path))?;
    Ok(ManifestFile { path, bytes, sha256 })
}

/// Copies one state of a month's file, and returns its rows.
fn copy_month(month: Month, file: &Arc<MonthFile>, to: &Path) -> Result<Option<u64>, StoreError> {
    let directory = to.parent().unwrap_or(to);
    fs::create_dir_all(directory).map_err(failed("create", directory))?;
    let mut database = file.file.create_database(to)?;
    let snapshot = file.snapshot()?;
    let copied = catch(|| {
        let is_whole = copy_all(&snapshot.transaction, &database, &mut |_| true)?;
        database.compact()?;
        database.close()?;
        Ok(is_whole)
    });
    if !copied.map_err(|source| file.file.failed(source))? {
        return Ok(None);
    }
    let rows = snapshot.rows()?;
    tracing::debug!(%month, rows, "month copied");
    Ok(Some(rows))
}

/// Copies a database file while no transaction writes to it, and closes the copy properly.
fn copy_database(file: &DatabaseFile, to: &Path) -> Result<(), StoreError> {
    let path = file.path();
    let copied = file.with(|database| {
        // Nothing is committed as long as this lives, and everything before is on the disk.
        let transaction = database.begin_write()?;
        let copied = copy_file(&path, to, |_| true);
        transaction.abort()?;
        Ok(copied)
    })?;
    copied?;
    let copy =
        DatabaseFile::new(to.to_owned(), OLD_FILE_CACHE_BYTES, Arc::new(HostDisk), |_| Ok(()));
    copy.with(|_| Ok(()))?;
    copy.close()
}

/// The files below `name`, as paths below `directory`.
fn list_files(directory: &Path, name: &str, found: &mut Vec<String>) -> Result<(), StoreError> {
    let path: PathBuf = directory.join(name);
    if !path.is_dir() {
        if path.is_file() {
            found.push(name.to_owned());
        }
        return Ok(());
    }
    let is_arriving = ARRIVING.iter().any(|arriving| path.ends_with(arriving));
    if name.starts_with(FEDERATIONS) && is_arriving {
        return Ok(());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(&path).map_err(failed("list", &path))? {
        let entry = entry.map_err(failed("list", &path))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    names.iter().try_for_each(|below| list_files(directory, &format!("{name}/{below}"), found))
}

pub(super) fn sync_parent(path: &Path) -> Result<(), StoreError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed("sync", parent))
}
