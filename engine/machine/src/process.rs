//! Owns the settings of the process: those that libraries read from its environment, how many
//! files it may open, and how long its allocator keeps what was freed.
//!
//! Refuses to know what the libraries do. Bound: two variables, one limit and one option, set once,
//! first in `main`.
#![allow(unsafe_code, reason = "the environment and an option of mimalloc are set by unsafe calls")]

use std::ffi::{c_int, c_long};
use std::fs;
use std::path::Path;

// Its library has the functions below; its `extended` feature names them and needs one more crate.
use libmimalloc_sys as _;

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

unsafe extern "C" {
    /// Sets an option of mimalloc.
    fn mi_option_set(option: c_int, value: c_long);
}

/// `mi_option_purge_delay` of mimalloc 3, in milliseconds.
const PURGE_DELAY: c_int = 15;

/// How long mimalloc keeps memory that was freed before the kernel gets it back. The store fills
/// and frees the same tables every few seconds under load: what the kernel got back in between, it
/// must clear again, page by page, while a request waits for the core.
const PURGE_DELAY_MS: c_long = 10_000;

/// Lets mimalloc, where it is the allocator, keep freed memory for ten seconds instead of one. What
/// the environment says (`MIMALLOC_PURGE_DELAY`) goes first.
pub fn keep_freed_memory() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: it stores a number under an index that mimalloc checks.
        unsafe { mi_option_set(PURGE_DELAY, PURGE_DELAY_MS) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" {
        fn mi_option_get(option: c_int) -> c_long;
    }

    /// Should a later mimalloc number its options anew, its default is found elsewhere.
    #[test]
    fn freed_memory_is_kept_longer() {
        // SAFETY: it reads a number.
        let delay_ms = || unsafe { mi_option_get(PURGE_DELAY) };
        assert_eq!(delay_ms(), 1_000);
        keep_freed_memory();
        assert_eq!(delay_ms(), PURGE_DELAY_MS);
    }

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
