//! Owns the command line: arguments, one file per command, exit codes.
//!
//! Refuses to hold what a command does beyond talking to its user. Bound: exit codes 0 done,
//! 1 failed, 2 wrong usage or configuration, 3 refused for safety.

mod cache;
mod client;
mod config;
mod db;
mod federate;
mod import_nginx;
mod key;
mod model;
mod output;
mod plugin;
mod predict;
mod progress;
mod serve;
mod signals;
mod tls;
mod train;
mod upgrade;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

/// One binary that serves, stores and trains models, with sandboxed policies.
///
/// `truststram serve --example digits` trains a small model and serves it; `/docs` of the public
/// address describes the HTTP interface. Exit codes: 0 done, 1 failed, 2 wrong usage or
/// configuration, 3 refused for safety.
#[derive(Debug, Parser)]
#[command(name = "truststram", version, max_term_width = 100)]
struct Cli {
    /// Print for programs: JSON on standard output.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve predictions until SIGTERM or Ctrl-C.
    ///
    /// The first signal lets open requests finish (`server.drain_s`) and writes what is queued;
    /// a second one cuts open connections. SIGUSR1 opens the access log anew, SIGHUP reads the
    /// configuration again. SIGUSR2 exchanges the program for the one that stands in its place now:
    /// open requests finish, new connections wait meanwhile, the process stays. With `--json` the
    /// addresses are printed as one line of JSON once requests are accepted.
    Serve(ServeArguments),
    /// Report every problem of a configuration at once; change nothing.
    CheckConfig(ConfigArguments),
    /// Print the configuration that is in force, defaults included.
    PrintConfig {
        #[command(flatten)]
        config: ConfigArguments,
        /// Print the documented defaults instead, as in config/truststram.toml.
        #[arg(long)]
        default: bool,
    },
    /// Convert an nginx.conf into a configuration.
    ///
    /// Prints the configuration, and on standard error each directive that was not converted, or
    /// not quite, with its line and why. With `--json` both are printed as one line of JSON.
    ImportNginx(import_nginx::ImportNginxArguments),
    /// Ask a running server for predictions.
    ///
    /// Reads rows of features from a file or standard input: CSV (one row a line), or JSON (a list
    /// of numbers, or a list of such lists). Prints a table, or JSON with `--json`.
    Predict(predict::PredictArguments),
    /// Train a model on a file of rows, as a description in TOML says.
    ///
    /// Ctrl-C ends it after the step that runs; where the description names a checkpoint, the same
    /// command goes on from there, also after a kill, and ends with the same model.
    Train(train::TrainArguments),
    /// Look at the models of a running server, import them and put them to use.
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Look at the cache of answers of a running server, and remove answers from it.
    #[command(subcommand)]
    Cache(cache::CacheCommand),
    /// Make, list and revoke API keys.
    ///
    /// A command takes the data directory where no process has it, also before a server's first
    /// start; otherwise it asks that server.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Make, check and install policies.
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Look into the store and look after it.
    ///
    /// A command takes the data directory where no process has it. Where a server has it, `stats`,
    /// `query`, `verify`, `refresh`, `checkpoint`, `compact`, `drop` and `backup` ask that server;
    /// the others need it stopped.
    #[command(subcommand)]
    Db(db::DbCommand),
    /// Train a model with clients whose rows stay with them.
    #[command(subcommand)]
    Federate(federate::FederateCommand),
    /// Print a completion script for a shell, to be sourced.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Where configuration comes from.
#[derive(Clone, Debug, Default, Args)]
struct ConfigArguments {
    /// Configuration file; `conf.d/*.toml` beside it is read too. Without it the defaults hold.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Public address, instead of `server.listen`.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Operators' address, instead of `server.admin_listen`.
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// Data directory, instead of `server.data_dir`.
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<String>,
    /// Allow addresses that are not loopback although nothing protects them.
    #[arg(long)]
    insecure: bool,
}

impl ConfigArguments {
    /// The same as words of a command line.
    fn words(&self) -> Vec<OsString> {
        let file = self.config.clone().map(PathBuf::into_os_string);
        let [listen, admin, data] =
            [&self.listen, &self.admin_listen, &self.data_dir].map(|given| given.clone());
        let given = [
            ("--config", file),
            ("--listen", listen.map(Into::into)),
            ("--admin-listen", admin.map(Into::into)),
            ("--data-dir", data.map(Into::into)),
        ];
        let mut words: Vec<OsString> = given
            .into_iter()
            .filter_map(|(flag, value)| Some([flag.into(), value?]))
            .flatten()
            .collect();
        words.extend(self.insecure.then(|| "--insecure".into()));
        words
    }
}

#[derive(Debug, Args)]
struct ServeArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Train this example and register it, unless it is registered already.
    #[arg(long, value_enum)]
    example: Option<Example>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Example {
    /// 1,797 handwritten digits of 8 by 8 pixels.
    Digits,
}

/// How a command ended, where it did not end well.
#[derive(Debug)]
enum Failure {
    /// Exit code 1.
    Failed(anyhow::Error),
    /// Exit code 2.
    Usage(anyhow::Error),
    /// Exit code 3.
    Refused(anyhow::Error),
}

impl Failure {
    /// The same end with what led to it.
    fn context(self, words: String) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(error.context(words)),
            Self::Usage(error) => Self::Usage(error.context(words)),
            Self::Refused(error) => Self::Refused(error.context(words)),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap, with exit code 0. A closed pipe is no matter.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let json = cli.json;
    let result = match cli.command {
        Command::Serve(arguments) => serve::run(&arguments, json),
        Command::CheckConfig(arguments) => config::check(&arguments, json),
        Command::PrintConfig { config, default } => config::print(&config, default, json),
        Command::ImportNginx(arguments) => import_nginx::run(&arguments, json),
        Command::Predict(arguments) => predict::run(&arguments, json),
        Command::Train(arguments) => train::run(&arguments, json),
        Command::Model(command) => model::run(&command, json),
        Command::Cache(command) => cache::run(&command, json),
        Command::Key(command) => key::run(&command, json),
        Command::Plugin(command) => plugin::run(&command, json),
        Command::Db(command) => db::run(&command, json),
        Command::Federate(command) => federate::run(&command, json),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "truststram", &mut script);
            output::text(&String::from_utf8_lossy(&script))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let (code, error) = match failure {
                Failure::Failed(error) => (1, error),
                Failure::Usage(error) => (2, error),
                Failure::Refused(error) => (3, error),
            };
            output::error(&error, code, json);
            ExitCode::from(code)
        }
    }
}
