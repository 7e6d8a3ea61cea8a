//! Owns what several commands measure with: percentiles, CPU time, space on disk, JSON lines.
//!
//! Refuses to know what is measured. Bound: reads `/proc` and directories once per call.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::Outcome;

/// Linux reports CPU time to programs in hundredths of a second on every architecture.
const CLOCK_TICKS_PER_SECOND: f64 = 100.0;
/// The unit of `st_blocks`, whatever the block size of the file system.
const BLOCK_BYTES: u64 = 512;

/// The value that `share` of the times do not exceed, in microseconds; sorts `times_ns`.
pub fn percentile_us(times_ns: &mut [u64], share: f64) -> f64 {
    times_ns.sort_unstable();
    let last = times_ns.len().saturating_sub(1);
    let index = (last as f64 * share).ceil() as usize;
    times_ns.get(index.min(last)).map_or(0.0, |&time_ns| time_ns as f64 / 1e3)
}

/// User and system time of this process so far.
///
/// # Errors
/// If `/proc` is not there.
pub fn cpu_seconds() -> Outcome<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name in parentheses may hold spaces; utime and stime are the 12th and 13th after it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    let (Some(user), Some(system)) = (ticks(11), ticks(12)) else {
        return Err("/proc/self/stat has no CPU time".into());
    };
    Ok((user + system) / CLOCK_TICKS_PER_SECOND)
}

/// Space that the files below `directory` occupy.
///
/// # Errors
/// If it cannot be read.
pub fn disk_bytes(directory: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            disk_bytes(&entry.path())?
        } else {
            metadata.blocks() * BLOCK_BYTES
        };
    }
    Ok(bytes)
}

/// Prints one line with an object of `figures`.
///
/// # Errors
/// If standard output is closed.
pub fn print(figures: &[(&str, f64)]) -> Outcome {
    let fields: Vec<String> =
        figures.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    let mut output = std::io::stdout().lock();
    writeln!(output, "{{{}}}", fields.join(", "))?;
    Ok(output.flush()?)
}
