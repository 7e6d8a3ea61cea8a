//! Owns the settings that libraries read from the environment of the process.
//!
//! Refuses to know the libraries. Bound: two variables, set once, first thing in `main`.
#![allow(unsafe_code, reason = "std::env::set_var is unsafe; here is proof of its condition")]

use std::fs;
use std::path::Path;

use crate::error::MachineError;

/// Variables that keep rayon and candle from starting threads of their own, which would compete
/// with the pinned workers.
const THREAD_LIMITS: [&str; 2] = ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"];

/// Tells rayon and candle to use one thread each, whatever the environment says.
///
/// # Errors
/// [`MachineError::ThreadsRunning`] when the process has more than one thread, because changing
/// the environment is sound only without a second one; [`MachineError::File`] without /proc.
pub fn limit_library_threads() -> Result<(), MachineError> {
    let tasks = Path::new("/proc/self/task");
    let count = fs::read_dir(tasks).map_err(MachineError::file("list", tasks))?.count();
    if count != 1 {
        return Err(MachineError::ThreadsRunning { action: "limit_library_threads", count });
    }
    for name in THREAD_LIMITS {
        // SAFETY: this is the only thread of the process, counted above, and only it could start
        // another; so nobody reads the environment meanwhile.
        #[allow(clippy::disallowed_methods, reason = "the libraries read nothing else")]
        unsafe {
            std::env::set_var(name, "1");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test harness runs each test in a thread of its own; tests/single_thread.rs has the
    /// other case.
    #[test]
    fn a_second_thread_forbids_it() {
        let error = limit_library_threads().unwrap_err();
        assert!(matches!(error, MachineError::ThreadsRunning { count: 2.., .. }), "{error}");
    }
}
