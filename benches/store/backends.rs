//! Plain files against io_uring below the store's database: commits of 1, 100 and 1000 rows, and
//! cold scans.
//!
//! Both are asked in turn, in an order that changes, because the disk's speed differs from minute
//! to minute. Owns the questions and prints the answer, whichever way wins. Refuses to choose: the
//! engine measures for itself at start, and that answer is printed too. Bound: some minutes and
//! 2 GB. Argument: the directory, on the disk in question; the system's temporary one by default.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use truststram_base::SystemClock;
use truststram_machine::ring::forget_cached;
use truststram_store::StoreError;
use truststram_store::ring_storage::{StoreIo, Trial, choose_backend, probe_ring_storage};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const WAYS: [StoreIo; 2] = [StoreIo::File, StoreIo::Ring];
const REPETITIONS: usize = 5;
/// Rows in the file before anything is measured, and rows of each such transaction.
const ROWS_BEFORE: u64 = 100_000;
const ROWS_PER_FILLING: u64 = 5_000;
/// Rows of a transaction, and transactions of a measurement.
const SIZES: [(u64, u64); 3] = [(1, 300), (100, 60), (1_000, 20)];
const CACHE_BYTES: usize = 64 << 20;
/// For scans: less than the file has, so that each page is read from the file.
const SCAN_CACHE_BYTES: usize = 4 << 20;
const SEGMENTS: u64 = 2_000;
const SEGMENT_BYTES: usize = 128 << 10;

fn main() -> Outcome {
    // `cargo bench` adds an argument of its own.
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let parent = given.map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(parent)?;
    let mut out = std::io::stdout().lock();
    let is_direct = match probe_ring_storage(dir.path()) {
        Ok(is_direct) => is_direct,
        Err(error) => {
            writeln!(out, "io_uring is refused here, so there is nothing to compare: {error}")?;
            return Ok(());
        }
    };
    writeln!(out, "io_uring goes {} the page cache", if is_direct { "past" } else { "through" })?;
    for _ in 0..3 {
        let begun = Instant::now();
        let choice = choose_backend(dir.path(), &SystemClock::new());
        let ms = begun.elapsed().as_millis();
        writeln!(out, "auto: {choice}, after {ms} ms; {}", choice.reason)?;
    }
    commits(dir.path(), &mut out)?;
    scans(dir.path(), &mut out, "rows of 300 bytes", |trial| {
        (0..200_000)
            .step_by(ROWS_PER_FILLING as usize)
            .try_for_each(|row| trial.commit_rows(row, ROWS_PER_FILLING))
    })?;
    scans(dir.path(), &mut out, "segments of 128 KiB", |trial| {
        (0..SEGMENTS).try_for_each(|number| trial.commit_segment(number, SEGMENT_BYTES))
    })
}

/// The two ways in an order that changes from one repetition to the next.
fn in_turn(repetition: usize) -> [usize; 2] {
    if repetition.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_unstable_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// One line: both medians with the slowest and fastest repetition, and what io_uring gains.
fn line(out: &mut impl Write, name: &str, unit: &str, rates: &mut [Vec<f64>; 2]) -> Outcome {
    let [file, ring] = rates;
    let (file_median, ring_median) = (median(file), median(ring));
    writeln!(
        out,
        "{name:<22} file {file_median:>8.0} ({:.0}-{:.0})  uring {ring_median:>8.0} \
         ({:.0}-{:.0}) {unit}  uring {:.2}x",
        file[0],
        file[file.len() - 1],
        ring[0],
        ring[ring.len() - 1],
        ring_median / file_median
    )?;
    Ok(())
}

fn commits(dir: &Path, out: &mut impl Write) -> Outcome {
    let paths = WAYS.map(|io| dir.join(io.name()));
    let mut trials = Vec::new();
    for (path, io) in paths.iter().zip(WAYS) {
        let trial = Trial::open(path, io, CACHE_BYTES)?;
        for first in (0..ROWS_BEFORE).step_by(ROWS_PER_FILLING as usize) {
            trial.commit_rows(first, ROWS_PER_FILLING)?;
        }
        trials.push(trial);
    }
    let mut next = [ROWS_BEFORE; 2];
    for (rows, transactions) in SIZES {
        let mut rates = [Vec::new(), Vec::new()];
        for repetition in 0..REPETITIONS {
            for way in in_turn(repetition) {
                let begun = Instant::now();
                for _ in 0..transactions {
                    trials[way].commit_rows(next[way], rows)?;
                    next[way] += rows;
                }
                rates[way].push((rows * transactions) as f64 / begun.elapsed().as_secs_f64());
            }
        }
        line(out, &format!("commit of {rows}"), "rows/s", &mut rates)?;
    }
    for (mut trial, io) in trials.into_iter().zip(WAYS) {
        if !trial.check()? {
            return Err(format!("the file of {} is damaged", io.name()).into());
        }
    }
    for path in paths {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

fn scans(
    dir: &Path,
    out: &mut impl Write,
    name: &str,
    fill: impl Fn(&Trial) -> Result<(), StoreError>,
) -> Outcome {
    let path = dir.join("scanned");
    fill(&Trial::open(&path, StoreIo::File, CACHE_BYTES)?)?;
    let mut rates = [Vec::new(), Vec::new()];
    for repetition in 0..REPETITIONS {
        for way in in_turn(repetition) {
            forget_cached(&File::open(&path)?)?;
            let trial = Trial::open(&path, WAYS[way], SCAN_CACHE_BYTES)?;
            let begun = Instant::now();
            let mib = trial.scan()? as f64 / f64::from(1 << 20);
            rates[way].push(mib / begun.elapsed().as_secs_f64());
        }
    }
    line(out, name, "MiB/s", &mut rates)?;
    std::fs::remove_file(path)?;
    Ok(())
}
