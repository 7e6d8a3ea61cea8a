//! Owns one redb file: opening it, its format version, and opening it again after an I/O error.
//!
//! redb refuses everything after a failed read or write until the file is reopened, because after
//! a failed `fsync` nobody knows what the disk holds. So the database is dropped on such an error
//! and the next use opens it again, which replays redb's own recovery. On damaged bytes redb may
//! panic; that is caught here and is damage, so that one bad file does not end the process.
//! Refuses to know the tables' meaning. Bound: one page cache of a given size per file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, Table, TableDefinition,
    WriteTransaction,
};

use crate::database_storage::DatabaseStorage;
use crate::disk::Disk;
use crate::envelope::{self, HEADER_BYTES};
use crate::error::{Damage, StoreError};

/// What a file is called while it is written and not yet whole.
pub(crate) const UNFINISHED_SUFFIX: &str = ".unfinished";

/// The format of all files of this store; a file of another format is refused.
pub(crate) const FORMAT: u64 = 2;
const FORMAT_NAME: &str = "format";

/// Bookkeeping numbers of the file, by name, each in an envelope.
pub(crate) const ABOUT: TableDefinition<&str, &[u8]> = TableDefinition::new("about");

/// Creates the tables of a new file.
pub(crate) type CreateTables = fn(&WriteTransaction) -> Result<(), redb::Error>;

/// An open database that can be dropped whatever its file holds: redb writes once more then.
pub(crate) struct OpenDatabase {
    /// `None` once it is closed.
    database: Option<Database>,
}

impl OpenDatabase {
    fn close(mut self) -> Result<(), redb::Error> {
        match self.database.take() {
            Some(database) => catch(|| Ok(database.close()?)),
            None => Ok(()),
        }
    }

    fn get(&self) -> Result<&Database, redb::Error> {
        self.database.as_ref().ok_or(redb::Error::DatabaseClosed)
    }
}

impl Drop for OpenDatabase {
    fn drop(&mut self) {
        let database = self.database.take();
        // The next opening repairs what this one leaves.
        let _ = catch(|| {
            drop(database);
            Ok(())
        });
    }
}

enum State {
    /// Readers share it, so that it stays open for them when another file takes its place.
    Open(Arc<OpenDatabase>),
    /// Not opened yet, or dropped after an I/O error.
    Shut,
    Closed,
}

/// One redb file of the store.
pub(crate) struct DatabaseFile {
    path: Mutex<PathBuf>,
    cache_bytes: usize,
    disk: Arc<dyn Disk>,
    create_tables: CreateTables,
    state: RwLock<State>,
    is_left_open: AtomicBool,
}

impl DatabaseFile {
    /// A file that is opened, and created if need be, at its first use.
    pub(crate) fn new(
        path: PathBuf,
        cache_bytes: usize,
        disk: Arc<dyn Disk>,
        create_tables: CreateTables,
    ) -> Self {
        let path = Mutex::new(path);
        let state = RwLock::new(State::Shut);
        let is_left_open = AtomicBool::new(false);
        Self { path, cache_bytes, disk, create_tables, state, is_left_open }
    }

    /// Where the file is now.
    pub(crate) fn path(&self) -> PathBuf {
        self.path.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs `operation` on the open database.
    pub(crate) fn with<T>(
        &self,
        operation: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.ensure_open()?;
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let result = match &*state {
            State::Open(database) => catch(|| operation(database.get()?)),
            State::Shut => Err(redb::Error::PreviousIo),
            State::Closed => return Err(StoreError::Closed),
        };
        drop(state);
        result.map_err(|source| self.failed(source))
    }

    /// Runs `operation` on what the last commit left.
    pub(crate) fn read<T>(
        &self,
        operation: impl FnOnce(ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let transaction = self.with(|database| Ok(database.begin_read()?))?;
        catch(|| operation(transaction)).map_err(|source| self.failed(source))
    }

    /// What the last commit left, and the database that must stay open while it is read.
    pub(crate) fn begin_read(&self) -> Result<(Arc<OpenDatabase>, ReadTransaction), StoreError> {
        self.ensure_open()?;
        let database = match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(database) => Arc::clone(database),
            State::Shut => return Err(database_error(&self.path(), redb::Error::PreviousIo)),
            State::Closed => return Err(StoreError::Closed),
        };
        let transaction = catch(|| Ok(database.get()?.begin_read()?));
        let transaction = transaction.map_err(|source| self.failed(source))?;
        Ok((database, transaction))
    }

    /// Whether somebody was reading when the file was closed; the last reader then closes it.
    pub(crate) fn is_left_open(&self) -> bool {
        self.is_left_open.load(Ordering::Acquire)
    }

    /// The error to report for `source`; after an I/O error the next use reopens the file.
    pub(crate) fn failed(&self, source: redb::Error) -> StoreError {
        use redb::Error::{Backend, Corrupted, Io, PreviousIo};
        if let Io(_) | Backend(_) | PreviousIo | Corrupted(_) = source {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            if matches!(*state, State::Open(_)) {
                *state = State::Shut;
            }
        }
        database_error(&self.path(), source)
    }

    /// The error for a value of this file that is not what was written.
    pub(crate) fn corrupt(&self, table: &'static str, key: String, damage: Damage) -> StoreError {
        StoreError::Corrupt { path: self.path(), table, key, damage }
    }

    /// A bookkeeping number, if it was ever put.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.read(|transaction| read_number(&transaction, name))?
            .transpose()
            .map_err(|damage| self.corrupt("about", name.to_owned(), damage))
    }

    /// A bookkeeping number of a file that is not open yet, read without leaving a trace in the
    /// file, unless that must be repaired first.
    pub(crate) fn peek_number(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let path = self.path();
        let fail = |source| self.not_opened(&path, source);
        self.disk.drop_cached(&path).map_err(fail)?;
        let file = self.disk.open(&path).map_err(fail)?;
        let number = catch(|| {
            let database = Database::builder()
                .set_cache_size(0)
                .open_read_only_with_backend(DatabaseStorage::new(file))?;
            read_number(&database.begin_read()?, name)
        });
        match number {
            Ok(None) => Ok(None),
            Ok(Some(Ok(number))) => Ok(Some(number)),
            Ok(Some(Err(damage))) => Err(self.corrupt("about", name.to_owned(), damage)),
            // One that cannot be opened so is repaired, or refused, by the usual way.
            Err(_) => self.number(name),
        }
    }

    /// Size of the file in bytes; 0 if it is not there.
    pub(crate) fn bytes(&self) -> u64 {
        self.disk.bytes(&self.path())
    }

    /// Closes the file for good and reports what redb could not write.
    pub(crate) fn close(&self) -> Result<(), StoreError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *state, State::Closed);
        self.shut(old)
    }

    /// Has redb compare the checksums of all pages; whether they were right.
    pub(crate) fn check_integrity(&self) -> Result<bool, StoreError> {
        self.ensure_open()?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State::Open(database) = &mut *state else { return Err(StoreError::Closed) };
        let database = Arc::get_mut(database).and_then(|open| open.database.as_mut());
        let Some(database) = database else {
            return Err(database_error(&self.path(), redb::Error::TransactionInProgress));
        };
        let checked = catch(|| Ok(database.check_integrity()?));
        drop(state);
        checked.map_err(|source| self.failed(source))
    }

    /// Closes the file, lets `exchange` put another one in its place, and goes on with that at
    /// the path it returns. Transactions of readers keep the old one.
    pub(crate) fn exchange(
        &self,
        exchange: impl FnOnce(&Path) -> Result<PathBuf, StoreError>,
    ) -> Result<(), StoreError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Closed) {
            return Err(StoreError::Closed);
        }
        let old = std::mem::replace(&mut *state, State::Shut);
        self.shut(old)?;
        let mut path = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        *path = exchange(&path)?;
        Ok(())
    }

    fn shut(&self, state: State) -> Result<(), StoreError> {
        let closed = match state {
            State::Open(database) => match Arc::try_unwrap(database) {
                Ok(database) => database.close(),
                // The last reader closes it.
                Err(_) => {
                    self.is_left_open.store(true, Ordering::Release);
                    Ok(())
                }
            },
            State::Shut | State::Closed => Ok(()),
        };
        closed.map_err(|source| database_error(&self.path(), source))
    }

    fn ensure_open(&self) -> Result<(), StoreError> {
        let is_shut = |state: &State| matches!(state, State::Shut);
        if !is_shut(&self.state.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if is_shut(&state) {
            let database = Some(self.open_checked()?);
            *state = State::Open(Arc::new(OpenDatabase { database }));
        }
        Ok(())
    }

    fn open_checked(&self) -> Result<Database, StoreError> {
        let path = self.path();
        if self.exists(&path)? {
            // What the disk has counts, not what an opening before left in memory.
            self.disk.drop_cached(&path).map_err(|source| self.not_opened(&path, source))?;
        } else {
            self.create(&path)?;
        }
        // Also of a file that was found: whoever made it may have failed here.
        if let Some(parent) = path.parent() {
            self.disk.sync_dir(parent).map_err(|source| self.not_opened(parent, source))?;
        }
        let database = self.open_database(&path)?;
        if !self.check_format(&path, &database)? {
            return Err(self.corrupt("about", FORMAT_NAME.to_owned(), Damage::Missing));
        }
        Ok(database)
    }

    /// Creates the file under another name and gives it its own once it is whole, so that a crash
    /// leaves no half of one.
    fn create(&self, path: &Path) -> Result<(), StoreError> {
        let unfinished = unfinished(path);
        let fail = |action| {
            let path = path.to_owned();
            move |source| StoreError::Io { action, path, source }
        };
        if self.exists(&unfinished)? {
            self.disk.remove(&unfinished).map_err(fail("remove an unfinished"))?;
        }
        let database = self.create_database(&unfinished)?;
        let closed = catch(|| Ok(database.close()?));
        closed.map_err(|source| database_error(&unfinished, source))?;
        self.disk.rename(&unfinished, path).map_err(fail("give its name to"))
    }

    fn exists(&self, path: &Path) -> Result<bool, StoreError> {
        let fail = |source| StoreError::Io { action: "find", path: path.to_owned(), source };
        self.disk.exists(path).map_err(fail)
    }

    /// A new database with our tables at `path`, which is not this file's own.
    pub(crate) fn create_database(&self, path: &Path) -> Result<Database, StoreError> {
        let database = self.open_database(path)?;
        let prepared = catch(|| self.prepare(&database));
        prepared.map_err(|source| database_error(path, source))?;
        Ok(database)
    }

    fn open_database(&self, path: &Path) -> Result<Database, StoreError> {
        let file = self.disk.open(path).map_err(|source| self.not_opened(path, source))?;
        let opened = catch(|| {
            let mut builder = Database::builder();
            builder.set_cache_size(self.cache_bytes);
            Ok(builder.create_with_backend(DatabaseStorage::new(file))?)
        });
        opened.map_err(|source| database_error(path, source))
    }

    fn not_opened(&self, path: &Path, source: io::Error) -> StoreError {
        match source.kind() {
            io::ErrorKind::WouldBlock => {
                database_error(path, DatabaseError::DatabaseAlreadyOpen.into())
            }
            _ => StoreError::Io { action: "open", path: path.to_owned(), source },
        }
    }

    /// Whether the file has our tables, in the format that we read.
    fn check_format(&self, path: &Path, database: &Database) -> Result<bool, StoreError> {
        let number = catch(|| read_number(&database.begin_read()?, FORMAT_NAME));
        match number.map_err(|source| database_error(path, source))? {
            None => Ok(false),
            Some(Ok(FORMAT)) => Ok(true),
            Some(Ok(found)) => {
                Err(StoreError::Format { path: path.to_owned(), found, expected: FORMAT })
            }
            Some(Err(damage)) => Err(self.corrupt("about", FORMAT_NAME.to_owned(), damage)),
        }
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

/// The number of that name, if it was ever put.
pub(crate) fn read_number(
    transaction: &ReadTransaction,
    name: &str,
) -> Result<Option<Result<u64, Damage>>, redb::Error> {
    let about = match transaction.open_table(ABOUT) {
        Ok(about) => about,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(about.get(name)?.map(|frame| {
        let body = envelope::open(envelope::context(&[name], 0), frame.value())?;
        Ok(u64::from_le_bytes(body.try_into().map_err(|_| Damage::Length)?))
    }))
}

/// The name beside `path` under which it is written until it is whole.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED_SUFFIX);
    PathBuf::from(name)
}

/// Runs `operation`, and has a panic of redb mean damage.
pub(crate) fn catch<T>(
    operation: impl FnOnce() -> Result<T, redb::Error>,
) -> Result<T, redb::Error> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(operation)).unwrap_or_else(|_| {
        Err(redb::Error::Corrupted("the database cannot make sense of its pages".to_owned()))
    })
}

pub(crate) fn database_error(path: &Path, source: redb::Error) -> StoreError {
    StoreError::Database { path: path.to_owned(), source: Box::new(source) }
}
