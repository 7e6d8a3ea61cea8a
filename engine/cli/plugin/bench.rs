//! Owns `plugin bench`: what a decision of a component costs, beside a built-in one of its kind.
//!
//! Refuses to judge. Both answer the same questions in turn, so that a busy moment of the machine
//! meets both. Bound: the rounds that are asked for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::anyhow;
use serde_json::json;
use truststram_base::SystemClock;
use truststram_policy::{
    Host, Instance, Kind, PluginLimits, PluginSource, PluginSpec, QUESTIONS, Refusal, Rehearse,
    builtins,
};

use super::project::{PluginKind, Subject, with_kind};
use crate::cli::{Failure, output};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct BenchArguments {
    /// The folder of a plugin, or a component.
    path: PathBuf,
    /// The kind of a component that is given without its folder.
    #[arg(long, value_enum)]
    kind: Option<PluginKind>,
    /// Settings: one JSON object.
    #[arg(long, default_value = "{}")]
    settings: String,
    /// How often all questions are asked.
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// The built-in policy beside it; the first of its kind if not given.
    #[arg(long)]
    against: Option<String>,
}

pub(super) fn run(arguments: &BenchArguments, json: bool) -> Result<(), Failure> {
    let subject = Subject::find(&arguments.path, arguments.kind)?;
    let host = Host::with_cache(Arc::new(SystemClock::new()), subject.compiled())?;
    with_kind!(subject.kind, timed, &host, &subject, arguments, json)?;
    Ok(host.close()?)
}

/// A contestant: its name, an instance, and the time of each question.
struct Timed<K: Kind> {
    name: String,
    instance: Instance<K>,
    ns: Vec<u64>,
}

impl<K: Rehearse> Timed<K> {
    /// Has the questions with this number answered; the first round only warms up.
    fn answer(&mut self, number: u64, is_kept: bool) -> Result<(), Failure> {
        let questions = K::questions(&mut self.instance, number);
        let failed = |refusal: Refusal| {
            let name = &self.name;
            Failure::Failed(anyhow!("{name}, question {number}: {refusal:?}"))
        };
        for question in questions.map_err(failed)? {
            let begun = Instant::now();
            let answer = K::ask(&mut self.instance, &question);
            let elapsed = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            match answer {
                Ok(_) | Err(Refusal::Declined) if is_kept => self.ns.push(elapsed),
                Ok(_) | Err(Refusal::Declined) => {}
                Err(refusal) => return Err(failed(refusal)),
            }
        }
        Ok(())
    }
}

fn timed<K: Rehearse>(
    host: &Host,
    subject: &Subject,
    arguments: &BenchArguments,
    json: bool,
) -> Result<(), Failure> {
    let spec = |name: &str, source, settings: &str| PluginSpec {
        name: name.to_owned(),
        source,
        settings_json: settings.to_owned(),
        limits: PluginLimits { memory_bytes: 64 << 20, deadline_us: 1_000_000 },
    };
    let load = |spec: &PluginSpec| -> Result<Timed<K>, Failure> {
        let instance = host.load::<K>(spec)?.instance();
        Ok(Timed { name: spec.name.clone(), instance, ns: Vec::new() })
    };
    let file = PluginSource::File(subject.component.clone());
    let mut contestants = vec![load(&spec("plugin", file, &arguments.settings))?];
    let first = || builtins().find(|builtin| builtin.kind == K::NAME);
    let against = arguments.against.clone().or_else(|| first().map(|found| found.name.to_owned()));
    if let Some(name) = against {
        contestants.push(load(&spec(&name, PluginSource::Builtin(name.clone()), "{}"))?);
    }
    for round in 0..=arguments.rounds {
        for number in 0..QUESTIONS {
            for contestant in &mut contestants {
                contestant.answer(number, round > 0)?;
            }
        }
    }
    let asked = contestants[0].ns.len();
    let figures: Vec<(String, u64, u64)> = contestants
        .into_iter()
        .map(|mut contestant| {
            contestant.ns.sort_unstable();
            let at = |share: usize| {
                contestant.ns.get(contestant.ns.len() * share / 100).copied().unwrap_or(0)
            };
            (contestant.name, at(50), at(99))
        })
        .collect();
    if json {
        let rows = figures
            .iter()
            .map(|(name, p50, p99)| json!({ "policy": name, "p50_ns": p50, "p99_ns": p99 }));
        return output::json(&rows.collect());
    }
    let rows: Vec<Vec<String>> = figures
        .iter()
        .map(|(name, p50, p99)| vec![name.clone(), p50.to_string(), p99.to_string()])
        .collect();
    output::text(&format!(
        "{asked} questions of kind {}, with what it takes to put them\n{}",
        K::NAME,
        output::table(&["policy", "p50 ns", "p99 ns"], &rows)
    ))
}
