//! Owns the bulk load: rows in chunks, a few chunks in flight, a line of figures per step.
//!
//! Refuses to know how far the load goes in all; `run.py` calls it step by step, so that every
//! system loads in turn. Bound: [`CHUNKS_IN_FLIGHT`] chunks of [`CHUNK_ROWS`] rows in memory.

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use truststram_base::PredictionRecord;
use truststram_store::{CommitFailure, Store, StoreError};

use crate::arguments::Arguments;
use crate::rows::{Times, Workload};
use crate::{Outcome, figures};

const CHUNK_ROWS: u64 = 4_096;
const CHUNKS_IN_FLIGHT: usize = 8;

type Acknowledgements = Receiver<Result<(), CommitFailure>>;

/// Loads `--rows` rows from `--from` on; a line every `--every` rows, after these are on disk.
///
/// # Errors
/// If rows are refused for another reason than a full queue, or not committed.
pub fn run(arguments: &Arguments) -> Outcome {
    let workload = Workload::of(arguments)?;
    let times = Times::of(arguments)?;
    let directory = arguments.path("directory")?;
    let count: u64 = arguments.number("rows")?;
    let every: u64 = arguments.number_or("every", count)?.max(1);
    let first: u64 = arguments.number_or("from", 0)?;
    let store = crate::open(directory)?;
    let mut next = first;
    while next < first + count {
        let end = (next + every).min(first + count);
        let cpu_before = figures::cpu_seconds()?;
        let begun = Instant::now();
        let generating = load_step(&store, &workload, &times, next..end)?;
        let seconds = begun.elapsed().as_secs_f64();
        let rows = (end - next) as f64;
        next = end;
        figures::print(&[
            ("rows", next as f64),
            ("seconds", seconds),
            ("rows_per_s", rows / seconds),
            ("cpu_us_per_row", (figures::cpu_seconds()? - cpu_before) / rows * 1e6),
            ("client_share", generating.as_secs_f64() / seconds),
            ("disk_bytes", figures::disk_bytes(directory)? as f64),
        ])?;
    }
    let begun = Instant::now();
    store.close()?;
    let close_seconds = begun.elapsed().as_secs_f64();
    let disk_bytes = figures::disk_bytes(directory)? as f64;
    figures::print(&[("close_seconds", close_seconds), ("disk_bytes", disk_bytes)])
}

/// Loads rows until all are on disk; returns the time in which they were made, not stored.
fn load_step(
    store: &Store,
    workload: &Workload,
    times: &Times,
    numbers: std::ops::Range<u64>,
) -> Outcome<Duration> {
    let (done, acknowledged) = sync_channel(CHUNKS_IN_FLIGHT);
    let mut in_flight = 0;
    let mut generating = Duration::ZERO;
    let mut next = numbers.start;
    while next < numbers.end {
        let begun = Instant::now();
        let end = (next + CHUNK_ROWS).min(numbers.end);
        let mut records: Vec<PredictionRecord> = (next..end)
            .map(|number| workload.record(&workload.row(number), times.at(number)))
            .collect();
        generating += begun.elapsed();
        next = end;
        if in_flight == CHUNKS_IN_FLIGHT {
            wait_for_one(&acknowledged, &mut in_flight)?;
        }
        loop {
            let done = done.clone();
            let on_commit = Box::new(move |result: Result<(), CommitFailure>| {
                // The channel has room for every chunk in flight.
                let _ = done.send(result);
            });
            match store.submit_many_durable(&mut records, on_commit) {
                Ok(()) => break,
                Err(StoreError::QueueFull { .. }) if in_flight > 0 => {
                    wait_for_one(&acknowledged, &mut in_flight)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        in_flight += 1;
    }
    while in_flight > 0 {
        wait_for_one(&acknowledged, &mut in_flight)?;
    }
    Ok(generating)
}

fn wait_for_one(acknowledged: &Acknowledgements, in_flight: &mut usize) -> Outcome {
    acknowledged.recv()??;
    *in_flight -= 1;
    Ok(())
}
