//! Checking everything that is stored: that each value is what was written, that the indexes and
//! figures say what the rows say, and that no file has changed since the store was closed.
//!
//! Owns what a finding is. Refuses to repair. Bound: one segment in memory, some bytes for each
//! segment of a month, and the figures of a month.

mod month;
mod overlay;
mod seal;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use truststram_base::Clock;

pub(crate) use month::verify_months;
pub(crate) use seal::{BrokenSeal, Seal};

use crate::disagreement::Disagreement;
use crate::disk::Disk;
use crate::error::{Damage, StoreError};
use crate::options::{Applies, StoreOptions, Tier};
use crate::store::Store;
use overlay::OverlayDisk;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A stored value is not what was written.
    Damaged(Damage),
    /// An index lacks an entry that the rows call for.
    IndexLacks,
    /// An index has an entry that no row calls for.
    IndexExtra,
    /// An entry or a figure differs from what the rows say.
    Differs,
    /// A row is in the wrong place: another month, or out of order.
    Misplaced,
    /// The file has changed since the store was closed.
    Changed,
    /// The file was there when the store was closed.
    Missing,
    /// The file was not there when the store was closed.
    Unknown,
    /// The database below the tables does not agree with its own checksums.
    Integrity,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(damage) => write!(f, "{damage}"),
            Self::IndexLacks => f.write_str("the index lacks this entry"),
            Self::IndexExtra => f.write_str("no row calls for this entry"),
            Self::Differs => f.write_str("it differs from what the rows say"),
            Self::Misplaced => f.write_str("the row is in the wrong place"),
            Self::Changed => f.write_str("the file has changed since the store was closed"),
            Self::Missing => f.write_str("the file is gone since the store was closed"),
            Self::Unknown => f.write_str("the file was not there when the store was closed"),
            Self::Integrity => f.write_str("the database does not agree with its own checksums"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// The table in it; empty if it is about the whole file.
    pub table: &'static str,
    /// The key in the table, as text.
    pub key: String,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if !self.table.is_empty() {
            write!(f, " table {} key {}", self.table, self.key)?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl Finding {
    /// The finding that a disagreement in `path` is.
    pub(crate) fn of_disagreement(path: PathBuf, disagreement: Disagreement) -> Self {
        let (table, key, problem) = match disagreement {
            Disagreement::Damaged { table, key, damage } => (table, key, Problem::Damaged(damage)),
            Disagreement::Missing { table, key } => (table, key, Problem::IndexLacks),
            Disagreement::Differs { table, key } => (table, key, Problem::Differs),
            Disagreement::Stray { table, key } => (table, key, Problem::IndexExtra),
        };
        Self { path, table, key, problem }
    }

    /// The finding that an error is, if it is one.
    pub(crate) fn of_error(error: StoreError) -> Result<Self, StoreError> {
        match error {
            StoreError::Corrupt { path, table, key, damage } => {
                Ok(Self { path, table, key, problem: Problem::Damaged(damage) })
            }
            StoreError::Database { path, .. } if error.kind() == truststram_base::Kind::Corrupt => {
                let (table, key) = ("", String::new());
                Ok(Self { path, table, key, problem: Problem::Integrity })
            }
            other => Err(other),
        }
    }
}

/// How far a check is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Segments checked.
    pub segments: u64,
    /// Rows checked.
    pub rows: u64,
    /// Bytes of segments read.
    pub bytes: u64,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Everything that is wrong.
    pub findings: Vec<Finding>,
    /// What was looked at.
    pub checked: VerifyProgress,
    /// Whether the store was closed properly, so that every byte of every file was compared. If it
    /// was not, unused places in the files are not covered.
    pub is_sealed: bool,
    /// Files compared with the seal.
    pub files: u64,
}

/// Is told of progress and says whether to go on.
pub type OnVerifyProgress<'a> = &'a mut dyn FnMut(&VerifyProgress) -> bool;

/// Checks a data directory that no process has open, and the directories of its tiers, and leaves
/// them as they are.
///
/// # Errors
/// If something cannot be read for another reason than damage.
pub fn verify_directory(
    disk: Arc<dyn Disk>,
    directory: &Path,
    tiers: &[Tier],
    clock: Arc<dyn Clock>,
    on_progress: OnVerifyProgress<'_>,
) -> Result<VerifyReport, StoreError> {
    let mut report = VerifyReport::default();
    match Seal::read(&*disk, directory) {
        Ok(None) => {}
        Ok(Some(seal)) => {
            report.is_sealed = true;
            report.files = seal.file_count();
            report.findings.extend(seal.compare(&*disk, directory, tiers)?);
        }
        Err(error) => report.findings.push(Finding::of_error(error)?),
    }
    let overlay: Arc<dyn Disk> = Arc::new(OverlayDisk::new(disk));
    let options = StoreOptions {
        applies: Applies::OnRequest,
        is_sealing: false,
        tiers: tiers.to_vec(),
        ..StoreOptions::default()
    };
    let opened = Store::open_on(overlay, directory, &options, clock);
    let checked = opened.and_then(|store| {
        let contents = store.verify(on_progress)?;
        store.check_integrity().map(|integrity| (contents, integrity))
    });
    match checked {
        Ok((contents, integrity)) => {
            report.checked = contents.checked;
            report.findings.extend(contents.findings);
            report.findings.extend(integrity);
        }
        Err(error) => report.findings.push(Finding::of_error(error)?),
    }
    Ok(report)
}
