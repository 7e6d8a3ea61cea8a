//! The store's own side of `benches/store.sh`: durable inserts, the load, newest rows, the view.
//!
//! Owns the command line and the printing: one JSON object a line, each a set of named figures.
//! Refuses to know the peers and whether a figure is good; `run.py` and `report.py` do.
//! Bound: the rows, seconds and clients that the command line names.

mod arguments;
mod compression;
mod figures;
mod floor;
mod insert;
mod load;
mod reads;
mod rows;

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use truststram_base::SystemClock;
use truststram_store::{Store, StoreOptions};

use arguments::Arguments;

/// The allocator that the binary has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What every command returns.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const USAGE: &str = "store COMMAND --digits FILE [--seed N] [--directory DIR] ...
  insert      --clients N --seconds S       one row per call, each waits until it is on disk
  load        --rows N --every M            in chunks; a line every M rows
  newest      --queries N                   newest 100 of random models, cold and warm
  newest-ids                                the request ids of the newest 100 of every model
  view        --reads N                     the performance view of every model
  rows        --rows N --format copy|sqlite the same rows as text, for the peers
  floor       --seconds S                   4 KiB overwrite and fdatasync, in turn
  compression                               what each level of zstd costs and saves
load and rows: [--from N] the first row, [--base-us T] its time, [--interval-us U] between two";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "store: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome {
    // `cargo bench` adds this flag of the harness that is not used here.
    let arguments = Arguments::parse(std::env::args().skip(1).filter(|word| word != "--bench"))?;
    match arguments.command() {
        "insert" => insert::run(&arguments),
        "load" => load::run(&arguments),
        "newest" => reads::newest(&arguments),
        "newest-ids" => reads::newest_ids(&arguments),
        "view" => reads::view(&arguments),
        "rows" => rows::print(&arguments),
        "floor" => floor::run(&arguments),
        "compression" => compression::run(&arguments),
        _ => Err(USAGE.into()),
    }
}

/// Opens the store as the binary does by default.
pub fn open(directory: &Path) -> Outcome<Store> {
    Ok(Store::open(directory, StoreOptions::default(), Arc::new(SystemClock::new()))?)
}
