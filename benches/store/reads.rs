//! Owns the reads: the newest hundred of a model, and the performance view.
//!
//! Refuses to know how rows came in. Bound: `--queries` or `--reads`, one after the other.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use truststram_base::ModelId;
use truststram_store::{PredictionPage, PredictionQuery, Store, StoreError};

use crate::arguments::Arguments;
use crate::rows::{MODEL_COUNT, Workload, mix};
use crate::{Outcome, figures};

const PAGE_ROWS: usize = 100;
const WARM_UP_QUERIES: u64 = 200;

/// How many predictions the performance view counts for `model`.
fn performance(store: &Store, model: &ModelId) -> Option<Result<u64, StoreError>> {
    Some(store.performance(model).map(|performance| performance.all.rows))
}

/// Asks for the newest hundred of random models: once each right after opening (the store's own
/// cache is cold then, the kernel's may not be), then `--queries` times.
///
/// # Errors
/// If a query fails or a page is short.
pub fn newest(arguments: &Arguments) -> Outcome {
    let workload = Workload::of(arguments)?;
    let count: u64 = arguments.number("queries")?;
    let seed: u64 = arguments.number_or("seed", 1)?;
    let begun = Instant::now();
    let store = crate::open(arguments.path("directory")?)?;
    let open_us = begun.elapsed().as_secs_f64() * 1e6;
    let timed = |model: &ModelId| -> Outcome<u64> {
        let begun = Instant::now();
        let page = newest_of(&store, model)?;
        let time_ns = begun.elapsed().as_nanos() as u64;
        if page.rows.len() < PAGE_ROWS {
            return Err(format!("{model} has {} rows, load more", page.rows.len()).into());
        }
        Ok(time_ns)
    };
    let models = workload.models();
    let mut cold_ns = models.iter().map(timed).collect::<Outcome<Vec<u64>>>()?;
    let random = |number: u64| &models[(mix(seed ^ mix(number)) % MODEL_COUNT) as usize];
    for number in 0..WARM_UP_QUERIES.min(count) {
        timed(random(number))?;
    }
    let mut warm_ns = (0..count).map(|n| timed(random(n))).collect::<Outcome<Vec<u64>>>()?;
    store.close()?;
    figures::print(&[
        ("queries", count as f64),
        ("p50_us", figures::percentile_us(&mut warm_ns, 0.5)),
        ("p99_us", figures::percentile_us(&mut warm_ns, 0.99)),
        ("cold_p50_us", figures::percentile_us(&mut cold_ns, 0.5)),
        ("cold_max_us", figures::percentile_us(&mut cold_ns, 1.0)),
        ("open_us", open_us),
    ])
}

/// Prints a line per model with the request ids of its newest hundred, newest first.
///
/// # Errors
/// If a query fails.
pub fn newest_ids(arguments: &Arguments) -> Outcome {
    let workload = Workload::of(arguments)?;
    let store = crate::open(arguments.path("directory")?)?;
    let mut output = std::io::stdout().lock();
    for model in workload.models() {
        let page = newest_of(&store, model)?;
        let ids = page.rows.iter().map(|row| format!("{:032x}", row.record.request.0));
        writeln!(output, "{}", ids.collect::<Vec<_>>().join(" "))?;
    }
    Ok(store.close()?)
}

fn newest_of(store: &Store, model: &ModelId) -> Result<PredictionPage, StoreError> {
    store.predictions(&PredictionQuery {
        model: Some(model.clone()),
        limit: PAGE_ROWS,
        ..PredictionQuery::default()
    })
}

/// Reads the view of all models `--reads` times, and checks its counts against `--rows` if given.
///
/// # Errors
/// If a read fails or the counts do not add up.
pub fn view(arguments: &Arguments) -> Outcome {
    let workload = Workload::of(arguments)?;
    let reads: usize = arguments.number("reads")?;
    let directory: &Path = arguments.path("directory")?;
    let store = crate::open(directory)?;
    let mut times_ns = Vec::with_capacity(reads);
    let mut total = 0;
    for _ in 0..reads {
        let begun = Instant::now();
        total = 0;
        for model in workload.models() {
            let Some(found) = performance(&store, model) else {
                return figures::print(&[("available", 0.0)]);
            };
            total += found?;
        }
        times_ns.push(begun.elapsed().as_nanos() as u64);
    }
    let expected = arguments.number_or("rows", total)?;
    if total != expected {
        return Err(format!("the view counts {total} rows, {expected} were loaded").into());
    }
    store.close()?;
    figures::print(&[
        ("available", 1.0),
        ("rows", total as f64),
        ("p50_us", figures::percentile_us(&mut times_ns, 0.5)),
        ("p99_us", figures::percentile_us(&mut times_ns, 0.99)),
    ])
}
