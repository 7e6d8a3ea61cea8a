//! Owns `train`: a model from a description in TOML, trained here or by a server, and the jobs of
//! a server.
//!
//! Refuses to register what was trained here: `model import` does. Bound: one training.

mod jobs;
mod local;

use std::path::PathBuf;

use super::Failure;
use super::client::ServerArgument;
use super::db::place::Directory;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct TrainArguments {
    #[command(subcommand)]
    command: Option<JobCommand>,
    /// The description: a file of TOML.
    #[arg(required = true)]
    spec: Option<PathBuf>,
    /// How many cores to train on; the same number of cores and the same seed give the same model.
    #[arg(long, value_name = "COUNT")]
    cores: Option<usize>,
    /// Write a report: one page of HTML with curves, confusion matrix and model card.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Have the server at this address train it, on a data set of its store; the result becomes a
    /// version of the `model` that the description names. Ctrl-C leaves the job running.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// With `--server`: do not wait for the end.
    #[arg(long, requires = "server")]
    detach: bool,
    /// Where the store is, for a description that names a `dataset`.
    #[command(flatten)]
    directory: Directory,
}

/// What is done to the jobs of a server.
#[derive(Debug, clap::Subcommand)]
enum JobCommand {
    /// List the training jobs of a running server.
    Jobs(#[command(flatten)] ServerArgument),
    /// Show a training job.
    Show(JobArgument),
    /// Watch a training job to its end.
    Watch(JobArgument),
    /// End a training job, with a checkpoint.
    Cancel(JobArgument),
    /// Have a training job that was ended go on.
    Resume(JobArgument),
    /// Fetch the report of a training job that is done.
    Report {
        #[command(flatten)]
        job: JobArgument,
        /// Where it is written.
        #[arg(long, value_name = "FILE", default_value = "report.html")]
        output: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct JobArgument {
    /// The job's number.
    job: u64,
    #[command(flatten)]
    server: ServerArgument,
}

pub(super) fn run(arguments: &TrainArguments, as_json: bool) -> Result<(), Failure> {
    match (&arguments.command, &arguments.spec, &arguments.server) {
        (Some(command), ..) => jobs::run(command, as_json),
        (None, Some(spec), Some(server)) => {
            jobs::create(spec, arguments, &ServerArgument::at(server), as_json)
        }
        (None, Some(spec), None) => local::run(spec, arguments, as_json),
        // The arguments ask for one or the other.
        (None, None, _) => Ok(()),
    }
}
