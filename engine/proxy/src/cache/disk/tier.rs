//! Owns the thread that reads and writes the files, and the way to it.
//!
//! Refuses to wait: a full queue takes no more. Bound: [`QUEUE_MAX`] works; files of the folder
//! that are no responses are left alone, but for unfinished ones of its own.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::oneshot;
use truststram_base::{Clock, Counter};
use truststram_machine::{Priority, Thread, ThreadSpec, spawn};

use super::super::freshness::Now;
use super::super::memory::Purge;
use super::super::stored::Stored;
use super::index::{Index, Name};
use super::record::{self, FIXED_BYTES};
use crate::error::ProxyError;

const QUEUE_MAX: usize = 1_024;
/// A response takes at most this part of the disk.
const PART_MAX: u64 = 8;
/// What files are called that are not whole yet.
const UNFINISHED: &str = "unfinished";

/// Where responses are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSpec {
    /// The folder; it is made where it is not there.
    pub folder: PathBuf,
    /// Bytes for all files.
    pub bytes_max: u64,
}

/// What the thread does.
enum Work {
    Write(Name, u64, Box<str>, Arc<Stored>),
    Read(Box<str>, Vec<(Name, u64)>, oneshot::Sender<Vec<Found>>),
    Remove(Vec<Name>),
}

/// A response that was read, and of which writing.
type Found = (Name, u64, Stored);

/// What the disk tier counts.
#[derive(Debug, Default)]
pub(crate) struct DiskStats {
    pub(crate) read: Counter,
    pub(crate) written: Counter,
    /// Responses that the queue had no room for.
    pub(crate) dropped: Counter,
    /// Files that could not be written, read or understood.
    pub(crate) failed: Counter,
}

/// See the module.
pub(crate) struct Disk {
    shared: Arc<Shared>,
    /// Gone once it ends.
    queue: Option<SyncSender<Work>>,
    thread: Option<Thread<()>>,
}

struct Shared {
    spec: DiskSpec,
    index: Mutex<Index>,
    stats: DiskStats,
    clock: Arc<dyn Clock>,
}

impl Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        // An index is whole between any two of its operations.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: Name) -> PathBuf {
        self.spec.folder.join(name.to_file())
    }

    fn now(&self) -> Now {
        let utc_s = self.clock.utc_us().div_euclid(1_000_000);
        Now { utc_s, monotonic_ms: self.clock.monotonic_us() / 1_000 }
    }
}

impl Disk {
    /// Starts the thread, which first looks what is there.
    ///
    /// # Errors
    /// Where the folder cannot be made, or no thread starts.
    pub(in crate::cache) fn start(
        spec: DiskSpec,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ProxyError> {
        let failed = |source| ProxyError::CacheFolder { folder: spec.folder.clone(), source };
        fs::create_dir_all(&spec.folder).map_err(failed)?;
        let (index, stats) = (Mutex::default(), DiskStats::default());
        let shared = Arc::new(Shared { spec, index, stats, clock });
        let (queue, works) = sync_channel(QUEUE_MAX);
        let thread = ThreadSpec {
            name: "cache-disk".to_owned(),
            priority: Priority::Batch,
            ..ThreadSpec::default()
        };
        let of_thread = shared.clone();
        let thread = spawn(thread, move |_placement| run(&of_thread, &works))?;
        Ok(Self { shared, queue: Some(queue), thread: Some(thread) })
    }

    pub(in crate::cache) fn stats(&self) -> &DiskStats {
        &self.shared.stats
    }

    /// Files and their bytes.
    pub(in crate::cache) fn size(&self) -> (usize, u64) {
        let index = self.shared.index();
        (index.len(), index.bytes())
    }

    fn send(&self, work: Work) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.try_send(work).is_ok())
    }

    /// Keeps a response of `key`, in the place of the same variant before it.
    pub(in crate::cache) fn put(&self, key: &str, stored: &Arc<Stored>) {
        let bytes = stored.bytes() as u64;
        let name = Name::new(key, &stored.variant);
        let fits = bytes <= self.shared.spec.bytes_max / PART_MAX;
        let (mut removed, turn) = {
            let mut index = self.shared.index();
            // A response without `Vary` stands for all requests from now on.
            let removed = match stored.variant.is_empty() {
                true => index.remove_key(key, Some(name)),
                false => Vec::new(),
            };
            if !fits {
                index.remove(name);
            }
            let turn = fits.then(|| index.put(name, (key, &stored.headers), bytes, false));
            (removed, turn)
        };
        let is_queued =
            turn.map(|turn| self.send(Work::Write(name, turn, key.into(), stored.clone())));
        if is_queued == Some(false) {
            self.shared.stats.dropped.add(1);
            self.shared.index().remove(name);
        }
        if is_queued != Some(true) {
            // What was there before is not what the origin says now.
            removed.push(name);
        }
        self.remove_files(removed);
    }

    /// Has files removed that the index no longer knows; here where the queue is full.
    fn remove_files(&self, names: Vec<Name>) {
        if names.is_empty() || self.send(Work::Remove(names.clone())) {
            return;
        }
        for name in names {
            let _ = fs::remove_file(self.shared.path(name));
        }
    }

    /// Forgets what `purge` names; returns how many files that were.
    pub(in crate::cache) fn purge(&self, purge: Purge<'_>) -> usize {
        let names = self.shared.index().purge(purge);
        let count = names.len();
        self.remove_files(names);
        count
    }

    /// Whether anything is kept for `key`.
    pub(in crate::cache) fn has(&self, key: &str) -> bool {
        self.shared.index().has(key)
    }

    /// Forgets what is kept for `key`.
    pub(in crate::cache) fn remove(&self, key: &str) {
        let names = self.shared.index().remove_key(key, None);
        self.remove_files(names);
    }

    /// Reads what is kept for `key`, and gives it to `take` unless it was purged meanwhile.
    pub(in crate::cache) async fn read<T>(
        &self,
        key: &str,
        take: impl FnOnce(Vec<Stored>) -> T,
    ) -> Option<T> {
        let names = self.shared.index().of_key(key);
        let (reply, found) = oneshot::channel();
        if names.is_empty() || !self.send(Work::Read(key.into(), names, reply)) {
            return None;
        }
        let found = found.await.ok()?;
        // While the index is held nobody can purge in between.
        let index = self.shared.index();
        let is_current = |(name, turn, _): &Found| index.is_current(*name, *turn);
        let found = found.into_iter().filter(is_current).map(|(_, _, stored)| stored);
        let found: Vec<Stored> = found.collect();
        if found.is_empty() {
            return None;
        }
        self.shared.stats.read.add(1);
        Some(take(found))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The thread ends once what is queued is done.
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // There is nobody to tell; what a panic left undone is found at the next start.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, works: &Receiver<Work>) {
    look(shared);
    let mut is_failing = false;
    for work in works {
        match work {
            Work::Write(name, turn, key, stored) => {
                if !shared.index().is_current(name, turn) {
                    continue;
                }
                let written = write(shared, name, &key, &stored);
                if let Err(error) = &written {
                    shared.stats.failed.add(1);
                    if !is_failing {
                        let folder = shared.spec.folder.display();
                        tracing::warn!(%error, %folder, "answers cannot be kept on disk");
                    }
                }
                is_failing = written.is_err();
                let counts = written.is_ok() && shared.index().is_written(name, turn);
                if !counts {
                    let _ = fs::remove_file(shared.path(name));
                    let mut index = shared.index();
                    if index.is_current(name, turn) {
                        index.remove(name);
                    }
                }
                shrink(shared);
                // Whoever sees the count sees no more bytes than may be kept.
                shared.stats.written.add(u64::from(counts));
            }
            Work::Read(key, names, reply) => {
                // Who asked may be gone; nobody else waits for it.
                let _ = reply.send(read(shared, &key, &names));
            }
            Work::Remove(names) => {
                for name in names {
                    // One that was put again since is written again.
                    if !shared.index().knows(name) {
                        let _ = fs::remove_file(shared.path(name));
                    }
                }
            }
        }
    }
}

fn shrink(shared: &Shared) {
    let removed = shared.index().shrink_to(shared.spec.bytes_max);
    for name in removed {
        let _ = fs::remove_file(shared.path(name));
    }
}

fn write(shared: &Shared, name: Name, key: &str, stored: &Stored) -> io::Result<()> {
    let Some(bytes) = record::encode(key, stored, shared.now()) else {
        return Err(io::Error::other("the head is too large"));
    };
    let unfinished = shared.spec.folder.join(UNFINISHED);
    let mut file = File::create(&unfinished)?;
    file.write_all(&bytes)?;
    drop(file);
    fs::rename(&unfinished, shared.path(name))
}

/// The responses in these files, the newest first.
fn read(shared: &Shared, key: &str, names: &[(Name, u64)]) -> Vec<Found> {
    let now = shared.now();
    let mut found = Vec::new();
    for &(name, turn) in names {
        let bytes = fs::read(shared.path(name)).ok();
        match bytes.and_then(|bytes| record::decode(key, Bytes::from(bytes), now)) {
            Some(stored) => found.push((name, turn, stored)),
            None => {
                let mut index = shared.index();
                if index.is_current(name, turn) {
                    shared.stats.failed.add(1);
                    index.remove(name);
                    let _ = fs::remove_file(shared.path(name));
                }
            }
        }
    }
    found.sort_by_key(|(_, _, stored)| stored.age_ms(now));
    found
}

/// Finds the files of earlier processes, those written the longest ago first.
fn look(shared: &Shared) {
    let Ok(entries) = fs::read_dir(&shared.spec.folder) else { return };
    let mut files = Vec::new();
    for entry in entries.flatten() {
        let file = entry.file_name();
        if file == UNFINISHED {
            let _ = fs::remove_file(entry.path());
        }
        let name = file.to_str().and_then(Name::of_file);
        if let (Some(name), Ok(data)) = (name, entry.metadata()) {
            files.push((data.modified().ok(), name, entry.path(), data.len()));
        }
    }
    files.sort();
    for (_, name, path, bytes) in files {
        let Some((key, headers)) = head_of(&path, bytes) else {
            let _ = fs::remove_file(&path);
            continue;
        };
        let mut index = shared.index();
        // One that was put since the start is newer.
        if !index.knows(name) {
            index.put(name, (&key, &headers), bytes, true);
        }
    }
    shrink(shared);
}

/// The key and fields of a file of so many bytes.
fn head_of(path: &Path, bytes: u64) -> Option<(String, HeaderMap)> {
    let mut file = File::open(path).ok()?;
    let mut first = [0; FIXED_BYTES];
    file.read_exact(&mut first).ok()?;
    let fixed = record::fixed(&first)?;
    if bytes != (FIXED_BYTES as u64) + fixed.head_bytes as u64 + fixed.body_bytes {
        return None;
    }
    let mut head = vec![0; fixed.head_bytes];
    file.read_exact(&mut head).ok()?;
    let head = record::head(&head)?;
    let mut headers = HeaderMap::new();
    for (name, value) in head.headers() {
        let (name, value) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value));
        headers.append(name.ok()?, value.ok()?);
    }
    Some((head.key, headers))
}
