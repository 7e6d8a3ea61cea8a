//! Owns a file whose writes are held back until a sync, and what a failed sync means.
//!
//! Written pages stay in memory, serve reads from there, and go to the disk in the order of the
//! file when a sync is asked for or too many have gathered. After a failed sync nobody knows what
//! the disk holds, so everything but closing is refused from then on, and what is held back never
//! reaches the disk: a later success would claim to be durable what is not.
//! Refuses to know how the file is reached. Bound: 16 MiB of pages held back, 2 MiB of spare ones
//! and 2 MiB read ahead.

use std::fmt;
use std::io;

use truststram_machine::ring::DirectFile;

use super::dirty_pages::{DirtyPages, PAGE_BYTES, Part, parts};
use super::read_ahead::{ReadAhead, WINDOW_BYTES_MAX};

/// The file below; tests put one that fails.
pub(super) trait PageFile: Send + fmt::Debug {
    fn length(&self) -> io::Result<u64>;
    fn set_length(&mut self, bytes: u64) -> io::Result<()>;
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    fn write_pages(&mut self, pages: &[(u64, &[u8])]) -> io::Result<()>;
    fn write_pages_and_sync(&mut self, pages: &[(u64, &[u8])]) -> io::Result<()>;
}

impl PageFile for DirectFile {
    fn length(&self) -> io::Result<u64> {
        self.length()
    }

    fn set_length(&mut self, bytes: u64) -> io::Result<()> {
        self.set_length(bytes)
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_at(buffer, offset)
    }

    fn write_pages(&mut self, pages: &[(u64, &[u8])]) -> io::Result<()> {
        self.write_pages(pages)
    }

    fn write_pages_and_sync(&mut self, pages: &[(u64, &[u8])]) -> io::Result<()> {
        self.write_pages_and_sync(pages)
    }
}

/// A file with its pages held back.
pub(super) struct DeferredFile {
    file: Box<dyn PageFile>,
    /// The file's length while it is known; no page that is held back lies behind it.
    length: Option<u64>,
    dirty: DirtyPages,
    ahead: ReadAhead,
    has_failed: bool,
}

impl DeferredFile {
    pub(super) fn new(file: Box<dyn PageFile>) -> Self {
        Self {
            file,
            length: None,
            dirty: DirtyPages::default(),
            ahead: ReadAhead::default(),
            has_failed: false,
        }
    }

    pub(super) fn length(&mut self) -> io::Result<u64> {
        self.check()?;
        match self.length {
            Some(length) => Ok(length),
            None => Ok(*self.length.insert(self.file.length()?)),
        }
    }

    /// Asks for the length anew at its next use, and reads anew what was read ahead.
    pub(super) fn forget_length(&mut self) {
        self.length = None;
        self.ahead.forget();
    }

    pub(super) fn set_length(&mut self, bytes: u64) -> io::Result<()> {
        self.check()?;
        self.ahead.forget();
        self.length = None;
        self.file.set_length(bytes)?;
        self.dirty.cut(bytes);
        self.length = Some(bytes);
        Ok(())
    }

    pub(super) fn read(&mut self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let length = self.length()?;
        let end = offset.checked_add(out.len() as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        if end > length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.dirty.is_empty() {
            return self.read_file(offset, out, length);
        }
        if !self.dirty.lay_over(offset, out) {
            self.read_file(offset, out, length)?;
            self.dirty.lay_over(offset, out);
        }
        Ok(())
    }

    fn read_file(&mut self, offset: u64, out: &mut [u8], length: u64) -> io::Result<()> {
        if out.len() >= WINDOW_BYTES_MAX {
            return self.file.read_at(out, offset);
        }
        if self.ahead.take(offset, out) {
            return Ok(());
        }
        if let Some(window) = self.ahead.plan(offset, out.len(), length) {
            let (start, buffer) = self.ahead.prepare(window);
            if let Err(error) = self.file.read_at(buffer, start) {
                self.ahead.forget();
                return Err(error);
            }
            if self.ahead.take(offset, out) {
                return Ok(());
            }
        }
        self.file.read_at(out, offset)
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let length = self.length()?;
        let end = offset.checked_add(data.len() as u64).ok_or(io::ErrorKind::InvalidInput)?;
        // Whatever is refused for want of space or by a limit is refused here and now.
        if end > length {
            self.set_length(end)?;
        }
        for part in parts(offset, data.len()) {
            if !self.dirty.put(&part, data) {
                self.take_in(&part)?;
                self.dirty.put(&part, data);
            }
        }
        Ok(())
    }

    /// Makes room for a page and takes it in, with what the file has if only a part is written.
    fn take_in(&mut self, part: &Part) -> io::Result<()> {
        if self.dirty.is_full() {
            // After a failure all pages are still held back, and this one is not taken.
            let length = self.length()?;
            self.ahead.forget();
            self.file.write_pages(&self.dirty.sorted(length))?;
            self.dirty.clear();
        }
        if part.is_whole() {
            self.dirty.add(part.page);
            return Ok(());
        }
        let mut before = [0; PAGE_BYTES];
        let behind = usize::try_from(self.length()? - part.page).unwrap_or(PAGE_BYTES);
        self.file.read_at(&mut before[..behind.min(PAGE_BYTES)], part.page)?;
        *self.dirty.add(part.page) = before;
        Ok(())
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        let length = self.length()?;
        self.ahead.forget();
        let outcome = self.file.write_pages_and_sync(&self.dirty.sorted(length));
        self.has_failed = outcome.is_err();
        self.dirty.clear();
        outcome
    }

    /// Brings to the disk what is held back, unless a sync has failed: then the file stays as at a
    /// crash, which redb recovers from.
    pub(super) fn close(&mut self) -> io::Result<()> {
        if self.has_failed || self.dirty.is_empty() { Ok(()) } else { self.sync() }
    }

    fn check(&self) -> io::Result<()> {
        if self.has_failed {
            return Err(io::Error::other(
                "an earlier sync of this file failed; it must be opened again",
            ));
        }
        Ok(())
    }
}

impl fmt::Debug for DeferredFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferredFile")
            .field("file", &self.file)
            .field("length", &self.length)
            .field("has_failed", &self.has_failed)
            .finish_non_exhaustive()
    }
}
