//! Owns `truststram db`: the operator's commands over the store.
//!
//! Refuses to change a data directory behind a server's back: where a server has the directory, a
//! command asks that server or is refused. Bound: one store at a time.

mod answer;
mod backup;
mod datasets;
mod export;
mod files;
mod import;
mod maintain;
pub(super) mod place;
mod query;
mod shape;
mod stats;
pub(super) mod time;
mod verify;

use self::place::{AdminPlace, Directory};
use super::{Failure, progress};

#[derive(Debug, clap::Subcommand)]
pub(super) enum DbCommand {
    /// Show the months with their rows and sizes, the log, and what was counted.
    Stats(AdminPlace),
    /// Ask for predictions, models and figures.
    #[command(subcommand)]
    Query(query::QueryCommand),
    /// Check that everything stored is what was written; exit code 1 if anything is not.
    ///
    /// Values are compared with their checksums, indexes and figures with the rows, and every byte
    /// of every file with the seal of a store that was closed properly.
    Verify(verify::VerifyArguments),
    /// Count the rows again and report each figure of a model that differs.
    ///
    /// The figures change with the rows and need no refreshing as a materialised view does; this
    /// proves it.
    Refresh(AdminPlace),
    /// Move everything that is committed from the log into the month files.
    Checkpoint(AdminPlace),
    /// Write every month's file anew without holes, while the store goes on.
    Compact(AdminPlace),
    /// Remove a month with all its predictions.
    Drop(maintain::DropArguments),
    /// Copy everything that is committed to a new directory or tar file, while the store goes on.
    Backup(backup::BackupArguments),
    /// Make a data directory of a backup; every file is compared with the backup's manifest.
    Restore(backup::RestoreArguments),
    /// Write kept predictions to a file, the oldest first. The server must be stopped.
    Export(export::ExportArguments),
    /// Put the predictions of a file into the store, in bulk. The server must be stopped.
    ///
    /// A file with a wrong row changes nothing. When the command ends well, all of them are on the
    /// disk.
    Import(import::ImportArguments),
    /// List the data sets to train on. The server must be stopped.
    Datasets(Directory),
    /// Write a data set to a file, or append a file to one. The server must be stopped.
    #[command(subcommand)]
    Dataset(datasets::DatasetCommand),
}

pub(super) fn run(command: &DbCommand, json: bool) -> Result<(), Failure> {
    match command {
        DbCommand::Stats(place) => stats::run(place, json),
        DbCommand::Query(command) => query::run(command, json),
        DbCommand::Verify(arguments) => verify::verify(arguments, json),
        DbCommand::Refresh(place) => verify::refresh(place, json),
        DbCommand::Checkpoint(place) => maintain::checkpoint(place, json),
        DbCommand::Compact(place) => maintain::compact(place, json),
        DbCommand::Drop(arguments) => maintain::drop_month(arguments, json),
        DbCommand::Backup(arguments) => backup::backup(arguments, json),
        DbCommand::Restore(arguments) => backup::restored(arguments, json),
        DbCommand::Export(arguments) => export::run(arguments, json),
        DbCommand::Import(arguments) => import::run(arguments, json),
        DbCommand::Datasets(directory) => datasets::list(directory, json),
        DbCommand::Dataset(command) => datasets::run(command, json),
    }
}
