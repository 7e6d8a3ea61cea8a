//! Owns an append-only file of lines, written by a thread of its own, and its turns: a file that is
//! long or old enough is renamed to `NAME.1` and a new one begun.
//!
//! Refuses to know what a line says. Whoever logs never waits: a full queue drops the line and
//! counts it. Bound: the given number of queued lines; what is queued is written with one append,
//! or one for each file.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::UNIX_EPOCH;
use std::{fs, io};

use truststram_base::Clock;

use crate::error::MachineError;
use crate::ring::Ring;
use crate::thread::{Priority, Thread, ThreadSpec, spawn};

/// Most lines of one append.
const LINES_PER_APPEND: usize = 512;

/// When a file gives way to a new one. The default never does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Before it would be longer than this; 0 for any length.
    pub bytes_max: u64,
    /// With the first line after each multiple of so many seconds since the epoch; 0 for any age.
    pub every_s: u64,
    /// Older files that are kept, `NAME.1` the newest of them.
    pub keep: u32,
}

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    dropped: AtomicU64,
    stuck: AtomicU64,
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
        rotation: Rotation,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, MachineError> {
        let file = open_for_append(path)?;
        let (lines, queue) = sync_channel(queue_lines_max);
        let counts = Arc::new(Counts::default());
        let mut writer = Writer {
            path: path.to_owned(),
            file,
            bytes: 0,
            turn: 0,
            rotation,
            clock,
            ring,
            counts: Arc::clone(&counts),
        };
        writer.measure();
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

    /// Times that the file could not be renamed, or a new one not be opened.
    pub fn stuck(&self) -> u64 {
        self.counts.stuck.load(Ordering::Relaxed)
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
    /// Its length, and the multiple of `every_s` in which it was written last.
    bytes: u64,
    turn: i64,
    rotation: Rotation,
    clock: Arc<dyn Clock>,
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
            self.open_anew();
        }
        let mut rest = lines;
        while let Some(first) = rest.first() {
            if self.is_over(first.len() as u64) {
                self.rotate();
            }
            let (now, later) = rest.split_at(self.room_for(rest));
            self.append(now);
            rest = later;
        }
    }

    fn append(&mut self, lines: &[String]) {
        let chunks: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        let count = match self.ring.append(&self.file, &chunks) {
            Ok(()) => &self.counts.written,
            Err(_) => &self.counts.dropped,
        };
        count.fetch_add(lines.len() as u64, Ordering::Relaxed);
        self.bytes += chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
    }

    /// How many of `lines` go into this file, at least one.
    fn room_for(&self, lines: &[String]) -> usize {
        let Rotation { bytes_max, .. } = self.rotation;
        if bytes_max == 0 {
            return lines.len();
        }
        let mut bytes = self.bytes;
        let fits = lines.iter().take_while(|line| {
            bytes += line.len() as u64;
            bytes <= bytes_max
        });
        fits.count().max(1)
    }

    /// Whether the file ends before a line of so many bytes.
    fn is_over(&self, line_bytes: u64) -> bool {
        let Rotation { bytes_max, every_s, .. } = self.rotation;
        let is_long = bytes_max > 0 && self.bytes > 0 && self.bytes + line_bytes > bytes_max;
        is_long || (every_s > 0 && self.turn_of(self.clock.utc_us() / 1_000_000) != self.turn)
    }

    fn turn_of(&self, utc_s: i64) -> i64 {
        let every_s = i64::try_from(self.rotation.every_s).unwrap_or(i64::MAX).max(1);
        utc_s.div_euclid(every_s)
    }

    /// Renames the file away and begins another one. Where that cannot be done, the lines go on
    /// into the old one, and it is tried again once as much was written or as much time is over.
    fn rotate(&mut self) {
        let is_empty = self.bytes == 0;
        self.turn = self.turn_of(self.clock.utc_us() / 1_000_000);
        self.bytes = 0;
        if is_empty {
            return;
        }
        match shift(&self.path, self.rotation.keep) {
            Ok(()) => self.open_anew(),
            Err(_) => {
                self.counts.stuck.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// If the new file cannot be opened, the lines go on into the old one.
    fn open_anew(&mut self) {
        match open_for_append(&self.path) {
            Ok(file) => {
                self.file = file;
                self.measure();
            }
            Err(_) => {
                self.counts.stuck.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Learns how long the file is and how old.
    fn measure(&mut self) {
        let now_s = self.clock.utc_us() / 1_000_000;
        let found = self.file.metadata().ok();
        self.bytes = found.as_ref().map_or(0, fs::Metadata::len);
        let modified =
            found.filter(|found| found.len() > 0).and_then(|found| found.modified().ok());
        let since = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let modified_s = since.and_then(|since| i64::try_from(since.as_secs()).ok());
        self.turn = self.turn_of(modified_s.unwrap_or(now_s));
    }
}

/// Makes of `path` the newest of the files that are kept, and of each of those the next older one.
fn shift(path: &Path, keep: u32) -> io::Result<()> {
    let older = |number: u32| {
        let mut name = OsString::from(path);
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let last = keep.max(1);
    // What was missing before stays the place where the others end.
    let end = (1..last).find(|number| !older(*number).exists()).unwrap_or(last);
    for number in (1..end).rev() {
        fs::rename(older(number), older(number + 1))?;
    }
    fs::rename(path, older(1))
}

#[cfg(test)]
mod tests;
