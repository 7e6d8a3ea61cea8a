//! Owns `truststram federate`: the federation of a server, a client of one, and simulated ones.
//!
//! Refuses to touch a server's store. Bound: one federation at a time.

mod arguments;
mod join;
mod network;
mod operate;
mod secure;
mod simulate;
mod state;

use super::Failure;
use super::client::{AdminArgument, ServerArgument};

#[derive(Debug, clap::Subcommand)]
pub(super) enum FederateCommand {
    /// Train the digits in a federation of virtual clients on a virtual clock.
    ///
    /// Every update is trained, written, judged and aggregated as a real one; only the time and
    /// the network are not real. The same options give the same figures.
    Simulate(arguments::SimulateArguments),
    /// Start a federation on a running server, as a description in TOML says.
    ///
    /// `model = "digits"` is enough of a description; config/federation.toml has the other keys.
    /// The server needs `federated.enabled`.
    Start {
        /// The description: a file of TOML.
        spec: std::path::PathBuf,
        #[command(flatten)]
        server: AdminArgument,
    },
    /// End the federation of a running server for good.
    Stop {
        #[command(flatten)]
        server: AdminArgument,
    },
    /// Show where the federation of a running server stands.
    Status {
        #[command(flatten)]
        server: ServerArgument,
    },
    /// Make tokens, each of which lets one client in.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Train for a federation with rows that stay here, until it is over or SIGTERM.
    ///
    /// Enrols with a token, waits for tasks, trains the model that a task names on the rows of
    /// `--data` and sends what has changed. The key and what encodings have lost are kept in
    /// `--state`, so that the same client goes on after a restart.
    Join(join::JoinArguments),
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum TokenCommand {
    /// Make tokens and print them, one a line.
    Create {
        /// How many.
        #[arg(long, default_value_t = 1)]
        count: usize,
        /// Hours until they expire.
        #[arg(long, value_name = "HOURS", default_value_t = 24)]
        hours: u64,
        #[command(flatten)]
        server: AdminArgument,
    },
}

pub(super) fn run(command: &FederateCommand, as_json: bool) -> Result<(), Failure> {
    match command {
        FederateCommand::Simulate(arguments) => simulate::run(arguments, as_json),
        FederateCommand::Start { spec, server } => operate::start(spec, server, as_json),
        FederateCommand::Stop { server } => operate::stop(server, as_json),
        FederateCommand::Status { server } => operate::status(server, as_json),
        FederateCommand::Token(TokenCommand::Create { count, hours, server }) => {
            operate::tokens(*count, *hours, server, as_json)
        }
        FederateCommand::Join(arguments) => join::run(arguments, as_json),
    }
}
