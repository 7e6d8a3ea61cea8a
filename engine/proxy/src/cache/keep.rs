//! Owns what goes into both tiers and out of them.
//!
//! Refuses to judge responses. Bound: those of the tiers.

use std::sync::Arc;

use super::asked::Asked;
use super::disk::{Disk, DiskSpec};
use super::memory::{Found, Purge};
use super::serve::Cache;
use super::stored::Stored;
use crate::error::ProxyError;

/// What the disk tier holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskFigures {
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Requests that found a response there.
    pub read: u64,
    /// Responses written.
    pub written: u64,
    /// Responses not written, since too many waited.
    pub dropped: u64,
    /// Files that could not be written, read or understood.
    pub failed: u64,
}

impl Cache {
    /// The same with a disk tier, which holds what memory has no room for, and what was there
    /// before a restart.
    ///
    /// # Errors
    /// Where the folder cannot be made, or no thread starts.
    pub fn with_disk(mut self, spec: DiskSpec) -> Result<Self, ProxyError> {
        self.disk = Some(Disk::start(spec, self.clock.clone())?);
        Ok(self)
    }

    /// What the disk tier holds and has done, if there is one.
    pub fn disk(&self) -> Option<DiskFigures> {
        let disk = self.disk.as_ref()?;
        let ((files, bytes), stats) = (disk.size(), disk.stats());
        Some(DiskFigures {
            files,
            bytes,
            read: stats.read.get(),
            written: stats.written.get(),
            dropped: stats.dropped.get(),
            failed: stats.failed.get(),
        })
    }

    /// Removes what `purge` names; returns how many keys that were in memory, or answers on disk
    /// where those are more.
    pub fn purge(&self, purge: Purge<'_>) -> usize {
        // First there, so that nothing comes back from there in between.
        let on_disk = self.disk.as_ref().map_or(0, |disk| disk.purge(purge));
        self.memory.purge(purge).max(on_disk)
    }

    /// Stores a response in the place of those that the request would have got.
    pub(super) fn keep(&self, asked: &Asked, stored: Arc<Stored>) {
        if let Some(disk) = &self.disk {
            disk.put(&asked.key, &stored);
        }
        self.memory.put(&asked.key, &asked.head.headers, stored);
    }

    /// Removes all responses of `key`.
    pub(super) fn forget(&self, key: &str) {
        if let Some(disk) = &self.disk {
            disk.remove(key);
        }
        self.memory.remove(key);
    }

    /// Counts a request, once, for what is not stored.
    pub(super) fn count(&self, asked: &mut Asked) {
        let counts = asked.rules.uses_min > 1 && asked.use_number.is_none();
        let is_on_disk = || self.disk.as_ref().is_some_and(|disk| disk.has(&asked.key));
        if counts && !self.memory.has(&asked.key) && !is_on_disk() {
            asked.use_number = Some(self.uses.count(&asked.key));
        }
    }

    /// What there is for a request, which is counted where there is nothing.
    pub(super) async fn find(&self, asked: &mut Asked, is_looked_up: &mut bool) -> Found {
        let found = self.look_up(asked, is_looked_up).await;
        if matches!(found, Found::Nothing) {
            self.count(asked);
        }
        found
    }

    /// What there is in memory, or on disk, unless that was looked up before.
    async fn look_up(&self, asked: &Asked, is_looked_up: &mut bool) -> Found {
        let (key, headers) = (&asked.key, &asked.head.headers);
        let found = self.memory.find(key, headers);
        let Some(disk) = self.disk.as_ref().filter(|_| !*is_looked_up) else { return found };
        if !matches!(found, Found::Nothing) {
            return found;
        }
        *is_looked_up = true;
        let restored = disk.read(key, |stored| self.memory.restore(key, stored)).await;
        restored.map_or(found, |variants| Found::among(&variants, headers))
    }
}
