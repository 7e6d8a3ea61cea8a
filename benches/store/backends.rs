//! Plain files against io_uring below the store's database: commits of 1, 100 and 1000 rows, and
//! cold scans. io_uring is asked twice: with the sync linked to the writes, as the store does it,
//! and with the sync as a call of its own.
//!
//! All are asked in turn, in an order that changes, because the disk's speed differs from minute
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

/// A name, and how the database is opened.
type Way = (&'static str, fn(&Path, usize) -> Result<Trial, StoreError>);

const WAYS: [Way; 3] = [
    ("file", |path, cache_bytes| Trial::open(path, StoreIo::File, cache_bytes)),
    ("uring", |path, cache_bytes| Trial::open(path, StoreIo::Ring, cache_bytes)),
    ("uring-call", Trial::open_calling),
];
const REPETITIONS: usize = 6;
/// Rows in the file before anything is measured, and rows of each such transaction.
const ROWS_BEFORE: u64 = 100_000;
const ROWS_PER_FILLING: usize = 5_000;
/// Rows of a transaction, and transactions of a measurement.
const SIZES: [(u64, u64); 3] = [(1, 300), (100, 60), (1_000, 20)];
const CACHE_BYTES: usize = 64 << 20;
/// For scans: what the store gives to files of past months, and less than the file has.
const SCAN_CACHE_BYTES: usize = 4 << 20;
const ROWS_SCANNED: u64 = 200_000;
const SEGMENTS: u64 = 2_000;
const SEGMENT_BYTES: usize = 128 << 10;

/// Medians are taken of these, one list for each way.
type Rates = [Vec<f64>; WAYS.len()];

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
    scans(dir.path(), &mut out, "scan, rows of 300 B", |trial| fill(trial, ROWS_SCANNED))?;
    scans(dir.path(), &mut out, "scan, 128 KiB segments", |trial| {
        (0..SEGMENTS).try_for_each(|number| trial.commit_segment(number, SEGMENT_BYTES))
    })
}

fn fill(trial: &Trial, rows: u64) -> Result<(), StoreError> {
    let mut firsts = (0..rows).step_by(ROWS_PER_FILLING);
    firsts.try_for_each(|first| trial.commit_rows(first, ROWS_PER_FILLING as u64))
}

/// The ways in an order that changes from one repetition to the next.
fn in_turn(repetition: usize) -> impl Iterator<Item = usize> {
    (0..WAYS.len()).map(move |turn| (turn + repetition) % WAYS.len())
}

/// One line: each way's median with its slowest and fastest repetition, and how it compares with
/// the first.
fn line(out: &mut impl Write, name: &str, unit: &str, mut rates: Rates) -> Outcome {
    write!(out, "{name:<23}")?;
    let mut first = None;
    for ((way, _), rates) in WAYS.iter().zip(&mut rates) {
        rates.sort_unstable_by(f64::total_cmp);
        let median = rates[rates.len() / 2];
        let ratio = median / *first.get_or_insert(median);
        let (slowest, fastest) = (rates[0], rates[rates.len() - 1]);
        write!(out, "  {way} {median:.0} ({slowest:.0}-{fastest:.0}) {ratio:.2}x")?;
    }
    writeln!(out, "  {unit}")?;
    Ok(())
}

fn commits(dir: &Path, out: &mut impl Write) -> Outcome {
    let paths = WAYS.map(|(name, _)| dir.join(name));
    let mut trials = Vec::new();
    for (path, (_, open)) in paths.iter().zip(WAYS) {
        let trial = open(path, CACHE_BYTES)?;
        fill(&trial, ROWS_BEFORE)?;
        trials.push(trial);
    }
    let mut next = [ROWS_BEFORE; WAYS.len()];
    for (rows, transactions) in SIZES {
        let mut rates = Rates::default();
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
        line(out, &format!("commit, {rows} rows"), "rows/s", rates)?;
    }
    for (mut trial, (name, _)) in trials.into_iter().zip(WAYS) {
        if !trial.check()? {
            return Err(format!("the file of {name} is damaged").into());
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
    let mut rates = Rates::default();
    for repetition in 0..REPETITIONS {
        for way in in_turn(repetition) {
            forget_cached(&File::open(&path)?)?;
            let trial = WAYS[way].1(&path, SCAN_CACHE_BYTES)?;
            let begun = Instant::now();
            let mib = trial.scan()? as f64 / f64::from(1 << 20);
            rates[way].push(mib / begun.elapsed().as_secs_f64());
        }
    }
    line(out, name, "MiB/s", rates)?;
    std::fs::remove_file(path)?;
    Ok(())
}
