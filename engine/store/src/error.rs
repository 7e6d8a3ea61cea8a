//! Owns everything that can go wrong in the store, and what each case means to the caller.
//!
//! Refuses to know HTTP; `api` maps [`Kind`] to a status.
//! Bound: an error holds no stored row, except [`Refused`], which gives one back.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use truststram_base::{Kind, ModelId, ModelVersion, PredictionRecord};
use truststram_machine::MachineError;

use crate::datasets::{DatasetName, RowProblem};
use crate::registry::check::EntryProblem;

/// How stored bytes differ from what the store wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Damage {
    /// The bytes do not match their checksum.
    #[error("the checksum does not match")]
    Checksum,
    /// The layout version in front of the bytes is not one that this program writes.
    #[error("the layout version is unknown")]
    Layout,
    /// The bytes end inside a field, or go on after the last one.
    #[error("a field is cut off or left over")]
    Length,
    /// A field holds a value that the store never writes.
    #[error("a field holds an impossible value")]
    Value,
    /// The pages below the tables make no sense.
    #[error("the pages of the database make no sense")]
    Pages,
    /// An index names a row that is not there.
    #[error("the indexed value is missing")]
    Missing,
}

/// What is wrong with a backup, or with the place for one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BackupProblem {
    /// Something is there already.
    #[error("something is there already; name a place that does not exist")]
    Exists,
    /// It has no manifest.
    #[error("there is no manifest.json; this is not a backup of truststram")]
    NoManifest,
    /// The manifest cannot be read.
    #[error("manifest.json is damaged; use another backup")]
    Manifest,
    /// A file is not what the manifest says.
    #[error("the file {name} is not what the manifest says; use another backup")]
    Changed {
        /// The file's name in the backup.
        name: String,
    },
    /// It was ended by whoever asked for it.
    #[error("ended before it was done; nothing is left of it")]
    Ended,
}

impl BackupProblem {
    fn kind(&self) -> Kind {
        match self {
            Self::Exists => Kind::Conflict,
            Self::NoManifest => Kind::NotFound,
            Self::Manifest | Self::Changed { .. } => Kind::Corrupt,
            Self::Ended => Kind::Unavailable,
        }
    }
}

/// An error of the store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}; check that it exists and that this user may write it",
        path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A database file cannot be opened, read or written.
    #[error("database file {}: {source}; check the disk and the space left on it, \
        and that no other process has the file open", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: Box<redb::Error>,
    },
    /// Stored bytes are not what was written. They are never served.
    #[error("{} table {table} key {key}: {damage}; restore this file from a backup",
        path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The table in it.
        table: &'static str,
        /// The key in the table, as text.
        key: String,
        /// What is wrong.
        damage: Damage,
    },
    /// The file is of another format version.
    #[error("{} has format {found}, this program reads format {expected}; \
        open it with the program that wrote it", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u64,
        /// The version that this program reads and writes.
        expected: u64,
    },
    /// The queue to the writer has no room.
    #[error(
        "the prediction store has {rows_max} rows or {bytes_max} bytes waiting for the disk; \
        send fewer records or try again later"
    )]
    QueueFull {
        /// Most rows that may wait.
        rows_max: usize,
        /// Most bytes that may wait.
        bytes_max: usize,
    },
    /// The store is closed, or its writer has ended.
    #[error("the prediction store is closed; start the service again")]
    Closed,
    /// The model is registered already.
    #[error("model {id} version {version} is registered already; register the next version")]
    ModelExists {
        /// The model.
        id: ModelId,
        /// Its version.
        version: ModelVersion,
    },
    /// The model cannot be put into bytes.
    #[error("model {id} version {version} cannot be encoded: {source}; shorten its texts")]
    ModelEncoding {
        /// The model.
        id: ModelId,
        /// Its version.
        version: ModelVersion,
        /// What the encoder said.
        source: postcard::Error,
    },
    /// The model version is not registered.
    #[error("model {id} version {version} is not registered; list the models to see which are")]
    ModelUnknown {
        /// The model.
        id: ModelId,
        /// The version.
        version: ModelVersion,
    },
    /// The active version of a model cannot be removed.
    #[error("model {id} version {version} is the active one; activate another version first")]
    ModelActive {
        /// The model.
        id: ModelId,
        /// Its version.
        version: ModelVersion,
    },
    /// A field of a model's entry is not acceptable.
    #[error("model {id} version {version}: {field} {problem}; change it and register again")]
    ModelRefused {
        /// The model.
        id: ModelId,
        /// Its version.
        version: ModelVersion,
        /// The field of the entry.
        field: &'static str,
        /// What is wrong with it.
        problem: EntryProblem,
    },
    /// A small record is longer than any should be.
    #[error("a record has {bytes} bytes, the limit is {bytes_max}")]
    RecordTooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The data set does not exist.
    #[error("data set {name} does not exist; list the data sets to see which do")]
    DatasetUnknown {
        /// Its name.
        name: DatasetName,
    },
    /// A row cannot be appended to a data set. None of the rows beside it was.
    #[error(
        "data set {name}, row {row} of those to append: {problem}; correct it and append again"
    )]
    DatasetRow {
        /// The data set.
        name: DatasetName,
        /// The row's place among those to append, counted from 0.
        row: usize,
        /// What is wrong with it.
        problem: RowProblem,
    },
    /// A block of rows cannot be compressed.
    #[error("data set {name}: cannot compress a block of rows: {source}; check the memory left")]
    DatasetEncoding {
        /// The data set.
        name: DatasetName,
        /// What the compressor said.
        source: io::Error,
    },
    /// The text is not a cursor.
    #[error("{text:?} is not a cursor; pass the `next` of the page before, unchanged")]
    Cursor {
        /// The text, cut to a few characters.
        text: String,
    },
    /// A commit failed while somebody waited for it.
    #[error("the records are not committed: {0}")]
    NotCommitted(CommitFailure),
    /// The store was closed while the disk refused rows.
    #[error(
        "{rows} rows could not be written before the store was closed and are lost; \
        see the failures logged before"
    )]
    RowsLost {
        /// How many.
        rows: u64,
    },
    /// There is no such month.
    #[error("no month `{month}` is stored; `truststram db stats` lists them as YYYYMM")]
    MonthUnknown {
        /// The text, cut to a few characters.
        month: String,
    },
    /// A backup cannot be made or restored there.
    #[error("{}: {problem}", path.display())]
    Backup {
        /// The backup, or where it is to go.
        path: PathBuf,
        /// What is wrong.
        problem: BackupProblem,
    },
    /// The compressor cannot be set up.
    #[error("cannot set up the compressor: {source}; free some memory")]
    Compressor {
        /// What it said.
        source: io::Error,
    },
    /// A thread of the store cannot be started, or ended by a panic.
    #[error("the store's threads: {source}")]
    Thread {
        /// What the machine said.
        source: MachineError,
    },
}

impl StoreError {
    /// Who caused the error and whether a retry can help.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Io { source, .. } => io_kind(source),
            Self::Database { source, .. } => match source.as_ref() {
                redb::Error::Io(source) => io_kind(source),
                // Tables that are not as we made them are damage too.
                redb::Error::Corrupted(_)
                | redb::Error::TableTypeMismatch { .. }
                | redb::Error::TableIsMultimap(_)
                | redb::Error::TableIsNotMultimap(_)
                | redb::Error::TypeDefinitionChanged { .. }
                | redb::Error::TableDoesNotExist(_) => Kind::Corrupt,
                redb::Error::DatabaseAlreadyOpen => Kind::Conflict,
                _ => Kind::Internal,
            },
            Self::Corrupt { .. } => Kind::Corrupt,
            Self::Format { .. } | Self::ModelExists { .. } => Kind::Conflict,
            Self::MonthUnknown { .. } => Kind::NotFound,
            Self::Backup { problem, .. } => problem.kind(),
            Self::QueueFull { .. } => Kind::Overloaded,
            Self::Closed => Kind::Unavailable,
            Self::ModelUnknown { .. } | Self::DatasetUnknown { .. } => Kind::NotFound,
            Self::ModelActive { .. } => Kind::Conflict,
            Self::ModelEncoding { .. } | Self::ModelRefused { .. } | Self::DatasetRow { .. } => {
                Kind::Invalid
            }
            Self::RecordTooLarge { .. } => Kind::TooLarge,
            Self::DatasetEncoding { .. } => Kind::Internal,
            Self::Cursor { .. } => Kind::Malformed,
            Self::NotCommitted(failure) => failure.kind(),
            Self::RowsLost { .. } | Self::Compressor { .. } => Kind::Internal,
            Self::Thread { source } => source.kind(),
        }
    }
}

fn io_kind(source: &io::Error) -> Kind {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::NoSpace,
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Kind::Corrupt,
        _ => Kind::Internal,
    }
}

/// Why a group was not committed; shared by everybody who waited for it. The rows of a durable
/// submission that gets this are not tried again, yet a few of them may be on disk: after a failed
/// `fsync` only the next opening of the file can tell.
#[derive(Clone, Debug)]
pub struct CommitFailure(Arc<StoreError>);

impl CommitFailure {
    pub(crate) fn new(error: StoreError) -> Self {
        Self(Arc::new(error))
    }

    /// The error itself.
    pub fn error(&self) -> &StoreError {
        &self.0
    }

    /// Who caused the error and whether a retry can help.
    pub fn kind(&self) -> Kind {
        self.0.kind()
    }
}

impl fmt::Display for CommitFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for CommitFailure {}

/// A record that was not taken, given back with the reason: [`StoreError::QueueFull`] or
/// [`StoreError::Closed`].
#[derive(Debug, Error)]
#[error("{error}")]
pub struct Refused {
    /// The record, unchanged.
    pub record: PredictionRecord,
    /// Why it was not taken.
    pub error: StoreError,
}
