//! Owns single durable inserts: client threads that each send a row and wait until it is on disk.
//!
//! Refuses to know how the store gathers commits. Bound: one row in flight per client; times of
//! every row in memory, 8 bytes each.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use truststram_base::{Clock, SystemClock};
use truststram_machine::ThreadSpec;
use truststram_store::{CommitFailure, Store};

use crate::arguments::Arguments;
use crate::rows::Workload;
use crate::{Outcome, figures};

/// Inserts for `--seconds` from `--clients` threads and prints rate, latency and CPU time.
///
/// # Errors
/// If a row is refused or not committed.
pub fn run(arguments: &Arguments) -> Outcome {
    let workload = Arc::new(Workload::of(arguments)?);
    let clients: u64 = arguments.number("clients")?;
    let limit = Duration::from_secs_f64(arguments.number("seconds")?);
    let store = Arc::new(crate::open(arguments.path("directory")?)?);
    let cpu_before = figures::cpu_seconds()?;
    let begun = Instant::now();
    let mut threads = Vec::new();
    for client in 0..clients {
        let (store, workload) = (Arc::clone(&store), Arc::clone(&workload));
        let spec = ThreadSpec { name: format!("client-{client}"), ..ThreadSpec::default() };
        threads.push(truststram_machine::spawn(spec, move |_placement| {
            client_loop(&store, &workload, client, clients, begun + limit)
        })?);
    }
    let mut times_ns = Vec::new();
    for thread in threads {
        times_ns.extend(thread.join()??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = figures::cpu_seconds()? - cpu_before;
    let commits = store.stats().commits;
    store.close()?;
    let rows = times_ns.len() as f64;
    figures::print(&[
        ("rows", rows),
        ("seconds", seconds),
        ("rows_per_s", rows / seconds),
        ("p50_us", figures::percentile_us(&mut times_ns, 0.5)),
        ("p99_us", figures::percentile_us(&mut times_ns, 0.99)),
        ("cpu_us_per_row", cpu / rows.max(1.0) * 1e6),
        ("cpu_seconds", cpu),
        ("rows_per_commit", rows / (commits as f64).max(1.0)),
    ])
}

/// One client until the time is over; the nanoseconds that each of its rows took.
fn client_loop(
    store: &Store,
    workload: &Workload,
    client: u64,
    clients: u64,
    until: Instant,
) -> Result<Vec<u64>, String> {
    let clock = SystemClock::new();
    let (done, committed) = sync_channel(1);
    let mut times_ns = Vec::with_capacity(1 << 16);
    let mut number = client;
    while Instant::now() < until {
        let record = workload.record(&workload.row(number), clock.utc_us());
        number += clients;
        let done = done.clone();
        let at = Instant::now();
        let on_commit = Box::new(move |result: Result<(), CommitFailure>| {
            // The receiver outlives the only row in flight.
            let _ = done.send(result);
        });
        store.submit_durable(record, on_commit).map_err(|refused| refused.to_string())?;
        let result = committed.recv().map_err(|error| error.to_string())?;
        result.map_err(|failure| failure.to_string())?;
        times_ns.push(at.elapsed().as_nanos() as u64);
    }
    Ok(times_ns)
}
