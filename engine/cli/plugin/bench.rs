//! Owns `plugin bench`: what a decision of a component costs, beside a policy of its kind that
//! ships, as a component and as native code.
//!
//! Refuses to judge. All answer the same questions in turn, so that a busy moment of the machine
//! meets all. Bound: the rounds that are asked for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::anyhow;
use serde_json::{Value, json};
use truststram_base::SystemClock;
use truststram_policy::{
    Host, Instance, Kind, Native, PluginLimits, PluginSource, PluginSpec, QUESTIONS, Refusal,
    Rehearse, Twin, builtins,
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

/// What answers the questions.
enum Contestant<K: Kind> {
    Component(Box<Instance<K>>),
    Native(Native<K>),
}

/// A contestant: its name, and the time of each question in nanoseconds.
struct Timed<K: Kind> {
    name: String,
    contestant: Contestant<K>,
    ns: Vec<u64>,
    /// Bytes of the rows that a kernel reduced.
    bytes: u64,
}

impl<K: Rehearse + Twin> Timed<K> {
    /// Has a question answered; the first round only warms up.
    fn answer(&mut self, question: &K::Question, bytes: u64, is_kept: bool) -> Result<(), Failure> {
        let begun = Instant::now();
        let answer = match &mut self.contestant {
            Contestant::Component(instance) => K::ask(instance, question),
            Contestant::Native(native) => native.decide(question),
        };
        let elapsed = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        match answer {
            Ok(_) | Err(Refusal::Declined) if is_kept => {
                self.ns.push(elapsed);
                self.bytes += bytes;
            }
            Ok(_) | Err(Refusal::Declined) => {}
            Err(refusal) => {
                let name = &self.name;
                return Err(Failure::Failed(anyhow!("{name}, {question:?}: {refusal:?}")));
            }
        }
        Ok(())
    }
}

/// The plugin, a built-in component of its kind, and that one as native code.
fn contestants<K: Rehearse + Twin>(
    host: &Host,
    subject: &Subject,
    arguments: &BenchArguments,
) -> Result<Vec<Timed<K>>, Failure> {
    let component = |name: String, source, settings: &str| -> Result<Timed<K>, Failure> {
        let spec = PluginSpec {
            name: name.clone(),
            source,
            settings_json: settings.to_owned(),
            limits: PluginLimits { memory_bytes: 256 << 20, deadline_us: 1_000_000 },
        };
        let contestant = Contestant::Component(Box::new(host.load::<K>(&spec)?.instance()));
        Ok(Timed { name, contestant, ns: Vec::new(), bytes: 0 })
    };
    let file = PluginSource::File(subject.component.clone());
    let mut contestants = vec![component("plugin".to_owned(), file, &arguments.settings)?];
    let first = || builtins().find(|builtin| builtin.kind == K::NAME);
    let against = arguments.against.clone().or_else(|| first().map(|found| found.name.to_owned()));
    let Some(name) = against else { return Ok(contestants) };
    let builtin = PluginSource::Builtin(name.clone());
    contestants.push(component(format!("{name}, component"), builtin, "{}")?);
    let native =
        K::native(&json!({ "policy": name }).to_string()).map_err(|error| anyhow!(error))?;
    contestants.extend(native.map(|native| Timed {
        name: format!("{name}, native"),
        contestant: Contestant::Native(native),
        ns: Vec::new(),
        bytes: 0,
    }));
    Ok(contestants)
}

fn timed<K: Rehearse + Twin>(
    host: &Host,
    subject: &Subject,
    arguments: &BenchArguments,
    json: bool,
) -> Result<(), Failure> {
    let mut contestants = contestants::<K>(host, subject, arguments)?;
    // Made once by an instance of its own, so that all are asked the same.
    let mut questions = Vec::new();
    let Some(Timed { contestant: Contestant::Component(first), .. }) = contestants.first_mut()
    else {
        return Ok(());
    };
    for number in 0..QUESTIONS {
        let made = K::questions(first, number);
        questions.extend(made.map_err(|refusal| anyhow!("question {number}: {refusal:?}"))?);
    }
    let sizes: Vec<u64> = questions.iter().map(K::bytes).collect();
    for round in 0..=arguments.rounds {
        for (question, bytes) in questions.iter().zip(&sizes) {
            for contestant in &mut contestants {
                contestant.answer(question, *bytes, round > 0)?;
            }
        }
    }
    let asked = contestants[0].ns.len();
    let figures: Vec<Figure> = contestants.into_iter().map(figure).collect();
    if json {
        return output::json(&figures.iter().map(Figure::json).collect());
    }
    let rows: Vec<Vec<String>> = figures.iter().map(Figure::row).collect();
    output::text(&format!(
        "{asked} questions of kind {}, with what it takes to put them\n{}",
        K::NAME,
        output::table(&["policy", "p50 ns", "p99 ns", "GB/s"], &rows)
    ))
}

/// What is printed of a contestant.
struct Figure {
    name: String,
    p50_ns: u64,
    p99_ns: u64,
    /// Bytes of rows over the time of all questions; none where no rows are reduced.
    gb_per_s: Option<f64>,
}

fn figure<K: Kind>(mut timed: Timed<K>) -> Figure {
    timed.ns.sort_unstable();
    let at = |share: usize| timed.ns.get(timed.ns.len() * share / 100).copied().unwrap_or(0);
    let total_ns = timed.ns.iter().sum::<u64>().max(1);
    let rate = timed.bytes as f64 / total_ns as f64;
    let gb_per_s = (timed.bytes > 0).then_some(rate);
    Figure { p50_ns: at(50), p99_ns: at(99), gb_per_s, name: timed.name }
}

impl Figure {
    fn json(&self) -> Value {
        json!({
            "policy": self.name,
            "p50_ns": self.p50_ns,
            "p99_ns": self.p99_ns,
            "gb_per_s": self.gb_per_s,
        })
    }

    fn row(&self) -> Vec<String> {
        let rate = self.gb_per_s.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
        vec![self.name.clone(), self.p50_ns.to_string(), self.p99_ns.to_string(), rate]
    }
}
