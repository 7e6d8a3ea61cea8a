//! This engine's side of `benches/train.sh`: times steps of one network after the other.
//!
//! Owns the networks and the loop of steps. Refuses to know what is measured against it. Bound:
//! one thread on the first of the cores that it is given, and a worker on each where there are
//! more.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use truststram_machine::{Placement, ThreadSpec, spawn};
use truststram_train::{
    Batch, EncoderActivation, EncoderPooling, EncoderSpec, LayerActivation, LayerSpec, NetSpec,
    Pace, Precision, StepOptions, Stepper, Targets,
};

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

const PACE: Pace = Pace { rate: 1e-3, momentum: None };
const FEATURES: usize = 784;
const CLASSES: u32 = 10;
const TOKENS: usize = 32;
const VOCABULARY: usize = 1_000;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// The words after the program's name: cores as in `0,1`, network, batch, seconds, and `bf16` where
/// products are computed in that.
fn run() -> Outcome {
    // Cargo gives a bench arguments of its own, beginning with two hyphens.
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let (cores, net, batch, seconds, precision) = match words.as_slice() {
        [cores, net, batch, seconds] => (cores, net, batch, seconds, Precision::F32),
        [cores, net, batch, seconds, bf16] if bf16 == "bf16" => {
            (cores, net, batch, seconds, Precision::Bf16)
        }
        _ => return Err("which cores, network, batch and seconds?".into()),
    };
    let cores = cores.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    let net = NetSpec { precision, ..network(net)? };
    let (rows, seconds) = (batch.parse()?, seconds.parse()?);
    let first = cores.iter().copied().take(1).collect();
    let spec = ThreadSpec { name: "bench".into(), cores: first, ..ThreadSpec::default() };
    let thread = spawn(spec, move |_: Placement| time(&net, rows, seconds, &cores))?;
    thread.join()?
}

fn network(name: &str) -> Result<NetSpec, String> {
    let activation = LayerActivation::Relu;
    let conv = |channels| LayerSpec::Conv { channels, kernel: 3, padding: 1, activation };
    let pool = || LayerSpec::MaxPool { size: 2 };
    match name {
        "dense" => Ok(NetSpec::dense(&[200, 200])),
        "cnn" => Ok(NetSpec {
            image: Some([28, 28, 1]),
            layers: vec![
                conv(16),
                pool(),
                conv(32),
                pool(),
                LayerSpec::Dense { outputs: 128, activation },
            ],
            ..NetSpec::default()
        }),
        "encoder" => Ok(NetSpec {
            layers: vec![LayerSpec::Encoder(Box::new(EncoderSpec {
                vocabulary: VOCABULARY,
                length_max: TOKENS,
                hidden: 128,
                layers: 2,
                heads: 4,
                feed_forward: 512,
                activation: EncoderActivation::Gelu,
                pooling: EncoderPooling::Mean,
                dropout: 0.0,
                attention_dropout: 0.0,
                recompute: false,
                epsilon: 1e-5,
                position_first: 0,
                padding: None,
                types: 0,
            }))],
            ..NetSpec::default()
        }),
        other => Err(format!("`{other}` is no network")),
    }
}

/// Prints the median of a step, the loss at the first and after the steps before the timed ones,
/// and how many were timed.
fn time(net: &NetSpec, rows: usize, seconds: f64, cores: &[u32]) -> Outcome {
    let mut state = 1_u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    let is_of_texts = net.encoder().is_some();
    let inputs = if is_of_texts { TOKENS } else { FEATURES };
    let features: Vec<f32> = (0..rows * inputs)
        .map(|_| match is_of_texts {
            true => ((next() + 1.0) / 2.0 * VOCABULARY as f32).floor(),
            false => next(),
        })
        .collect();
    let labels: Vec<u32> = (0..rows as u32).map(|row| row % CLASSES).collect();
    let mut stepper = Stepper::new(net, (inputs, CLASSES as usize), StepOptions::default(), cores)?;
    let batch = Batch { features: &features, targets: Targets::Classes(&labels), rows };
    let mut step = || {
        stepper.accumulate(batch, 0);
        stepper.finish(PACE).mean()
    };
    let first = step();
    let steps_before = if is_of_texts { 3 } else { 40 };
    let after = (0..steps_before).map(|_| step()).last().unwrap_or(first);
    let mut times = Vec::new();
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let mut before = Instant::now();
    while before < until || times.len() < 5 {
        step();
        let now = Instant::now();
        times.push(now - before);
        before = now;
    }
    times.sort_unstable();
    let median = times[times.len() / 2].as_secs_f64() * 1e6;
    let line = format!(
        "{{\"median_us\": {median:.1}, \"least_us\": {:.1}, \"first_loss\": {first:.6}, \
         \"loss\": {after:.6}, \"steps\": {}}}\n",
        times[0].as_secs_f64() * 1e6,
        times.len()
    );
    std::io::stdout().write_all(line.as_bytes())?;
    Ok(())
}
