//! The table of times: which pass of each line counts, and whether it keeps its bound.
//!
//! Owns the bounds. Refuses to know what is asked. Bound: the times of one pass for each line.

use std::error::Error;
use std::io::Write;

/// Times of many calls, in nanoseconds.
pub struct Times(pub Vec<u64>);

impl Times {
    fn at(&self, share: f64) -> f64 {
        let last = self.0.len() - 1;
        self.0[(last as f64 * share).round() as usize] as f64 / 1e3
    }
}

/// Most that the median and the 99th percentile of a kind may be, in microseconds, by the word
/// that begins its rows. A decision of a batcher above 0.5 would also show that somebody has
/// switched wasmtime's concurrency support on.
const BOUNDS: [(&str, f64, Option<f64>); 7] = [
    ("batcher greedy: decide", 0.5, Some(3.0)),
    ("batcher deadline: decide", 0.5, Some(3.0)),
    ("router least-conn: observe", 2.0, None),
    ("router weighted: observe", 2.0, None),
    ("router round-robin: observe", 2.0, None),
    ("router latency: observe", 2.0, None),
    ("aggregator fedavg: make-plan", 20.0, None),
];
/// The same for every pick.
const PICK: (f64, Option<f64>) = (0.5, Some(3.0));

/// What becomes of the bound of a row.
fn verdict(what: &str, plugin: &Times) -> String {
    let bound = BOUNDS.iter().find(|(begins, ..)| what.starts_with(begins));
    let bound = bound.map(|&(_, p50, p99)| (p50, p99)).or(what.contains(": pick").then_some(PICK));
    let Some((p50_max, p99_max)) = bound else { return String::new() };
    let is_kept = plugin.at(0.5) <= p50_max && p99_max.is_none_or(|most| plugin.at(0.99) <= most);
    let p99_max = p99_max.map_or_else(String::new, |most| format!("/{most}"));
    format!("{} {p50_max}{p99_max}", if is_kept { "within" } else { "MISSES" })
}

/// Passes over all questions. Other work on the machine comes and goes within seconds, so that of
/// each question the pass counts in which the native twin was fastest: what is chosen by is not
/// what is judged.
pub const PASSES: usize = 5;

/// The times of each question, in the order in which they were first asked.
#[derive(Default)]
pub struct Rows(Vec<(String, Times, Times)>);

impl Rows {
    /// Keeps the times of a pass, if it was a quieter one than those before.
    pub fn add(&mut self, what: String, (plugin, native): (Times, Times)) {
        match self.0.iter_mut().find(|(known, ..)| *known == what) {
            None => self.0.push((what, plugin, native)),
            Some((_, of_plugin, of_native)) if native.at(0.5) < of_native.at(0.5) => {
                (*of_plugin, *of_native) = (plugin, native);
            }
            Some(_) => {}
        }
    }

    /// Prints the lines.
    pub fn print(&self, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
        for (what, plugin, native) in &self.0 {
            writeln!(
                out,
                "{what:<44}{:>9.2}{:>9.2}{:>10.2}{:>9.2}{:>9}  {}",
                plugin.at(0.5),
                plugin.at(0.99),
                native.at(0.5),
                native.at(0.99),
                plugin.0.len(),
                verdict(what, plugin),
            )?;
        }
        Ok(())
    }
}
