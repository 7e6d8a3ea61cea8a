//! Owns `plugin replay`: decisions that a running server recorded, asked again of a component, and
//! what would have changed.
//!
//! Refuses to judge which answer is better. Instructions are counted instead of milliseconds, so
//! that it ends the same on every machine. Bound: the runs that the server kept, and
//! [`CHANGES_SHOWN`].

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};
use truststram_base::SystemClock;
use truststram_policy::{Host, Kind, Plugin, PluginLimits, PluginSource, PluginSpec, Run};

use super::project::{PluginKind, Subject, kind_of_builtin, with_kind};
use super::read;
use crate::cli::client::AdminArgument;
use crate::cli::{Failure, output};
use crate::wire::decisions;

/// Changes that are shown; all are counted.
const CHANGES_SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ReplayArguments {
    /// The folder of a plugin, or a component; `builtin:NAME` for a policy that ships.
    path: PathBuf,
    /// The plugin whose decisions are asked again; the server's plugin of that name recorded them.
    #[arg(long = "of", value_name = "NAME", required_unless_present = "from")]
    of: Option<String>,
    /// Decisions that were saved, instead of a server's.
    #[arg(long, value_name = "FILE", conflicts_with = "of")]
    from: Option<PathBuf>,
    /// Write the server's decisions to a file, for `--from`.
    #[arg(long, value_name = "FILE", requires = "of")]
    save: Option<PathBuf>,
    /// The kind of a component that is given without its folder.
    #[arg(long, value_enum)]
    kind: Option<PluginKind>,
    /// Settings: one JSON object. Those that were recorded, if the component is the same.
    #[arg(long)]
    settings: Option<String>,
    /// Memory that an instance may have, in MiB.
    #[arg(long, default_value_t = 256)]
    memory_mib: usize,
    #[command(flatten)]
    server: AdminArgument,
}

/// What came of a replay.
#[derive(Default)]
struct Replay {
    runs: usize,
    decisions: usize,
    same: usize,
    /// Runs of another kind, or damaged.
    unreadable: usize,
    changed: usize,
    shown: Vec<Value>,
}

pub(super) fn run(arguments: &ReplayArguments, json: bool) -> Result<(), Failure> {
    let runs = match (&arguments.from, &arguments.of) {
        (Some(file), _) => read(file)?,
        (None, Some(name)) => arguments.server.fetch(&decisions::path(name))?,
        (None, None) => Vec::new(),
    };
    if let Some(file) = &arguments.save {
        std::fs::write(file, &runs).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let runs = decisions::split(&runs)
        .ok_or_else(|| Failure::Failed(anyhow!("these are no recorded decisions")))?;
    let (source, kind, compiled) = subject(arguments)?;
    let host = Host::counting(Arc::new(SystemClock::new()), compiled)?;
    let replay = with_kind!(kind, replayed, &host, &source, arguments, &runs)?;
    host.close()?;
    report(&replay, json)
}

type Found = (PluginSource, PluginKind, Option<PathBuf>);

/// The component, its kind, and where its compiled code is kept.
fn subject(arguments: &ReplayArguments) -> Result<Found, Failure> {
    let builtin = arguments.path.to_str().and_then(|path| path.strip_prefix("builtin:"));
    let Some(name) = builtin else {
        let subject = Subject::find(&arguments.path, arguments.kind)?;
        let compiled = subject.compiled();
        return Ok((PluginSource::File(subject.component), subject.kind, compiled));
    };
    let kind = kind_of_builtin(name)
        .ok_or_else(|| Failure::Usage(anyhow!("no policy that ships is named `{name}`")))?;
    Ok((PluginSource::Builtin(name.to_owned()), kind, None))
}

fn replayed<K: Kind>(
    host: &Host,
    source: &PluginSource,
    arguments: &ReplayArguments,
    runs: &[&[u8]],
) -> Result<Replay, Failure> {
    let load = |settings: &str| {
        host.load::<K>(&PluginSpec {
            name: "replayed".to_owned(),
            source: source.clone(),
            settings_json: settings.to_owned(),
            limits: PluginLimits {
                memory_bytes: arguments.memory_mib << 20,
                deadline_us: 60_000_000,
            },
        })
    };
    let given = arguments.settings.as_deref();
    let mut plugin: Arc<Plugin<K>> = load(given.unwrap_or("{}"))?;
    let sha256 = plugin.sha256();
    let is_builtin = matches!(source, PluginSource::Builtin(_));
    let mut replay = Replay::default();
    for bytes in runs {
        let Some(run) = Run::<K>::decode(bytes) else {
            replay.unreadable += 1;
            continue;
        };
        let is_recorded = given.is_none() && !is_builtin && run.sha256 == sha256;
        if is_recorded && plugin.spec().settings_json != run.settings_json {
            plugin = load(&run.settings_json)?;
        }
        replay.runs += 1;
        let mut instance = plugin.instance_from(&run.state, run.seed)?;
        for decided in &run.decisions {
            let answer = K::ask(&mut instance, &decided.question);
            replay.decisions += 1;
            if answer == decided.answer {
                replay.same += 1;
                continue;
            }
            replay.changed += 1;
            if replay.shown.len() < CHANGES_SHOWN {
                let shown = |answer: &Result<K::Answer, _>| format!("{answer:?}");
                replay.shown.push(json!({
                    "at_us": run.begun_us,
                    "question": decided.question,
                    "was": shown(&decided.answer),
                    "would_be": shown(&answer),
                }));
            }
        }
    }
    Ok(replay)
}

fn report(replay: &Replay, json: bool) -> Result<(), Failure> {
    let Replay { runs, decisions, same, unreadable, changed, shown } = replay;
    if json {
        return output::json(&json!({
            "runs": runs,
            "decisions": decisions,
            "same": same,
            "changed": changed,
            "unreadable_runs": unreadable,
            "changes": shown,
        }));
    }
    let mut text = format!(
        "{decisions} decisions in {runs} runs: {same} would be the same, {changed} would change\n"
    );
    if *unreadable > 0 {
        text.push_str(&format!("{unreadable} runs are of another kind, or damaged\n"));
    }
    for change in shown {
        let word = |key: &str| change[key].as_str().unwrap_or_default().to_owned();
        let question = change["question"].to_string();
        text.push_str(&format!(
            "\n{question}\n  was      {}\n  would be {}\n",
            word("was"),
            word("would_be")
        ));
    }
    if *changed > shown.len() {
        text.push_str(&format!("\nand {} more\n", changed - shown.len()));
    }
    output::text(&text)
}
