//! Owns one redb file: opening it, its format version, and opening it again after an I/O error.
//!
//! redb refuses everything after a failed read or write until the file is reopened, because after
//! a failed `fsync` nobody knows what the disk holds. So the database is dropped on such an error
//! and the next use opens it again, which replays redb's own recovery.
//! Refuses to know the tables' meaning. Bound: one page cache of a given size per file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{Database, ReadableDatabase, Table, TableDefinition, WriteTransaction};

use crate::envelope::{self, HEADER_BYTES};
use crate::error::{Damage, StoreError};

/// The format of all files of this store; a file of another format is refused.
const FORMAT: u64 = 1;
const FORMAT_NAME: &str = "format";

/// Bookkeeping numbers of the file, by name, each in an envelope.
pub(crate) const ABOUT: TableDefinition<&str, &[u8]> = TableDefinition::new("about");

/// Opens or creates a database with a page cache of the given bytes. Fault tests put their own
/// storage below it.
pub(crate) type OpenDatabase =
    Arc<dyn Fn(&Path, usize) -> Result<Database, redb::Error> + Send + Sync>;

/// Creates the tables of a new file.
pub(crate) type CreateTables = fn(&WriteTransaction) -> Result<(), redb::Error>;

/// The plain way to open a database.
pub(crate) fn open_database(path: &Path, cache_bytes: usize) -> Result<Database, redb::Error> {
    Ok(Database::builder().set_cache_size(cache_bytes).create(path)?)
}

enum State {
    Open(Database),
    /// Not opened yet, or dropped after an I/O error.
    Shut,
    Closed,
}

/// One redb file of the store.
pub(crate) struct DatabaseFile {
    path: PathBuf,
    cache_bytes: usize,
    open: OpenDatabase,
    create_tables: CreateTables,
    state: RwLock<State>,
}

impl DatabaseFile {
    /// A file that is opened, and created if need be, at its first use.
    pub(crate) fn new(
        path: PathBuf,
        cache_bytes: usize,
        open: OpenDatabase,
        create_tables: CreateTables,
    ) -> Self {
        Self { path, cache_bytes, open, create_tables, state: RwLock::new(State::Shut) }
    }

    /// Runs `operation` on the open database.
    pub(crate) fn with<T>(
        &self,
        operation: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.ensure_open()?;
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let result = match &*state {
            State::Open(database) => operation(database),
            State::Shut => Err(redb::Error::PreviousIo),
            State::Closed => return Err(StoreError::Closed),
        };
        drop(state);
        result.map_err(|source| self.failed(source))
    }

    /// The error to report for `source`; after an I/O error the next use reopens the file.
    pub(crate) fn failed(&self, source: redb::Error) -> StoreError {
        if let redb::Error::Io(_) | redb::Error::Backend(_) | redb::Error::PreviousIo = source {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            if matches!(*state, State::Open(_)) {
                *state = State::Shut;
            }
        }
        database_error(&self.path, source)
    }

    /// The error for a value of this file that is not what was written.
    pub(crate) fn corrupt(&self, table: &'static str, key: String, damage: Damage) -> StoreError {
        StoreError::Corrupt { path: self.path.clone(), table, key, damage }
    }

    /// A bookkeeping number, if it was ever put.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.with(|database| read_number(database, name))?
            .transpose()
            .map_err(|damage| self.corrupt("about", name.to_owned(), damage))
    }

    /// Size of the file in bytes; 0 if it is not there.
    pub(crate) fn bytes(&self) -> u64 {
        self.path.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Closes the file for good and reports what redb could not write.
    pub(crate) fn close(&self) -> Result<(), StoreError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Closed) {
            State::Open(database) => {
                database.close().map_err(|source| database_error(&self.path, source.into()))
            }
            State::Shut | State::Closed => Ok(()),
        }
    }

    fn ensure_open(&self) -> Result<(), StoreError> {
        let is_shut = |state: &State| matches!(state, State::Shut);
        if !is_shut(&self.state.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if is_shut(&state) {
            *state = State::Open(self.open_checked()?);
        }
        Ok(())
    }

    fn open_checked(&self) -> Result<Database, StoreError> {
        let fail = |source: redb::Error| database_error(&self.path, source);
        let is_new = !self.path.exists();
        let database = (self.open)(&self.path, self.cache_bytes).map_err(fail)?;
        if is_new {
            sync_parent(&self.path)?;
        }
        match read_number(&database, FORMAT_NAME).map_err(fail)? {
            None => self.prepare(&database).map_err(fail)?,
            Some(Ok(FORMAT)) => {}
            Some(Ok(found)) => {
                let path = self.path.clone();
                return Err(StoreError::Format { path, found, expected: FORMAT });
            }
            Some(Err(damage)) => {
                return Err(self.corrupt("about", FORMAT_NAME.to_owned(), damage));
            }
        }
        Ok(database)
    }

    fn prepare(&self, database: &Database) -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        put_number(&mut transaction.open_table(ABOUT)?, FORMAT_NAME, FORMAT)?;
        (self.create_tables)(&transaction)?;
        Ok(transaction.commit()?)
    }
}

/// Puts a bookkeeping number.
pub(crate) fn put_number(
    about: &mut Table<'_, &str, &[u8]>,
    name: &str,
    number: u64,
) -> Result<(), redb::Error> {
    const FRAME_BYTES: usize = HEADER_BYTES + size_of::<u64>();
    let frame: [u8; FRAME_BYTES] =
        envelope::frame(envelope::context(&[name], 0), &number.to_le_bytes());
    about.insert(name, &frame[..])?;
    Ok(())
}

fn read_number(
    database: &Database,
    name: &str,
) -> Result<Option<Result<u64, Damage>>, redb::Error> {
    let about = match database.begin_read()?.open_table(ABOUT) {
        Ok(about) => about,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(about.get(name)?.map(|frame| {
        let body = envelope::open(envelope::context(&[name], 0), frame.value())?;
        Ok(u64::from_le_bytes(body.try_into().map_err(|_| Damage::Length)?))
    }))
}

fn database_error(path: &Path, source: redb::Error) -> StoreError {
    StoreError::Database { path: path.to_owned(), source: Box::new(source) }
}

/// Makes a new file's name durable: `fsync` of a file does not cover its directory.
fn sync_parent(path: &Path) -> Result<(), StoreError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(|source| StoreError::Io {
        action: "sync",
        path: parent.to_owned(),
        source,
    })
}
