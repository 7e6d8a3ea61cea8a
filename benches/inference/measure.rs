//! Owns what both programs of the comparison do alike: the questions they are asked, the inputs they
//! make of them and the timing of a window.
//!
//! Refuses to know who computes. Bound: one line of JSON in, one out; a window ends with its time or
//! a million calls. Both programs include this file, so that the loop around the call is the same.

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const CALLS_MAX: usize = 1_000_000;
const VOCABULARY: i64 = 30_522;

/// What goes into one call.
pub enum Input {
    /// `rows` times `columns` numbers.
    Rows { rows: usize, columns: usize, values: Vec<f32> },
    /// `rows` texts of `length` tokens.
    Tokens { rows: usize, length: usize, ids: Vec<i64> },
}

impl Input {
    /// The input that a question describes: the first rows of an `.npy` file, or counted tokens.
    pub fn of(question: &Value) -> Outcome<Self> {
        let rows = number(question, "batch")?;
        if let Some(path) = question["rows"].as_str() {
            let (columns, values) = read_npy(Path::new(path))?;
            let values = values.into_iter().cycle().take(rows * columns).collect();
            return Ok(Self::Rows { rows, columns, values });
        }
        let length = number(question, "tokens")?;
        let ids = (0..(rows * length) as i64).map(|at| (at * 7_919 + 13) % VOCABULARY).collect();
        Ok(Self::Tokens { rows, length, ids })
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

/// A two-dimensional little-endian f32 array as numpy writes it: columns and values.
fn read_npy(path: &Path) -> Outcome<(usize, Vec<f32>)> {
    let bytes = fs::read(path)?;
    let length = bytes.get(8..10).ok_or("no npy file")?;
    let start = 10 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    let header = String::from_utf8_lossy(bytes.get(10..start).ok_or("no npy header")?).into_owned();
    if !header.contains("'<f4'") || header.contains("'fortran_order': True") {
        return Err(format!("{} is no array of f32: {header}", path.display()).into());
    }
    let shape = header.split_once("'shape': (").and_then(|(_, rest)| rest.split_once(')'));
    let shape = shape.ok_or("no shape in the npy header")?.0;
    let columns = shape.split(',').nth(1).ok_or("not two-dimensional")?.trim().parse()?;
    let (values, _) = bytes[start..].as_chunks::<4>();
    Ok((columns, values.iter().map(|value| f32::from_le_bytes(*value)).collect()))
}

/// What one client saw in a window.
pub struct Window {
    pub seconds: f64,
    /// Of each call, nanoseconds.
    pub calls: Vec<u64>,
}

impl Window {
    /// Calls for a tenth of the window unmeasured, then until it is over.
    pub fn measure(seconds: f64, mut call: impl FnMut() -> Outcome) -> Outcome<Self> {
        let warm_until = Instant::now() + Duration::from_secs_f64(seconds / 10.0);
        call()?;
        while Instant::now() < warm_until {
            call()?;
        }
        let mut calls = Vec::with_capacity(CALLS_MAX);
        let started = Instant::now();
        let length = Duration::from_secs_f64(seconds);
        let mut before = started;
        while calls.len() < CALLS_MAX && before - started < length {
            black_box(call()?);
            let now = Instant::now();
            calls.push((now - before).as_nanos() as u64);
            before = now;
        }
        Ok(Self { seconds: (before - started).as_secs_f64(), calls })
    }
}

/// The answer about the windows of clients that ran side by side.
pub fn answer(windows: Vec<Window>, output: &[f32]) -> Value {
    let per_second: f64 = windows.iter().map(|one| one.calls.len() as f64 / one.seconds).sum();
    let mut calls: Vec<u64> = windows.into_iter().flat_map(|window| window.calls).collect();
    calls.sort_unstable();
    let at = |share: f64| calls[((calls.len() - 1) as f64 * share) as usize] as f64 / 1e3;
    json!({
        "calls_per_second": per_second,
        "p50_us": at(0.5),
        "p99_us": at(0.99),
        "output": output.iter().take(4_096).collect::<Vec<_>>(),
    })
}

/// Bytes of memory that the process holds now.
pub fn resident_bytes() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes: u64 = line.ok_or("no VmRSS")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1_024)
}

/// Answers one question a line until the input ends.
pub fn serve(mut ask: impl FnMut(&Value) -> Outcome<Value>) -> Outcome {
    for line in std::io::stdin().lines() {
        let question: Value = serde_json::from_str(&line?)?;
        let answered = ask(&question).unwrap_or_else(|error| json!({"error": error.to_string()}));
        let mut out = std::io::stdout().lock();
        std::io::Write::write_all(&mut out, format!("{answered}\n").as_bytes())?;
        std::io::Write::flush(&mut out)?;
    }
    Ok(())
}
