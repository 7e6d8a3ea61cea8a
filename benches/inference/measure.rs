//! Owns what both programs of the comparison do alike: the questions on standard input, the inputs
//! made of them, the timing of a window, the account of memory.
//!
//! Refuses to know who computes: that is a [`Call`]. Bound: one line of JSON in, one out; a window
//! ends with its time or a million calls. Both programs include this file, so that the loop around
//! the call is the same.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Computes the inputs at an index, which counts up and starts again, and replaces the numbers by
/// what came out.
pub type Call = Box<dyn FnMut(usize, &mut Vec<f32>) -> Outcome>;

const CALLS_MAX: usize = 1_000_000;
/// A window of calls that take long has at least so many.
const CALLS_MIN: usize = 2;
/// Inputs that take turns have at most so many numbers together, so that they stay in the cache.
const INPUT_COUNT_MAX: usize = 48 << 10;
/// Numbers of an output that are shown for comparison.
const OUTPUT_COUNT_MAX: usize = 1 << 16;

/// What goes into the calls: some inputs that take turns.
pub enum Inputs {
    /// Each `rows` times `columns` numbers.
    Rows { rows: usize, columns: usize, sets: Vec<Vec<f32>> },
    /// Each `rows` texts of `length` tokens.
    Tokens { rows: usize, length: usize, sets: Vec<Vec<i64>> },
}

impl Inputs {
    /// The inputs that a question describes: the rows of a file of little-endian f32, or tokens
    /// that are counted out.
    pub fn of(question: &Value) -> Outcome<Self> {
        let rows = number(question, "batch")?;
        if let Ok(path) = text(question, "rows") {
            let columns = number(question, "columns")?;
            let bytes = fs::read(path)?;
            let (values, _) = bytes.as_chunks::<4>();
            let values: Vec<f32> = values.iter().map(|value| f32::from_le_bytes(*value)).collect();
            let size = rows * columns;
            let sets = (INPUT_COUNT_MAX / size).max(1);
            let sets = values.chunks_exact(size).take(sets).map(<[f32]>::to_vec).collect();
            return Ok(Self::Rows { rows, columns, sets });
        }
        let length = number(question, "tokens")?;
        let vocabulary = number(question, "vocabulary")?;
        let token = |at: usize| ((at * 7_919 + 13) % vocabulary) as i64;
        let sets = (0..2).map(|set| (0..rows * length).map(|at| token(at + set)).collect());
        Ok(Self::Tokens { rows, length, sets: sets.collect() })
    }
}

/// A whole number of a question.
pub fn number(question: &Value, name: &str) -> Outcome<usize> {
    let found = question[name].as_u64().ok_or_else(|| format!("the question has no `{name}`"))?;
    Ok(usize::try_from(found)?)
}

/// The text of a question.
pub fn text<'a>(question: &'a Value, name: &str) -> Outcome<&'a str> {
    Ok(question[name].as_str().ok_or_else(|| format!("the question has no `{name}`"))?)
}

/// Bytes of memory that the process holds now, in kilobytes.
fn resident_kb() -> Outcome<u64> {
    let status = fs::read_to_string(Path::new("/proc/self/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.ok_or("no VmRSS")?.trim().trim_end_matches(" kB").parse()?)
}

/// Calls that were opened, by the name that the questions give them.
struct Calls {
    open: HashMap<String, Call>,
    out: Vec<f32>,
}

impl Calls {
    /// Opens a call and makes it so often; the time is that from nothing to the first answer.
    fn open(
        &mut self,
        question: &Value,
        open: &mut dyn FnMut(&Value) -> Outcome<Call>,
    ) -> Outcome<Value> {
        let before_kb = resident_kb()?;
        let started = Instant::now();
        let mut call = open(question)?;
        call(0, &mut self.out)?;
        let load_us = started.elapsed().as_secs_f64() * 1e6;
        let after_kb = resident_kb()?;
        let mut output = self.out.clone();
        for index in 1..number(question, "answers")? {
            call(index, &mut self.out)?;
            output.extend_from_slice(&self.out);
        }
        output.truncate(OUTPUT_COUNT_MAX);
        self.open.insert(text(question, "id")?.to_owned(), call);
        Ok(json!({
            "load_us": load_us, "before_kb": before_kb, "after_kb": after_kb, "output": output,
        }))
    }

    /// Calls for a tenth of the window unmeasured, then until it is over.
    fn time(&mut self, question: &Value) -> Outcome<Value> {
        let id = text(question, "id")?;
        let call = self.open.get_mut(id).ok_or_else(|| format!("`{id}` is not open"))?;
        let seconds = question["seconds"].as_f64().ok_or("the question has no `seconds`")?;
        let warm_until = Instant::now() + Duration::from_secs_f64(seconds / 10.0);
        let mut index = 0;
        while index == 0 || Instant::now() < warm_until {
            call(index, &mut self.out)?;
            index += 1;
        }
        let mut times = Vec::with_capacity(1 << 16);
        let mut before = Instant::now();
        let until = before + Duration::from_secs_f64(seconds);
        while times.len() < CALLS_MIN || (before < until && times.len() < CALLS_MAX) {
            call(index, &mut self.out)?;
            index += 1;
            let now = Instant::now();
            times.push(now - before);
            before = now;
        }
        times.sort_unstable();
        let at =
            |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
        Ok(json!({
            "median_us": at(0.5), "least_us": at(0.0), "p99_us": at(0.99), "calls": times.len(),
        }))
    }
}

/// Answers one question a line until the input ends: `open` makes a call that is named `id`,
/// `time` measures it, `close` forgets all.
pub fn serve(mut open: impl FnMut(&Value) -> Outcome<Call>) -> Outcome {
    let mut calls = Calls { open: HashMap::new(), out: Vec::new() };
    for line in std::io::stdin().lines() {
        let question: Value = serde_json::from_str(&line?)?;
        let answered = match text(&question, "do")? {
            "open" => calls.open(&question, &mut open),
            "time" => calls.time(&question),
            "close" => {
                calls.open.clear();
                Ok(json!({}))
            }
            other => Err(format!("`{other}` is no question").into()),
        };
        let answered = answered.unwrap_or_else(|error| json!({"error": error.to_string()}));
        let mut out = std::io::stdout().lock();
        std::io::Write::write_all(&mut out, format!("{answered}\n").as_bytes())?;
        std::io::Write::flush(&mut out)?;
    }
    Ok(())
}
