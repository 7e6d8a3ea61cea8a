//! Owns the question what compressing records costs and saves, at each level of zstd.
//!
//! Refuses to choose; `engine/store/src/segment/pack.rs` did. Bound: the rows of one run.

use std::io::Write;
use std::time::Instant;

use truststram_store::CompressionTrial;

use crate::Outcome;
use crate::arguments::Arguments;
use crate::rows::{Times, Workload};

const LEVELS: [i32; 6] = [0, 1, 3, 6, 9, 15];
const ROWS: u64 = 65_536;
const REPETITIONS: usize = 3;

/// Prints a table: bytes, and the time to write and to read, of one record.
///
/// # Errors
/// If the compressor fails.
pub fn run(arguments: &Arguments) -> Outcome {
    let workload = Workload::of(arguments)?;
    let times = Times::of(arguments)?;
    let records: Vec<_> =
        (0..ROWS).map(|number| workload.record(&workload.row(number), times.at(number))).collect();
    let mut trial = CompressionTrial::new(records);
    let mut out = std::io::stdout().lock();
    writeln!(out, "{ROWS} records of 64 pixels, one run of the log; the best of {REPETITIONS}.")?;
    writeln!(
        out,
        "{:>12}  {:>12}  {:>14}  {:>13}",
        "", "bytes/record", "write us/record", "read us/record"
    )?;
    for level in LEVELS {
        let (mut bytes, mut write_us, mut read_us) = (0, f64::MAX, f64::MAX);
        for _ in 0..REPETITIONS {
            let begun = Instant::now();
            bytes = trial.pack(level)?;
            write_us = write_us.min(begun.elapsed().as_secs_f64() * 1e6);
            let begun = Instant::now();
            trial.unpack()?;
            read_us = read_us.min(begun.elapsed().as_secs_f64() * 1e6);
        }
        let each = |figure: f64| figure / ROWS as f64;
        let name = if level == 0 { "zstd least".to_owned() } else { format!("zstd {level}") };
        writeln!(
            out,
            "{name:>12}  {:>12.1}  {:>14.3}  {:>13.3}",
            each(bytes as f64),
            each(write_us),
            each(read_us)
        )?;
    }
    Ok(())
}
