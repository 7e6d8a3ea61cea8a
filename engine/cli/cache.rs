//! Owns `truststram cache`: the figures of a running server's cache of answers, and what is removed
//! from it.
//!
//! Refuses to name answers: the server finds them. Bound: one request.

use serde_json::{Value, json};

use super::client::AdminArgument;
use super::{Failure, output};

#[derive(Debug, clap::Subcommand)]
pub(super) enum CacheCommand {
    /// Show what is kept, and how requests were answered.
    Stats(AdminArgument),
    /// Remove answers; the next request for each goes to its server.
    Purge(PurgeArguments),
}

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct PurgeArguments {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    server: AdminArgument,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// The answer for one host and path, with its query: `example.org/a?b`.
    #[arg(long)]
    key: Option<String>,
    /// Answers whose host and path begin like this.
    #[arg(long)]
    prefix: Option<String>,
    /// Answers whose `Cache-Tag` or `Surrogate-Key` has this word.
    #[arg(long)]
    tag: Option<String>,
    /// All answers.
    #[arg(long)]
    all: bool,
}

pub(super) fn run(command: &CacheCommand, as_json: bool) -> Result<(), Failure> {
    match command {
        CacheCommand::Stats(server) => {
            let stats = server.send("GET", "/admin/v1/cache", b"")?;
            if as_json {
                return output::json(&stats);
            }
            let fields = stats.as_object().into_iter().flatten();
            let rows = fields.map(|(name, value)| vec![name.replace('_', " "), value.to_string()]);
            output::text(&output::table(&["cache", ""], &rows.collect::<Vec<_>>()))
        }
        CacheCommand::Purge(PurgeArguments { what, server }) => {
            let body = match what {
                What { key: Some(key), .. } => json!({ "key": key }),
                What { prefix: Some(prefix), .. } => json!({ "prefix": prefix }),
                What { tag: Some(tag), .. } => json!({ "tag": tag }),
                What { .. } => json!({ "all": what.all }),
            };
            let body = body.to_string();
            let answer = server.send("POST", "/admin/v1/cache/purge", body.as_bytes())?;
            if as_json {
                return output::json(&answer);
            }
            let removed = answer["removed"].as_u64().map_or(Value::Null, Value::from);
            output::text(&format!("removed {removed}\n"))
        }
    }
}
