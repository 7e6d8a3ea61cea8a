//! Owns the floor under every durable insert: what the disk and its file system need to take 4 KiB.
//!
//! Refuses to know any store. Bound: a file of 1 MiB, written before the time starts.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::{Outcome, figures};

const PAGE_BYTES: usize = 4_096;
const PAGE_COUNT: u64 = 256;

/// Overwrites pages in turn, each followed by `fdatasync`, and prints the rate.
///
/// # Errors
/// If the file cannot be written.
pub fn run(arguments: &Arguments) -> Outcome {
    let path = arguments.path("directory")?.join("floor.bin");
    let limit = Duration::from_secs_f64(arguments.number("seconds")?);
    let file = File::create(&path)?;
    file.write_all_at(&vec![1; PAGE_BYTES * PAGE_COUNT as usize], 0)?;
    file.sync_all()?;
    let mut times_ns = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < limit {
        let number = times_ns.len() as u64;
        let at = Instant::now();
        file.write_all_at(&[number as u8; PAGE_BYTES], number % PAGE_COUNT * PAGE_BYTES as u64)?;
        file.sync_data()?;
        times_ns.push(at.elapsed().as_nanos() as u64);
    }
    let seconds = begun.elapsed().as_secs_f64();
    fs::remove_file(&path)?;
    figures::print(&[
        ("syncs_per_s", times_ns.len() as f64 / seconds),
        ("p50_us", figures::percentile_us(&mut times_ns, 0.5)),
        ("p99_us", figures::percentile_us(&mut times_ns, 0.99)),
    ])
}
