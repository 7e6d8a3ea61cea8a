//! Owns `truststram plugin`: the plugins of a running server, and the tools of their authors.
//!
//! Refuses to change a data directory behind a server's back: it asks the server. Bound: one plugin
//! at a time.

mod author;
mod bench;
mod check;
mod key;
mod project;
mod replay;
mod start;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};

use super::client::{AdminArgument, encoded};
use super::{Failure, output};

#[derive(Debug, clap::Subcommand)]
pub(super) enum PluginCommand {
    /// List the plugins of a running server.
    List {
        #[command(flatten)]
        server: AdminArgument,
    },
    /// Show one plugin: its component, settings and figures.
    Show {
        /// The plugin's name.
        name: String,
        #[command(flatten)]
        server: AdminArgument,
    },
    /// Put a component in the place of a running server's plugin, now and after each start.
    ///
    /// The server checks it first: its imports and exports, its signature where `policy` asks for
    /// one, its settings, and its answers to some questions. Calls that are under way end on the
    /// old component.
    Install {
        /// The plugin's name.
        name: String,
        /// The component; a signature beside it, with `.sig` added to its name, is sent along.
        file: PathBuf,
        /// Settings: one JSON object.
        #[arg(long, default_value = "{}")]
        settings: String,
        /// Install it although it failed the questions that it is asked first.
        #[arg(long)]
        force: bool,
        /// `use` puts it in the place of the present one; `shadow` asks it the same and compares;
        /// `canary` lets it decide a share of the questions.
        #[arg(long, value_enum, default_value = "use")]
        stage: Stage,
        /// The share of the questions that a canary decides, above 0 and at most 1.
        #[arg(long, default_value_t = 0.05)]
        share: f64,
        #[command(flatten)]
        server: AdminArgument,
    },
    /// Go back to the component that the configuration names, for good.
    Remove(Target),
    /// Have a plugin asked again.
    Enable(Target),
    /// Have a plugin not asked: the native default decides.
    Disable(Target),
    /// Go back to the component before the present one; once more undoes that.
    Rollback(Target),
    /// Put the component on trial in the place of the present one.
    Promote(Target),
    /// Drop the component on trial.
    Discard(Target),
    /// Ask a plugin of a running server a question of its kind.
    Ask {
        /// The plugin's name.
        name: String,
        /// A file with the question as JSON, as `cases.json` has it; `-` for standard input.
        question: PathBuf,
        #[command(flatten)]
        server: AdminArgument,
    },
    /// Start a plugin: a folder with its source, which builds as it is.
    New(author::NewArguments),
    /// Build the plugin in a folder by the tools of its language.
    Build(author::BuildArguments),
    /// Check a component: imports, exports, settings, answers at the edges, recorded cases.
    Check(check::CheckArguments),
    /// Time the decisions of a component against those of a built-in one's native twin.
    Bench(bench::BenchArguments),
    /// Ask a component what a running server's plugin was asked: what would have changed?
    Replay(replay::ReplayArguments),
    /// Make a key to sign plugins with.
    Key {
        /// Where the private key is written; it must not exist yet.
        file: PathBuf,
    },
    /// Sign a component; the signature is written beside it, with `.sig` added to its name.
    Sign {
        /// The component.
        file: PathBuf,
        /// The private key that `plugin key` made.
        #[arg(long)]
        key: PathBuf,
    },
}

/// How a component is put to use.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
pub(super) enum Stage {
    /// In the place of the present one.
    Use,
    /// Beside it, and only compared.
    Shadow,
    /// Beside it, deciding a share.
    Canary,
}

#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// The plugin's name.
    name: String,
    #[command(flatten)]
    server: AdminArgument,
}

pub(super) fn run(command: &PluginCommand, json: bool) -> Result<(), Failure> {
    let act = |target: &Target, action: &str| {
        let body = json!({ "action": action }).to_string();
        show(&target.server.send("POST", &path(&target.name), body.as_bytes())?, json)
    };
    match command {
        PluginCommand::List { server } => {
            let answer = server.send("GET", "/admin/v1/plugins", &[])?;
            if json { output::json(&answer) } else { output::text(&list(&answer)) }
        }
        PluginCommand::Show { name, server } => show(&server.send("GET", &path(name), &[])?, json),
        PluginCommand::Install { name, file, settings, force, stage, share, server } => {
            let component = read(file)?;
            let mut query = format!("?force={force}&settings={}", encoded(settings));
            match stage {
                Stage::Use => {}
                Stage::Shadow => query.push_str("&stage=shadow"),
                Stage::Canary => query.push_str(&format!("&stage=canary&share={share}")),
            }
            if let Ok(signature) = fs::read_to_string(key::beside(file)) {
                query.push_str(&format!("&signature={}", encoded(signature.trim())));
            }
            show(&server.send("PUT", &format!("{}{query}", path(name)), &component)?, json)
        }
        PluginCommand::Remove(target) => {
            show(&target.server.send("DELETE", &path(&target.name), &[])?, json)
        }
        PluginCommand::Enable(target) => act(target, "enable"),
        PluginCommand::Disable(target) => act(target, "disable"),
        PluginCommand::Rollback(target) => act(target, "roll-back"),
        PluginCommand::Promote(target) => act(target, "promote"),
        PluginCommand::Discard(target) => act(target, "discard"),
        PluginCommand::Ask { name, question, server } => {
            let question = match question.to_str() {
                Some("-") => std::io::read_to_string(std::io::stdin())?.into_bytes(),
                _ => read(question)?,
            };
            let answer = server.send("POST", &format!("{}/ask", path(name)), &question)?;
            output::json(&answer["answer"])
        }
        PluginCommand::Replay(arguments) => replay::run(arguments, json),
        PluginCommand::New(arguments) => author::new(arguments, json),
        PluginCommand::Build(arguments) => author::build(arguments, json),
        PluginCommand::Check(arguments) => check::run(arguments, json),
        PluginCommand::Bench(arguments) => bench::run(arguments, json),
        PluginCommand::Key { file } => key::make(file, json),
        PluginCommand::Sign { file, key } => key::sign(file, key, json),
    }
}

fn path(name: &str) -> String {
    format!("/admin/v1/plugins/{}", encoded(name))
}

fn read(file: &std::path::Path) -> Result<Vec<u8>, Failure> {
    Ok(fs::read(file).with_context(|| format!("cannot read {}", file.display()))?)
}

fn list(answer: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let row = |plugin: &Value| {
        let state = match (&plugin["enabled"], &plugin["breaker_open"]) {
            (Value::Bool(false), _) => "disabled",
            (_, Value::Bool(true)) => "resting",
            _ => "in use",
        };
        let failures = plugin["failures"].as_object().into_iter().flatten();
        let failures: u64 = failures.filter_map(|(_, count)| count.as_u64()).sum();
        vec![
            text(&plugin["name"]),
            text(&plugin["kind"]),
            state.to_owned(),
            text(&plugin["component"]),
            text(&plugin["version"]),
            plugin["sha256"].as_str().unwrap_or("-").chars().take(12).collect(),
            text(&plugin["calls"]),
            failures.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> =
        answer["plugins"].as_array().into_iter().flatten().map(row).collect();
    let heads = ["name", "kind", "state", "component", "version", "sha256", "calls", "failures"];
    output::table(&heads, &rows)
}

fn show(plugin: &Value, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(plugin);
    }
    let facts = plugin.as_object().ok_or_else(|| anyhow!("the answer is no plugin"))?;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let rows: Vec<Vec<String>> =
        facts.iter().map(|(key, value)| vec![key.clone(), text(value)]).collect();
    output::text(&output::table(&["plugin", ""], &rows))
}
