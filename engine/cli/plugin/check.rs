//! Owns `plugin check`: what a server would refuse, and what it would only find out later.
//!
//! Refuses to change anything. Instructions are counted instead of milliseconds, so that a check
//! ends the same on every machine. Bound: the questions of a rehearsal, and the recorded cases.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use serde::Deserialize;
use serde_json::{Value, json};
use truststram_base::SystemClock;
use truststram_policy::{
    Host, Instance, Kind, PluginLimits, PluginSource, PluginSpec, QUESTIONS, Refusal, Rehearse,
    rehearse,
};

use super::project::{PluginKind, Subject, with_kind};
use super::read;
use crate::cli::{Failure, output};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct CheckArguments {
    /// The folder of a plugin, or a component.
    path: PathBuf,
    /// The kind of a component that is given without its folder.
    #[arg(long, value_enum)]
    kind: Option<PluginKind>,
    /// Settings: one JSON object.
    #[arg(long, default_value = "{}")]
    settings: String,
    /// Memory that an instance may have, in MiB.
    #[arg(long, default_value_t = 64)]
    memory_mib: usize,
    /// Recorded cases, instead of `cases.json` in the folder.
    #[arg(long)]
    cases: Option<PathBuf>,
}

/// One recorded decision: the answer that an instance with these settings gave.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound = "")]
struct Case<K: Kind> {
    /// The settings; those of the case before if absent, and `{}` in the first.
    #[serde(default)]
    settings: Option<Value>,
    question: K::Question,
    /// Absent where the component declines to answer.
    #[serde(default)]
    answer: Option<K::Answer>,
}

pub(super) fn run(arguments: &CheckArguments, json: bool) -> Result<(), Failure> {
    let mut subject = Subject::find(&arguments.path, arguments.kind)?;
    if arguments.cases.is_some() {
        subject.cases.clone_from(&arguments.cases);
    }
    let host = Host::counting(Arc::new(SystemClock::new()), subject.compiled())?;
    let mut passed = with_kind!(subject.kind, rehearsed, &host, &subject, arguments)?;
    if let Some(cases) = &subject.cases {
        let asked = with_kind!(subject.kind, recorded, &host, &subject, arguments, cases)?;
        passed.push(asked);
    }
    host.close()?;
    if json {
        return output::json(&json!({ "component": subject.component, "passed": passed }));
    }
    let lines: Vec<String> = passed.iter().map(|line| format!("ok  {line}\n")).collect();
    output::text(&format!("{}\n{}", subject.component.display(), lines.concat()))
}

fn spec(component: &Path, settings: &str, arguments: &CheckArguments) -> PluginSpec {
    PluginSpec {
        name: "checked".to_owned(),
        source: PluginSource::File(component.to_owned()),
        settings_json: settings.to_owned(),
        limits: PluginLimits { memory_bytes: arguments.memory_mib << 20, deadline_us: 60_000_000 },
    }
}

fn rehearsed<K: Rehearse>(
    host: &Host,
    subject: &Subject,
    arguments: &CheckArguments,
) -> Result<Vec<String>, Failure> {
    let spec = |settings: &str| spec(&subject.component, settings, arguments);
    let first = host.load::<K>(&spec(&arguments.settings))?;
    let info = first.info();
    let mut passed = vec![
        "imports nothing but `host` and `types`, and exports what its kind must".to_owned(),
        match first.manifest() {
            Some(manifest) => {
                let (api, settings) = (&manifest.api, manifest.settings.len());
                format!("has a manifest for `truststram:policy` {api} with {settings} settings")
            }
            None => "has no manifest, so that its settings are only checked by itself".to_owned(),
        },
        format!("says that it is `{}` {}: {}", info.name, info.version, info.summary),
    ];
    let unknown = host.load::<K>(&spec(r#"{"no such setting": 1}"#));
    match unknown {
        Err(_) => passed.push("refuses a setting that it does not know".to_owned()),
        Ok(_) => {
            return Err(Failure::Failed(anyhow!(
                "`configure` takes a setting that it cannot know: {{\"no such setting\": 1}}. A \
                 misspelt setting would be ignored; answer `invalid-config`"
            )));
        }
    }
    let second = host.load::<K>(&spec(&arguments.settings))?;
    let mut instances = [first.instance(), second.instance()];
    rehearse(&mut instances).map_err(|reason| Failure::Failed(anyhow!("{reason}")))?;
    passed.push(format!(
        "answers {QUESTIONS} questions, edges among them, within bounds and twice alike"
    ));
    let used = [&first, &second].map(|plugin| plugin.stats().fuel.get());
    if used[0] != used[1] {
        return Err(Failure::Failed(anyhow!(
            "two instances took {} and {} instructions for the same questions; something beside \
             the arguments decides",
            used[0],
            used[1]
        )));
    }
    let calls = first.stats().calls.get().max(1);
    passed
        .push(format!("takes {} instructions a call, the same in each instance", used[0] / calls));
    Ok(passed)
}

/// Asks the recorded questions in turn, of a new instance wherever a case names settings.
fn recorded<K: Kind>(
    host: &Host,
    subject: &Subject,
    arguments: &CheckArguments,
    file: &Path,
) -> Result<String, Failure> {
    let cases: Vec<Case<K>> = serde_json::from_slice(&read(file)?)
        .with_context(|| format!("{} is no list of cases of a {}", file.display(), K::NAME))?;
    let instance = |settings: &str| -> Result<Instance<K>, Failure> {
        Ok(host.load::<K>(&spec(&subject.component, settings, arguments))?.instance())
    };
    let mut asked = instance("{}")?;
    for (index, case) in cases.iter().enumerate() {
        if let Some(settings) = &case.settings {
            asked = instance(&settings.to_string())?;
        }
        let answer = K::ask(&mut asked, &case.question);
        let expected = case.answer.clone().ok_or(Refusal::Declined);
        if answer != expected {
            let question = &case.question;
            return Err(Failure::Failed(anyhow!(
                "{} case {index}: {question:?} was answered by {answer:?}, not {expected:?}",
                file.display()
            )));
        }
    }
    Ok(format!("answers its {} recorded cases", cases.len()))
}
