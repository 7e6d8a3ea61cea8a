//! A training in a process of its own is killed after its checkpoints, begun anew each time, and
//! ends with the bits of one that nobody killed.
//!
//! This program is both: without a word after its name it is the test, with a folder the training.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use truststram_train::{
    Checkpoints, DIGITS_HELD_OUT_SHARE, DIGITS_SEED, Go, LayerSpec, NetSpec, TrainSpec, digits,
    train,
};

/// The word that makes this program a training.
const AS_TRAINING: &str = "as-training";
const EVERY_STEPS: u64 = 5;
/// Steps from one beginning to the kill.
const COUNTS: [u64; 4] = [3, 13, 26, 40];

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.as_slice() {
        [role, folder] if role == AS_TRAINING => training(Path::new(folder)),
        _ => test(),
    }
}

/// Trains; after every step writes a line and waits for one. Writes the model in the end.
fn training(folder: &Path) -> Result<(), Box<dyn Error>> {
    let split = digits()?.split(DIGITS_HELD_OUT_SHARE, DIGITS_SEED);
    let mut net = NetSpec::dense(&[32]);
    net.layers.push(LayerSpec::Dropout { rate: 0.2 });
    let spec = TrainSpec { epochs: 4, net, ..TrainSpec::default() };
    let files = Checkpoints { path: folder.join("checkpoint"), every_steps: EVERY_STEPS };
    let (mut out, mut asked) = (std::io::stdout().lock(), std::io::stdin().lock());
    let mut line = String::new();
    let outcome = train(&split, &spec, &[], Some(&files), &mut |step| {
        line.clear();
        let told = writeln!(out, "{}", step.step).and_then(|()| out.flush());
        match told.and_then(|()| asked.read_line(&mut line)) {
            Ok(1..) => Go::On,
            _ => Go::Stop,
        }
    })?;
    let outcome = outcome.ok_or("the test has gone")?;
    fs::write(folder.join("model"), outcome.model.to_bytes()?)?;
    files.remove()?;
    Ok(())
}

fn start(folder: &Path) -> Result<Child, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(AS_TRAINING).arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command.spawn()?)
}

/// Lets the training go on for `count` steps or to its end; returns the first and the last, after
/// which it waits.
fn steps(child: &mut Child, count: u64) -> Result<(u64, u64), Box<dyn Error>> {
    let out = child.stdout.as_mut().ok_or("there is no output")?;
    let input = child.stdin.as_mut().ok_or("there is no input")?;
    let (mut first, mut last) = (0, 0);
    for line in BufReader::new(out).lines() {
        last = line?.parse()?;
        first = if first == 0 { last } else { first };
        if last + 1 == first + count {
            break;
        }
        writeln!(input)?;
    }
    Ok((first, last))
}

fn test() -> Result<(), Box<dyn Error>> {
    let (whole, killed) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mut child = start(whole.path())?;
    steps(&mut child, u64::MAX / 2)?;
    assert!(child.wait()?.success());
    let mut expected = 1;
    for count in COUNTS {
        let mut child = start(killed.path())?;
        let (first, last) = steps(&mut child, count)?;
        child.kill()?;
        child.wait()?;
        assert_eq!(first, expected, "goes on from the checkpoint");
        // A checkpoint is written when the step is told of.
        expected = (last - 1) / EVERY_STEPS * EVERY_STEPS + 1;
    }
    let mut child = start(killed.path())?;
    let (first, _) = steps(&mut child, u64::MAX / 2)?;
    assert!(child.wait()?.success());
    assert_eq!(first, expected, "goes on from the checkpoint");
    assert!(!killed.path().join("checkpoint").exists(), "the checkpoint is removed in the end");
    let read = |folder: &Path| fs::read(folder.join("model"));
    assert!(read(whole.path())? == read(killed.path())?, "the same bits");
    Ok(())
}
