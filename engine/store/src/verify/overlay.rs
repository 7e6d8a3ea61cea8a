//! Owns a disk that is only read: what is written stays in memory and is gone in the end.
//!
//! Opening a store repairs and notes things in its files; on this disk it can, and the files stay
//! as they are. Refuses to know what is in them. Bound: pages that are written.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::{Disk, DiskFile};

const PAGE_BYTES: u64 = 4_096;

/// A disk below which another one stays as it is.
#[derive(Debug)]
pub(crate) struct OverlayDisk {
    below: Arc<dyn Disk>,
    files: Mutex<HashMap<PathBuf, Arc<Pages>>>,
}

impl OverlayDisk {
    pub(crate) fn new(below: Arc<dyn Disk>) -> Self {
        Self { below, files: Mutex::default() }
    }

    fn written(&self, path: &Path) -> Option<Arc<Pages>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }
}

impl Disk for OverlayDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let pages = match files.get(path) {
            Some(pages) => Arc::clone(pages),
            None => {
                let below = match self.below.exists(path)? {
                    true => Some(self.below.open_to_read(path)?),
                    false => None,
                };
                let bytes = below.as_ref().map_or(Ok(0), |file| file.length())?;
                let state = State { bytes, below_bytes: bytes, pages: HashMap::new() };
                let pages = Arc::new(Pages { below, state: Mutex::new(state) });
                files.insert(path.to_owned(), Arc::clone(&pages));
                pages
            }
        };
        Ok(Box::new(OverlayFile { pages }))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.written(path).is_some() || self.below.exists(path)?)
    }

    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        match self.below.list(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other,
        }
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    /// Files that an opening would remove are left out of what is checked.
    fn remove(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn drop_cached(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }

    fn bytes(&self, path: &Path) -> u64 {
        match self.written(path) {
            Some(pages) => pages.lock().bytes,
            None => self.below.bytes(path),
        }
    }
}

#[derive(Debug)]
struct Pages {
    below: Option<Box<dyn DiskFile>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bytes: u64,
    /// Bytes of the file below that still count.
    below_bytes: u64,
    pages: HashMap<u64, Vec<u8>>,
}

impl Pages {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The page as it is now.
    fn page(&self, state: &State, number: u64) -> io::Result<Vec<u8>> {
        if let Some(page) = state.pages.get(&number) {
            return Ok(page.clone());
        }
        let mut page = vec![0; PAGE_BYTES as usize];
        let start = number * PAGE_BYTES;
        if let Some(below) = &self.below
            && start < state.below_bytes
        {
            let count = (state.below_bytes - start).min(PAGE_BYTES) as usize;
            below.read(start, &mut page[..count])?;
        }
        Ok(page)
    }
}

#[derive(Debug)]
struct OverlayFile {
    pages: Arc<Pages>,
}

/// The parts of the pages that `bytes` bytes from `offset` on are in: page, start in the page,
/// start in the bytes, count.
fn parts(offset: u64, bytes: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == bytes {
            return None;
        }
        let at = offset + done as u64;
        let in_page = (at % PAGE_BYTES) as usize;
        let count = (PAGE_BYTES as usize - in_page).min(bytes - done);
        let part = (at / PAGE_BYTES, in_page, done, count);
        done += count;
        Some(part)
    })
}

impl DiskFile for OverlayFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.pages.lock().bytes)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.pages.lock();
        if offset.saturating_add(out.len() as u64) > state.bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let (true, Some(below)) = (state.pages.is_empty(), &self.pages.below)
            && offset + out.len() as u64 <= state.below_bytes
        {
            return below.read(offset, out);
        }
        for (page, in_page, start, count) in parts(offset, out.len()) {
            let page = self.pages.page(&state, page)?;
            out[start..start + count].copy_from_slice(&page[in_page..in_page + count]);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.pages.lock();
        for (number, in_page, start, count) in parts(offset, data.len()) {
            let mut page = self.pages.page(&state, number)?;
            page[in_page..in_page + count].copy_from_slice(&data[start..start + count]);
            state.pages.insert(number, page);
        }
        state.bytes = state.bytes.max(offset + data.len() as u64);
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.pages.lock();
        if bytes < state.bytes {
            state.below_bytes = state.below_bytes.min(bytes);
            state.pages.retain(|&number, _| number * PAGE_BYTES < bytes);
            let last = bytes / PAGE_BYTES;
            if let Some(page) = state.pages.get_mut(&last) {
                page[(bytes % PAGE_BYTES) as usize..].fill(0);
            }
        }
        state.bytes = bytes;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
