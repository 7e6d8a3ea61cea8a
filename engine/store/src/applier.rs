//! Owns the work of the thread that moves rows from the log into the month files, a turn of the
//! log at a time.
//!
//! A failed move is tried again each [`RETRY_WAIT`], on files that are opened anew, so that the
//! store goes on by itself once the disk does. Until then the rows are in the log and in memory.
//! Refuses to know redb. Bound: one turn.

use std::sync::Arc;
use std::time::Duration;

use crate::core::Core;

/// How long after a failure the next try is.
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// Runs until it is told to end; what could not be moved then stays in the log.
pub(crate) fn run(core: &Arc<Core>) {
    loop {
        let mut state = core.applying.lock();
        while !state.is_closing && !state.is_pending {
            state = core.applying.wait(state, None);
        }
        let (is_closing, is_pending) = (state.is_closing, state.is_pending);
        drop(state);
        if is_pending && core.apply_frozen().is_err() && !is_closing {
            let state = core.applying.lock();
            if !state.is_closing {
                drop(core.applying.wait(state, Some(RETRY_WAIT)));
            }
        }
        if is_closing {
            return;
        }
    }
}
