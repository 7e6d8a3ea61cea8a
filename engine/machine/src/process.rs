//! Owns the settings of the process: those that libraries read from its environment, and how many
//! files it may open.
//!
//! Refuses to know what the libraries do. Bound: two variables and one limit, set once, first in
//! `main`.
#![allow(unsafe_code, reason = "the environment is set by unsafe calls")]

use std::fs;
use std::path::Path;

use crate::error::MachineError;
use crate::system_calls;

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

/// Files that a process may open where the kernel says nothing else.
const OPEN_FILES_USUAL: u64 = 1_024;

/// Lets the process open as many files as the system allows it, and says how many those are.
pub fn raise_open_files() -> u64 {
    system_calls::raise_open_files().unwrap_or(OPEN_FILES_USUAL)
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

    #[test]
    fn more_files_can_be_opened() {
        let most = raise_open_files();
        assert!(most >= 256, "{most}");
        assert_eq!(raise_open_files(), most);
    }
}
