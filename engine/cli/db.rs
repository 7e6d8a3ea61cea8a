//! Owns `truststram db`: the operator's commands over the store.
//!
//! Refuses to change a data directory behind a server's back: where a server has the directory, a
//! command asks that server or is refused. Bound: one store at a time.

mod answer;
mod checkpoint;
mod place;
mod progress;
mod query;
mod shape;
mod stats;
mod time;
mod verify;

use self::place::AdminPlace;
use super::Failure;

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
}

pub(super) fn run(command: &DbCommand, json: bool) -> Result<(), Failure> {
    match command {
        DbCommand::Stats(place) => stats::run(place, json),
        DbCommand::Query(command) => query::run(command, json),
        DbCommand::Verify(arguments) => verify::verify(arguments, json),
        DbCommand::Refresh(place) => verify::refresh(place, json),
        DbCommand::Checkpoint(place) => checkpoint::run(place, json),
    }
}
