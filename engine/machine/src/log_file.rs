//! Owns an append-only file of lines, written by a thread of its own.
//!
//! Refuses to know what a line says. Whoever logs never waits: a full queue drops the line and
//! counts it. Bound: the given number of queued lines; what is queued is written with one append.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::error::MachineError;
use crate::ring::Ring;
use crate::thread::{Priority, Thread, ThreadSpec, spawn};

/// Most lines of one append.
const LINES_PER_APPEND: usize = 512;

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    dropped: AtomicU64,
    reopen: AtomicBool,
}

/// The file and its writer.
#[derive(Debug)]
pub struct LogFile {
    /// `None` once the file is closed.
    lines: RwLock<Option<SyncSender<String>>>,
    counts: Arc<Counts>,
    thread: Mutex<Option<Thread<()>>>,
}

impl LogFile {
    /// Opens `path` for appending and starts the writer.
    ///
    /// # Errors
    /// [`MachineError::File`] when the file cannot be opened, [`MachineError::Spawn`].
    pub fn open(
        path: &Path,
        ring: Box<dyn Ring>,
        queue_lines_max: usize,
    ) -> Result<Self, MachineError> {
        let file = open_for_append(path)?;
        let (lines, queue) = sync_channel(queue_lines_max);
        let counts = Arc::new(Counts::default());
        let writer = Writer { path: path.to_owned(), file, ring, counts: Arc::clone(&counts) };
        let spec = ThreadSpec {
            name: "access-log".to_owned(),
            priority: Priority::Batch,
            ..ThreadSpec::default()
        };
        let thread = spawn(spec, move |_placement| writer.run(&queue))?;
        let (lines, thread) = (RwLock::new(Some(lines)), Mutex::new(Some(thread)));
        Ok(Self { lines, counts, thread })
    }

    /// Queues one line, given without its newline.
    pub fn append(&self, mut line: String) {
        line.push('\n');
        let lines = self.lines.read().unwrap_or_else(PoisonError::into_inner);
        let sent = lines.as_ref().is_some_and(|lines| lines.try_send(line).is_ok());
        if !sent {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that the queue had no room for, or that the disk refused.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Lines that are in the file.
    pub fn written(&self) -> u64 {
        self.counts.written.load(Ordering::Relaxed)
    }

    /// Has the writer open the path anew before the next line, after the file was renamed away.
    pub fn reopen(&self) {
        self.counts.reopen.store(true, Ordering::Release);
    }

    /// Writes what is queued and ends the writer. A second call does nothing.
    ///
    /// # Errors
    /// [`MachineError::Panicked`].
    pub fn close(&self) -> Result<(), MachineError> {
        *self.lines.write().unwrap_or_else(PoisonError::into_inner) = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.map_or(Ok(()), Thread::join)
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        // A panic of the writer has been reported by its own hook.
        let _ = self.close();
    }
}

fn open_for_append(path: &Path) -> Result<File, MachineError> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(MachineError::file("open", path))
}

struct Writer {
    path: PathBuf,
    file: File,
    ring: Box<dyn Ring>,
    counts: Arc<Counts>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<String>) {
        let mut lines = Vec::with_capacity(LINES_PER_APPEND);
        while let Ok(first) = queue.recv() {
            lines.push(first);
            lines.extend(queue.try_iter().take(LINES_PER_APPEND - 1));
            self.write(&lines);
            lines.clear();
        }
    }

    fn write(&mut self, lines: &[String]) {
        if self.counts.reopen.swap(false, Ordering::Acquire) {
            // If the new file cannot be opened, the lines go on into the old one.
            if let Ok(file) = open_for_append(&self.path) {
                self.file = file;
            }
        }
        let chunks: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        let count = match self.ring.append(&self.file, &chunks) {
            Ok(()) => &self.counts.written,
            Err(_) => &self.counts.dropped,
        };
        count.fetch_add(lines.len() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::ring::{RingMode, probe};

    #[test]
    fn every_line_is_written_in_order_or_counted() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, name) in [(RingMode::Auto, "a"), (RingMode::Off, "b")] {
            let path = dir.path().join(name);
            let log = LogFile::open(&path, probe(mode).0, 8).unwrap();
            for line in 0..2_000 {
                log.append(line.to_string());
            }
            log.close().unwrap();
            log.append("late".to_owned());
            let text = fs::read_to_string(&path).unwrap();
            let numbers: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
            assert!(numbers.is_sorted());
            assert_eq!(numbers.len() as u64, log.written());
            assert_eq!(log.written() + log.dropped(), 2_001);
        }
    }

    #[test]
    fn a_renamed_file_is_left_for_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = LogFile::open(&path, probe(RingMode::Auto).0, 8).unwrap();
        fs::rename(&path, dir.path().join("old")).unwrap();
        log.reopen();
        log.append("new".to_owned());
        log.close().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
    }
}
