//! Owns the way of recorded decisions into the store: a bounded queue, and a thread that gathers
//! what comes within [`GATHER`] into one commit.
//!
//! Refuses to hold up a decision: a full queue drops the run, which `policy` counts. What was not
//! committed yet is lost when the process is killed. Bound: [`QUEUE_MAX`] runs.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use truststram_machine::{MachineError, Priority, Thread, ThreadSpec};
use truststram_policy::DecisionLog;
use truststram_store::Store;

/// Runs that may wait.
const QUEUE_MAX: usize = 1_024;
/// How long runs gather; a sync of the disk for each would hold up those of predictions.
const GATHER: Duration = Duration::from_secs(2);
/// Runs of one commit.
const GROUP_MAX: usize = 256;

enum Message {
    Keep(String, Vec<u8>),
    /// Commit what is there, and say so.
    Flush(SyncSender<()>),
    Stop,
}

/// See the module.
pub struct Decisions {
    queue: SyncSender<Message>,
    thread: Mutex<Option<Thread<()>>>,
}

impl Decisions {
    /// Starts the thread; `runs_max` of the newest runs of each plugin are kept.
    pub fn start(store: Arc<Store>, runs_max: u64) -> Result<Self, MachineError> {
        let (queue, waiting) = sync_channel(QUEUE_MAX);
        let spec = ThreadSpec {
            name: "decision-log".to_owned(),
            priority: Priority::Batch,
            ..ThreadSpec::default()
        };
        let thread = truststram_machine::spawn(spec, move |_placement| {
            run(&waiting, |runs| {
                if let Err(error) = store.keep_decisions(runs, runs_max) {
                    tracing::warn!(%error, runs = runs.len(), "recorded decisions are lost");
                }
            });
        })?;
        Ok(Self { queue, thread: Mutex::new(Some(thread)) })
    }

    /// Returns when what was recorded before is committed, or was found to be lost.
    pub fn flush(&self) {
        let (done, waiting) = sync_channel(1);
        if self.queue.send(Message::Flush(done)).is_ok() {
            // It ends with the thread at the latest.
            let _ = waiting.recv();
        }
    }

    /// Commits what is queued and joins the thread. A second call does nothing.
    pub fn close(&self) -> Result<(), MachineError> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Ok(()) };
        let _ = self.queue.send(Message::Stop);
        thread.join()
    }
}

impl DecisionLog for Decisions {
    fn keep(&self, plugin: &str, run: Vec<u8>) -> bool {
        self.queue.try_send(Message::Keep(plugin.to_owned(), run)).is_ok()
    }
}

fn run(queue: &Receiver<Message>, commit: impl Fn(&[(String, Vec<u8>)])) {
    let mut runs: Vec<(String, Vec<u8>)> = Vec::new();
    let mut until = None;
    loop {
        let message = match until {
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(until) => {
                queue.recv_timeout(Instant::saturating_duration_since(&until, Instant::now()))
            }
        };
        let (flushed, stops) = match message {
            Ok(Message::Keep(plugin, run)) => {
                runs.push((plugin, run));
                until = until.or_else(|| Instant::now().checked_add(GATHER));
                if runs.len() < GROUP_MAX {
                    continue;
                }
                (None, false)
            }
            Ok(Message::Flush(done)) => (Some(done), false),
            Err(RecvTimeoutError::Timeout) => (None, false),
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => (None, true),
        };
        if !runs.is_empty() {
            commit(&runs);
            runs.clear();
        }
        until = None;
        if let Some(done) = flushed {
            // Whoever waited may have gone.
            let _ = done.send(());
        }
        if stops {
            return;
        }
    }
}

/// Where a server gives the recorded decisions of a plugin to programs.
pub fn path(plugin: &str) -> String {
    format!("/admin/v1/plugins/{plugin}/decisions?format=frames")
}

/// Runs one after the other, each behind its length in four bytes, little endian.
pub fn join(runs: &[Vec<u8>]) -> Vec<u8> {
    let mut frames = Vec::with_capacity(runs.iter().map(|run| run.len() + 4).sum());
    for run in runs {
        // A run has a few megabytes at most.
        frames.extend_from_slice(&(run.len() as u32).to_le_bytes());
        frames.extend_from_slice(run);
    }
    frames
}

/// The runs in `frames`; none if that is not what [`join`] made.
pub fn split(mut frames: &[u8]) -> Option<Vec<&[u8]>> {
    let mut runs = Vec::new();
    while !frames.is_empty() {
        let (length, rest) = frames.split_first_chunk::<4>()?;
        let (run, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        runs.push(run);
        frames = rest;
    }
    Some(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_travel_in_frames() {
        for runs in [vec![], vec![vec![]], vec![vec![1, 2], vec![], vec![3; 300]]] {
            let frames = join(&runs);
            assert_eq!(split(&frames).unwrap(), runs);
            if let Some(cut) = frames.len().checked_sub(1) {
                assert!(split(&frames[..cut]).is_none());
            }
        }
    }

    #[test]
    fn what_is_queued_is_committed_at_a_flush_and_at_the_end() {
        let (queue, waiting) = sync_channel(QUEUE_MAX);
        let commits = Mutex::new(Vec::new());
        let keep = |n| queue.send(Message::Keep("a".to_owned(), vec![n])).unwrap();
        std::thread::scope(|scope| {
            let commits = &commits;
            let commit = move |runs: &[_]| commits.lock().unwrap().push(runs.len());
            scope.spawn(move || run(&waiting, commit));
            (0..3).for_each(keep);
            let (done, flushed) = sync_channel(1);
            queue.send(Message::Flush(done)).unwrap();
            flushed.recv().unwrap();
            assert_eq!(commits.lock().unwrap().iter().sum::<usize>(), 3);
            keep(4);
            queue.send(Message::Stop).unwrap();
        });
        assert_eq!(commits.lock().unwrap().iter().sum::<usize>(), 4);
    }
}
