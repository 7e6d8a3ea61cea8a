//! Owns the tests of what comes first in `main`: it must run while the process has one thread,
//! and the usual test harness always has two. Speaks enough of the harness's protocol for
//! `cargo test` and nextest: `--list`, a name to filter by, `--exact`.

#![allow(clippy::unwrap_used, reason = "this is a test without the harness that clippy looks for")]

use std::io::Write;

use truststram_machine::{Signal, Signals, ThreadSpec, limit_library_threads, spawn};

type Case = (&'static str, fn());

/// In this order: the first one must not find threads of the others.
const CASES: [Case; 2] = [
    ("library_threads_are_limited", library_threads_are_limited),
    ("signals_wait_in_a_queue", signals_wait_in_a_queue),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let mut out = std::io::stdout();
    if has("--list") {
        for (name, _) in CASES.iter().filter(|_| !has("--ignored")) {
            writeln!(out, "{name}: test").unwrap();
        }
        return;
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with("--"));
    for (name, run) in CASES {
        let chosen = filter.is_none_or(|filter| match has("--exact") {
            true => name == filter,
            false => name.contains(filter.as_str()),
        });
        if chosen {
            run();
            writeln!(out, "test {name} ... ok").unwrap();
        }
    }
}

fn library_threads_are_limited() {
    limit_library_threads().unwrap();
    assert_eq!(std::env::var("RAYON_NUM_THREADS").as_deref(), Ok("1"));
    assert_eq!(std::env::var("CANDLE_NUM_THREADS").as_deref(), Ok("1"));
}

/// Were a signal not blocked in every thread, it would end this process.
fn signals_wait_in_a_queue() {
    let signals = Signals::block().unwrap();
    let spec = ThreadSpec { name: "sender".to_owned(), ..ThreadSpec::default() };
    let sender = spawn(spec, |_| {
        for signal in [Signal::User1, Signal::Hangup, Signal::Terminate, Signal::Interrupt] {
            signal.send_to_self().unwrap();
        }
    });
    sender.unwrap().join().unwrap();
    // The kernel delivers different pending signals in the order of their numbers.
    for expected in [Signal::Hangup, Signal::Interrupt, Signal::User1, Signal::Terminate] {
        assert_eq!(signals.wait().unwrap(), expected);
    }
    Signal::Terminate.send_to_self().unwrap();
    assert_eq!(signals.wait().unwrap(), Signal::Terminate);
}
