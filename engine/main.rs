//! Owns the start of the process: library threads limited, arguments read, one command run.
//!
//! Refuses to know any command. Bound: the exit codes of `cli::ExitStatus`.

use std::process::ExitCode;

/// Faster than the system's, and it keeps memory with the thread that freed it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    truststram::cli::run()
}
