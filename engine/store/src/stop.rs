//! Owns the reason why an operation on a database file stops: the database refused, or the store.
//!
//! A closure that runs inside a transaction meets both. Either way the transaction is dropped
//! without a commit. Refuses to know the operations. Bound: one error.

use redb::{Database, ReadTransaction, ReadableDatabase, WriteTransaction};

use crate::database_file::DatabaseFile;
use crate::error::StoreError;

/// Why an operation stops.
pub(crate) enum Stop {
    Database(redb::Error),
    Store(Box<StoreError>),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

macro_rules! from_redb {
    ($($error:ty),+) => {
        $(impl From<$error> for Stop {
            fn from(error: $error) -> Self {
                Self::Database(error.into())
            }
        })+
    };
}

from_redb!(redb::StorageError, redb::TableError, redb::TransactionError, redb::Error);

/// Reads in one snapshot. `operation` also gets the database, for its figures.
pub(crate) fn read<T>(
    file: &DatabaseFile,
    operation: impl FnOnce(&Database, &ReadTransaction) -> Result<T, Stop>,
) -> Result<T, StoreError> {
    file.with(|database| {
        let transaction = database.begin_read()?;
        split(operation(database, &transaction))
    })?
}

/// Writes in one transaction, which is on disk when this returns, or undone by the error.
pub(crate) fn write<T>(
    file: &DatabaseFile,
    operation: impl FnOnce(&WriteTransaction) -> Result<T, Stop>,
) -> Result<T, StoreError> {
    file.with(|database| {
        let transaction = database.begin_write()?;
        let result = split(operation(&transaction))?;
        if result.is_ok() {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        Ok(result)
    })?
}

fn split<T>(result: Result<T, Stop>) -> Result<Result<T, StoreError>, redb::Error> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Stop::Store(error)) => Ok(Err(*error)),
        Err(Stop::Database(error)) => Err(error),
    }
}
