//! Owns what is done to one month: compaction, moving it to a tier, dropping it.
//!
//! A compaction copies the file while rows come in, then holds new runs back for as long as the
//! rest takes to copy, and puts the new file in the place of the old. Readers that are under way
//! keep the file that they have.
//! Refuses to know how often. Bound: one month, on the caller's thread.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use super::copy::{copy_all, copy_tail};
use super::{CompactProgress, CompactedMonth, DroppedMonth};
use crate::core::Core;
use crate::database_file::{catch, unfinished};
use crate::error::StoreError;
use crate::month::Month;
use crate::month_file::MonthFile;
use crate::store::Store;

/// A day, in microseconds.
const DAY_US: i64 = 86_400_000_000;

impl Store {
    /// Writes every month's file anew without holes, while the store goes on; one that is compact
    /// already is left alone. Ends when `on_progress` says so, with what was done until then.
    ///
    /// # Errors
    /// If a file cannot be read or written; the old one stays then.
    pub fn compact(
        &self,
        on_progress: &mut dyn FnMut(&CompactProgress) -> bool,
    ) -> Result<Vec<CompactedMonth>, StoreError> {
        let mut done = Vec::new();
        for (month, file) in self.core.files.between(i64::MIN, i64::MAX) {
            let Some(directory) = file.file.path().parent().map(Path::to_owned) else { continue };
            match rewrite(&self.core, month, &file, &directory, on_progress)? {
                Some(compacted) => done.push(compacted),
                None => break,
            }
        }
        Ok(done)
    }

    /// Moves months to the tiers of their age, and returns them. `on_progress` as for
    /// [`Store::compact`].
    ///
    /// # Errors
    /// As [`Store::compact`].
    pub fn move_to_tiers(
        &self,
        on_progress: &mut dyn FnMut(&CompactProgress) -> bool,
    ) -> Result<Vec<CompactedMonth>, StoreError> {
        let now_us = self.core.clock.utc_us();
        let mut done = Vec::new();
        for (month, file) in self.core.files.between(i64::MIN, now_us) {
            let age_days = now_us.saturating_sub(month.end_us()).div_euclid(DAY_US);
            let oldest = self.tiers.iter().rfind(|tier| age_days >= i64::from(tier.after_days));
            let Some(tier) = oldest else { continue };
            if file.file.path().parent() == Some(&tier.directory) {
                continue;
            }
            match rewrite(&self.core, month, &file, &tier.directory, on_progress)? {
                Some(moved) => done.push(moved),
                None => break,
            }
        }
        Ok(done)
    }

    /// Drops a month, named YYYYMM, with all its rows: one removal of a file, however large it is.
    /// Readers that are under way keep what they have.
    ///
    /// # Errors
    /// [`StoreError::MonthUnknown`] if there is no such month.
    pub fn drop_month(&self, month: &str) -> Result<DroppedMonth, StoreError> {
        // Rows of the month that are still in the log are to go too, or they come back when it is
        // read again. A full disk must not keep anybody from making room.
        if let Err(error) = self.clear_log() {
            tracing::warn!(%error, "rows of the month that are in the log outlive it");
        }
        let files = self.core.files.between(i64::MIN, i64::MAX);
        let found = files.into_iter().find(|(of, _)| of.to_string() == month);
        let Some((month, file)) = found else {
            return Err(StoreError::MonthUnknown { month: month.chars().take(32).collect() });
        };
        let _writing = file.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // A damaged month can be dropped too; nobody can say then what it had.
        let rows = file.snapshot().and_then(|month| month.rows()).unwrap_or_else(|error| {
            tracing::warn!(%month, %error, "the rows of a damaged month are not counted");
            0
        });
        let (path, bytes) = (file.file.path(), file.file.bytes());
        self.core.files.take(month);
        file.file.close()?;
        let disk = &self.core.disk;
        disk.remove(&path).map_err(failed("remove", &path))?;
        if let Some(directory) = path.parent() {
            disk.sync_dir(directory).map_err(failed("sync", directory))?;
        }
        tracing::info!(%month, rows, bytes, "month dropped");
        Ok(DroppedMonth { month: month.to_string(), bytes, rows })
    }

    /// Drops the months that ended more than `days` ago.
    ///
    /// # Errors
    /// As [`Store::drop_month`]; months before the failing one are dropped.
    pub fn drop_months_older_than(&self, days: u32) -> Result<Vec<DroppedMonth>, StoreError> {
        let before_us = self.core.clock.utc_us().saturating_sub(i64::from(days) * DAY_US);
        let months = self.core.files.between(i64::MIN, before_us);
        let old = months.iter().filter(|(month, _)| month.end_us() <= before_us);
        old.map(|(month, _)| self.drop_month(&month.to_string())).collect()
    }
}

/// Writes the file anew in `directory`; `None` if `on_progress` ended it.
fn rewrite(
    core: &Core,
    month: Month,
    file: &Arc<MonthFile>,
    directory: &Path,
    on_progress: &mut dyn FnMut(&CompactProgress) -> bool,
) -> Result<Option<CompactedMonth>, StoreError> {
    let disk = &core.disk;
    let old_path = file.file.path();
    let path = directory.join(month.file_name());
    let unfinished = unfinished(&path);
    disk.create_dir(directory).map_err(failed("create", directory))?;
    if disk.exists(&unfinished).map_err(failed("find", &unfinished))? {
        disk.remove(&unfinished).map_err(failed("remove", &unfinished))?;
    }
    let bytes_before = file.file.bytes();
    let mut database = file.file.create_database(&unfinished)?;
    let mut progress = CompactProgress { month: month.to_string(), segments: 0 };
    let mut on_entries = |count| {
        progress.segments += count;
        on_progress(&progress)
    };
    let refused = |source| file.file.failed(source);
    let first = file.snapshot()?;
    if !catch(|| copy_all(&first.transaction, &database, &mut on_entries)).map_err(refused)? {
        drop(database);
        disk.remove(&unfinished).map_err(failed("remove", &unfinished))?;
        return Ok(None);
    }
    // From here on no run is added, until the new file is in its place.
    let _writing = file.writing.lock().unwrap_or_else(PoisonError::into_inner);
    let last = file.snapshot()?;
    let finished = catch(|| {
        if last.next_sequence > first.next_sequence {
            copy_tail(&last.transaction, &database, first.next_sequence)?;
        }
        database.compact()?;
        Ok(database.close()?)
    });
    finished.map_err(refused)?;
    drop((first, last));
    file.file.exchange(|_| {
        disk.rename(&unfinished, &path).map_err(failed("rename", &unfinished))?;
        disk.sync_dir(directory).map_err(failed("sync", directory))?;
        if path != old_path {
            disk.remove(&old_path).map_err(failed("remove", &old_path))?;
            if let Some(parent) = old_path.parent() {
                disk.sync_dir(parent).map_err(failed("sync", parent))?;
            }
        }
        Ok(path.clone())
    })?;
    let bytes_after = file.file.bytes();
    tracing::info!(%month, bytes_before, bytes_after, path = %path.display(), "month rewritten");
    Ok(Some(CompactedMonth { month: month.to_string(), bytes_before, bytes_after }))
}

/// What an error of the file system becomes.
pub(super) fn failed(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { action, path, source }
}
