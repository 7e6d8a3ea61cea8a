//! Owns what `store.io = auto` chooses: both ways commit small transactions in turn to files of
//! the data directory, and the faster one is taken.
//!
//! Small transactions are what a caller waits for. io_uring must win clearly, because it gives up
//! the page cache. Refuses to fail: what cannot be measured is reached as plain files, and the
//! reason is kept. Bound: [`COMMITS_MAX`] commits each, no new one after [`BUDGET_US`]; two files
//! that are removed.

use std::fmt;
use std::fs::remove_file;
use std::io;
use std::path::{Path, PathBuf};

use truststram_base::Clock;
use truststram_machine::ring::RingRefusal;

use super::probe_ring_storage;
use super::trial::{StoreIo, Trial};
use crate::error::StoreError;

/// Most commits that are measured of each way.
const COMMITS_MAX: usize = 32;
/// Fewer commits than this decide nothing.
const COMMITS_MIN: usize = 3;
/// When measuring ends, in microseconds.
const BUDGET_US: u64 = 100_000;
/// io_uring is taken when its commit takes at most this share of a plain one, in percent.
const SHARE_PERCENT_MAX: u64 = 90;
const CACHE_BYTES: usize = 1 << 20;

/// What was chosen, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendChoice {
    /// The way to reach files.
    pub chosen: StoreIo,
    /// The reason, for operators.
    pub reason: String,
    /// The median commit through plain files, in microseconds, if it was measured.
    pub file_us_per_commit: Option<u64>,
    /// The median commit through io_uring, in microseconds, if it was measured.
    pub ring_us_per_commit: Option<u64>,
}

impl BackendChoice {
    /// How many commits io_uring makes while plain files make one, if both were measured.
    pub fn ring_speed(&self) -> Option<f64> {
        let (file, ring) = (self.file_us_per_commit?, self.ring_us_per_commit?);
        Some(file as f64 / ring.max(1) as f64)
    }
}

impl fmt::Display for BackendChoice {
    /// As in `file (uring 0.8x)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ring_speed() {
            Some(speed) => write!(f, "{} (uring {speed:.1}x)", self.chosen.name()),
            None => write!(f, "{} ({})", self.chosen.name(), self.reason),
        }
    }
}

/// Measures both ways in `directory` and chooses.
pub fn choose_backend(directory: &Path, clock: &dyn Clock) -> BackendChoice {
    choose_after(probe_ring_storage(directory), directory, clock)
}

fn choose_after(probe: io::Result<bool>, directory: &Path, clock: &dyn Clock) -> BackendChoice {
    if let Err(error) = probe {
        return unmeasured(refusal(&error));
    }
    let files = [StoreIo::File, StoreIo::Ring].map(|io| TrialFile::new(directory, io));
    let measured = measure(&files, clock);
    let removed = files.iter().map(TrialFile::remove).fold(Ok(()), Result::and);
    match (measured, removed) {
        (Ok(times), Ok(())) => decide(times),
        (Err(error), _) => unmeasured(format!("io_uring could not be measured: {error}")),
        (Ok(_), Err(error)) => {
            unmeasured(format!("the files of the measurement could not be removed: {error}"))
        }
    }
}

/// One of the two files that are written and removed.
struct TrialFile {
    path: PathBuf,
    io: StoreIo,
}

impl TrialFile {
    fn new(directory: &Path, io: StoreIo) -> Self {
        Self { path: directory.join(format!(".io-trial-{}", io.name())), io }
    }

    fn remove(&self) -> io::Result<()> {
        match remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The commit times of each way, in microseconds.
fn measure(files: &[TrialFile; 2], clock: &dyn Clock) -> Result<[Vec<u64>; 2], StoreError> {
    let begun_us = clock.monotonic_us();
    let is_over = || clock.monotonic_us().saturating_sub(begun_us) >= BUDGET_US;
    let open = |file: &TrialFile| {
        // A process that was killed while measuring leaves its files.
        file.remove().map_err(|source| {
            let path = file.path.clone();
            StoreError::Io { action: "remove", path, source }
        })?;
        let trial = Trial::open(&file.path, file.io, CACHE_BYTES)?;
        trial.commit_rows(0, 1)?;
        Ok::<Trial, StoreError>(trial)
    };
    let trials = [open(&files[0])?, open(&files[1])?];
    let mut times = [Vec::new(), Vec::new()];
    for row in 1..=COMMITS_MAX as u64 {
        if is_over() {
            break;
        }
        for (trial, times) in trials.iter().zip(&mut times) {
            let commit_us = clock.monotonic_us();
            trial.commit_rows(row, 1)?;
            times.push(clock.monotonic_us().saturating_sub(commit_us));
        }
    }
    Ok(times)
}

fn decide([mut file, mut ring]: [Vec<u64>; 2]) -> BackendChoice {
    if file.len().min(ring.len()) < COMMITS_MIN {
        return unmeasured("the disk is too slow to compare both ways at start".to_owned());
    }
    let median = |times: &mut Vec<u64>| {
        let middle = times.len() / 2;
        *times.select_nth_unstable(middle).1
    };
    let (file_us, ring_us) = (median(&mut file), median(&mut ring));
    let is_faster = ring_us < file_us
        && ring_us.saturating_mul(100) <= file_us.saturating_mul(SHARE_PERCENT_MAX);
    let (chosen, verdict) = match is_faster {
        true => (StoreIo::Ring, "io_uring is faster here"),
        false => (StoreIo::File, "io_uring is not clearly faster here"),
    };
    BackendChoice {
        chosen,
        reason: format!("{verdict}: {ring_us} us a commit against {file_us} us of plain files"),
        file_us_per_commit: Some(file_us),
        ring_us_per_commit: Some(ring_us),
    }
}

fn unmeasured(reason: String) -> BackendChoice {
    BackendChoice {
        chosen: StoreIo::File,
        reason,
        file_us_per_commit: None,
        ring_us_per_commit: None,
    }
}

fn refusal(error: &io::Error) -> String {
    match RingRefusal::of(error) {
        Some(refusal) => refusal.reason().to_owned(),
        None => format!("io_uring cannot be tried in the data directory: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use truststram_base::{ManualClock, SystemClock};

    #[test]
    fn the_clearly_faster_way_is_chosen() {
        let check = |file: &[u64], ring: &[u64], expected: &str| {
            let choice = decide([file.to_vec(), ring.to_vec()]);
            assert_eq!(choice.to_string(), expected, "{}", choice.reason);
        };
        check(&[100, 100, 100], &[90, 90, 90], "uring (uring 1.1x)");
        check(&[100, 100, 100], &[91, 91, 91], "file (uring 1.1x)");
        check(&[100, 900, 100], &[200, 1, 200], "file (uring 0.5x)");
        check(&[50, 40, 30, 20, 10], &[0, 0, 0, 9, 9], "uring (uring 30.0x)");
        check(&[0, 0, 0], &[0, 0, 0], "file (uring 0.0x)");
        let slow = "file (the disk is too slow to compare both ways at start)";
        check(&[100, 100], &[1, 1], slow);
        check(&[], &[], slow);
    }

    #[test]
    fn measuring_leaves_nothing_behind_and_gives_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".io-trial-uring"), b"left by a killed process").unwrap();
        for clock in [&SystemClock::new() as &dyn Clock, &ManualClock::at(0)] {
            let choice = choose_backend(dir.path(), clock);
            assert!(!choice.reason.is_empty() && !choice.to_string().is_empty());
            let is_measured = choice.file_us_per_commit.is_some();
            assert_eq!(is_measured, choice.ring_us_per_commit.is_some());
            assert!(is_measured || choice.chosen == StoreIo::File, "{choice:?}");
        }
        let left = |entry: io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(left).collect();
        assert!(left.is_empty() || probe_ring_storage(dir.path()).is_err(), "{left:?}");
        let refused = Err(io::ErrorKind::Unsupported.into());
        let choice = choose_after(refused, dir.path(), &SystemClock::new());
        assert_eq!((choice.chosen, choice.file_us_per_commit), (StoreIo::File, None));
        assert!(choice.reason.contains("cannot be tried"), "{}", choice.reason);
        let choice = choose_backend(&dir.path().join("none"), &SystemClock::new());
        assert_eq!((choice.chosen, choice.file_us_per_commit), (StoreIo::File, None));
    }
}
