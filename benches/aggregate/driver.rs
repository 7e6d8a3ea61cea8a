//! This engine's side of `benches/aggregate.sh`: one rule over the updates of a folder.
//!
//! Owns the choice of where updates lie and how many cores work. Refuses to know what is measured
//! against it. Bound: one rule in one process; prints one line of JSON.

#[path = "../inference/helper.rs"]
mod helper;
mod measure;

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use measure::Outcome;
use truststram_decide::aggregation::{Outcome as Planned, Settings, Updates, make_plan};
use truststram_federate::aggregate::{Cores, Rows, facts, reduce};
use truststram_federate::codec::{Received, Schema, SchemaTensor};
use truststram_machine::{Placement, ThreadSpec, spawn};
use truststram_model::kernels::{Alone, Isa, Team};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome {
    // Cargo gives a bench arguments of its own, beginning with two hyphens.
    let words: Vec<String> = std::env::args().skip(1).filter(|w| !w.starts_with("--")).collect();
    let spec = ThreadSpec { name: "bench".into(), cores: vec![0], ..ThreadSpec::default() };
    let thread = spawn(spec, move |_: Placement| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["bandwidth"] => bandwidth(),
            [place, cores, folder, rule, clients, repeats, out] => {
                let case = Case { folder: Path::new(folder), rule, clients: clients.parse()? };
                let repeats: usize = repeats.parse()?;
                let work = |team: Option<&dyn Team>| case.run(place == "files", team, repeats, out);
                match cores {
                    "1" => work(None),
                    _ => helper::Helper::start(1)?.team(|team| work(Some(team))),
                }
            }
            _ => Err("memory|files CORES FOLDER RULE CLIENTS REPEATS OUT, or bandwidth".into()),
        }
    })?;
    thread.join()?
}

/// The updates of a folder and what is done with them.
struct Case<'a> {
    folder: &'a Path,
    rule: &'a str,
    clients: usize,
}

impl Case<'_> {
    fn run(&self, files: bool, team: Option<&dyn Team>, repeats: usize, out: &str) -> Outcome {
        let cores = match team {
            None => Cores::one(),
            Some(team) => Cores { isa: Isa::detect(), team },
        };
        let schema = fs::read(self.folder.join("schema.json"))?;
        let tensors: Vec<SchemaTensor> = serde_json::from_slice(&schema)?;
        let schema = Schema::new(tensors)?;
        let settings = format!(r#"{{"policy": "{}"}}"#, self.rule);
        let settings = Settings::parse(&settings)?;
        let mut bodies = Vec::new();
        for client in 0..self.clients {
            let path = self.folder.join(format!("{client}.safetensors"));
            bodies.push(match files {
                true => Received::of_file(File::open(path)?, &schema)?,
                false => Received::of_bytes(fs::read(path)?, &schema)?,
            });
        }
        let mut model = Vec::new();
        let mut seconds = Vec::new();
        for _ in 0..repeats {
            let start = Instant::now();
            model = vec![0.0; schema.parameters()];
            self.aggregate(cores, &settings, &bodies, &mut model)?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        let bytes: Vec<u8> = model.iter().flat_map(|value| value.to_le_bytes()).collect();
        let status = fs::read_to_string("/proc/self/status")?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|rest| rest.trim().strip_suffix("kB")).map(str::trim);
        let peak: u64 = peak.ok_or("no VmHWM in /proc/self/status")?.parse()?;
        fs::write(out, bytes)?;
        let answer = serde_json::json!({"seconds": seconds, "peak_bytes": peak * 1024});
        writeln!(std::io::stdout(), "{answer}")?;
        Ok(())
    }

    fn aggregate(
        &self,
        cores: Cores<'_>,
        settings: &Settings,
        bodies: &[Received],
        model: &mut [f32],
    ) -> Outcome {
        let rows: Vec<&dyn Rows> = bodies.iter().map(|body| body as &dyn Rows).collect();
        let facts = facts(cores, &rows, settings.wanted())?;
        let count = rows.len();
        let updates = Updates {
            clients: (0..count as u32).collect(),
            staleness: vec![0; count],
            samples: (0..count as u64).map(|client| 100 + 7 * client).collect(),
            // The server measures each update when it arrives; Flower measures none.
            l2_norms: vec![1.0; count],
            train_losses: vec![f32::NAN; count],
            cosines: facts.cosines,
            squared_distances: facts.squared_distances,
        };
        let Planned::Aggregate(plan) = make_plan(settings, &updates)? else {
            return Err("the plan keeps the model".into());
        };
        let norms = vec![1.0; count];
        Ok(reduce(cores, &plan, (&rows, &norms), None, model)?)
    }
}

/// How fast one core and two sum up memory.
fn bandwidth() -> Outcome {
    const PARTS: usize = 16;
    let values = vec![1.0_f32; 100_000_000];
    let best = |team: &dyn Team| {
        let mut best = f64::MAX;
        for _ in 0..5 {
            let start = Instant::now();
            team.run(PARTS, &|part| {
                let size = values.len() / PARTS;
                let mut sums = [0.0_f32; 64];
                for values in values[part * size..][..size].as_chunks::<64>().0 {
                    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                }
                black_box(sums);
            });
            best = best.min(start.elapsed().as_secs_f64());
        }
        4e-9 * values.len() as f64 / best
    };
    let (one, two) = (best(&Alone), helper::Helper::start(1)?.team(|team| best(team)));
    let answer = serde_json::json!({"gigabytes_per_second": [one, two]});
    writeln!(std::io::stdout(), "{answer}")?;
    Ok(())
}
