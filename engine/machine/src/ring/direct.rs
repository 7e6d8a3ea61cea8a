//! Owns a file that is read and written through io_uring from registered buffers, past the page
//! cache where the filesystem allows it.
//!
//! The buffers and the file are registered once, so that no operation looks them up or pins memory
//! again; callers' bytes are copied through them, because their memory is neither registered nor
//! aligned. Several operations are under way within a call and none is between calls.
//! Refuses to know what the bytes mean and to go on after the ring was lost: the caller opens the
//! file anew. Bound: [`POOL_BYTES`] of registered memory and [`IN_FLIGHT_MAX`] operations.
#![allow(unsafe_code, reason = "io_uring takes raw pointers to memory that the kernel fills")]

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use io_uring::types::{Fixed, FsyncFlags};
use io_uring::{opcode, squeue};

use super::operations::Operations;
use crate::memory::NodeBuffer;

mod open;

pub use open::RingRefusal;

/// What offsets and addresses of direct operations are multiples of.
pub const BLOCK_BYTES: usize = 4 << 10;
/// Registered memory of each file.
pub const POOL_BYTES: usize = 2 << 20;
/// Writes or reads under way at a time; the ring has room for a sync besides.
const IN_FLIGHT_MAX: usize = 63;
/// Most bytes of one write.
const WRITE_BYTES_MAX: usize = 512 << 10;
/// Most bytes of one read: a large one is split, so that the device has several to work on.
const READ_BYTES_MAX: usize = 128 << 10;
/// What a sync is marked with; other operations with their index.
const SYNC_MARK: u64 = u64::MAX;
/// The file's place in the table of registered files.
const FILE: Fixed = Fixed(0);

/// A file reached through io_uring. One thread uses it at a time.
pub struct DirectFile {
    // Before the pool, so that it goes first.
    operations: Operations,
    pool: NodeBuffer,
    /// The same file through the page cache: for its length, and for a last part that is not a
    /// whole block.
    plain: File,
    is_direct: bool,
    /// The file that the ring uses.
    registered: File,
    sync_by: SyncBy,
}

/// How written bytes are brought to stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncBy {
    /// By an operation of the ring, submitted together with the last writes. The kernel hands it to
    /// a thread of its own, which costs more than a call where the disk is fast.
    Link,
    /// By a system call once the writes are answered.
    Call,
}

/// Bytes of the pool that belong to a place in the file.
#[derive(Debug)]
struct Run {
    offset: u64,
    /// Where they start in the pool.
    start: usize,
    bytes: usize,
    /// How many of them must be read or written; the rest of a read's last block may lie behind
    /// the end of the file.
    needed: usize,
    done: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}

impl DirectFile {
    /// Whether the page cache is bypassed.
    pub fn is_direct(&self) -> bool {
        self.is_direct
    }

    /// The file's length in bytes.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn length(&self) -> io::Result<u64> {
        Ok(self.plain.metadata()?.len())
    }

    /// Cuts the file, or lengthens it with zeros.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn set_length(&mut self, bytes: u64) -> io::Result<()> {
        self.plain.set_len(bytes)
    }

    /// Fills `buffer` with the bytes from `offset` on, with many reads under way at a time.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends first, or what the kernel said; `buffer` then holds
    /// anything.
    pub fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let (mut rest, mut offset) = (buffer, offset);
        while !rest.is_empty() {
            let lead = (offset % BLOCK_BYTES as u64) as usize;
            let (part, behind) = rest.split_at_mut(rest.len().min(POOL_BYTES - lead));
            let mut runs = reads(offset - lead as u64, lead + part.len());
            self.settle(&mut runs, Direction::Read)?;
            part.copy_from_slice(&self.pool[lead..lead + part.len()]);
            offset += part.len() as u64;
            rest = behind;
        }
        Ok(())
    }

    /// Writes `pages`, each from its offset on, with neighbours in one write and many writes under
    /// way at a time. They are sorted by offset and do not overlap; offsets are multiples of
    /// [`BLOCK_BYTES`], and only a page that ends the file may have another length.
    ///
    /// # Errors
    /// `InvalidInput` for pages of another form, or what the kernel said; any part of the bytes
    /// may be written then.
    pub fn write_pages(&mut self, pages: &[(u64, &[u8])]) -> io::Result<()> {
        let mut runs = self.write_all_but_last(pages)?;
        self.settle(&mut runs, Direction::Write)
    }

    /// As [`Self::write_pages`], and returns when the bytes, and all that were written before, are
    /// on stable storage.
    ///
    /// # Errors
    /// As for writing. Earlier bytes may be lost too, even if a later call succeeds.
    pub fn write_pages_and_sync(&mut self, pages: &[(u64, &[u8])]) -> io::Result<()> {
        let mut runs = self.write_all_but_last(pages)?;
        if self.sync_by == SyncBy::Call {
            self.settle(&mut runs, Direction::Write)?;
            return self.sync();
        }
        while !runs.is_empty() {
            let is_synced = self.round(&mut runs, Direction::Write, true)?;
            runs.retain(|run| run.done < run.needed);
            if runs.is_empty() && is_synced {
                return Ok(());
            }
        }
        self.sync()
    }

    /// Returns when all written bytes are on stable storage.
    ///
    /// # Errors
    /// What the kernel said. Written bytes may be lost then, even if a later call succeeds.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.sync_by == SyncBy::Call {
            return self.registered.sync_data();
        }
        // SAFETY: the operation has no memory.
        unsafe { self.operations.run(&sync_entry()) }.map(drop)
    }

    /// Copies pages into the pool and writes them as often as it is full; what is returned is in
    /// the pool and still to be written.
    fn write_all_but_last(&mut self, pages: &[(u64, &[u8])]) -> io::Result<Vec<Run>> {
        let mut runs: Vec<Run> = Vec::new();
        let mut used = 0;
        let mut end = 0;
        for &(offset, bytes) in pages {
            if offset % BLOCK_BYTES as u64 != 0 || offset < end {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            end = offset.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::InvalidInput)?;
            let (mut blocks, tail) = bytes.split_at(bytes.len() - bytes.len() % BLOCK_BYTES);
            let mut at = offset;
            while !blocks.is_empty() {
                let follows = runs.last().is_some_and(|run| {
                    run.offset + run.bytes as u64 == at && run.bytes < WRITE_BYTES_MAX
                });
                if used == POOL_BYTES || (!follows && runs.len() == IN_FLIGHT_MAX) {
                    self.settle(&mut runs, Direction::Write)?;
                    used = 0;
                    continue;
                }
                let room = match runs.last_mut() {
                    Some(run) if follows => WRITE_BYTES_MAX - run.bytes,
                    _ => WRITE_BYTES_MAX,
                };
                let count = blocks.len().min(POOL_BYTES - used).min(room);
                self.pool[used..used + count].copy_from_slice(&blocks[..count]);
                match runs.last_mut() {
                    Some(run) if follows => {
                        (run.bytes, run.needed) = (run.bytes + count, run.needed + count);
                    }
                    _ => runs.push(Run {
                        offset: at,
                        start: used,
                        bytes: count,
                        needed: count,
                        done: 0,
                    }),
                }
                used += count;
                at += count as u64;
                blocks = &blocks[count..];
            }
            // Less than a block cannot bypass the page cache; a sync covers both ways.
            self.plain.write_all_at(tail, at)?;
        }
        Ok(runs)
    }

    /// Brings `runs` to their end and empties the list.
    fn settle(&mut self, runs: &mut Vec<Run>, direction: Direction) -> io::Result<()> {
        while !runs.is_empty() {
            self.round(runs, direction, false)?;
            runs.retain(|run| run.done < run.needed);
        }
        Ok(())
    }

    /// Submits what is left of each run and awaits all answers; returns whether the sync, if one
    /// was asked for, is done. It covers the runs only if all of them are at their end.
    fn round(&mut self, runs: &mut [Run], direction: Direction, sync: bool) -> io::Result<bool> {
        let mut entries: Vec<squeue::Entry> = Vec::with_capacity(runs.len() + 1);
        for (index, run) in runs.iter().enumerate() {
            entries.push(self.entry(run, direction).user_data(index as u64));
        }
        if sync {
            // One write is linked to its sync; of several, a link would make each wait for the one
            // before, so the sync waits for all that were submitted before it instead.
            let sync = sync_entry().user_data(SYNC_MARK);
            let sync = match entries.as_mut_slice() {
                [write] => {
                    *write = write.clone().flags(squeue::Flags::IO_LINK);
                    sync
                }
                _ => sync.flags(squeue::Flags::IO_DRAIN),
            };
            entries.push(sync);
        }
        // SAFETY: the entries point into the pool, which lives as long as the ring and which
        // nobody else touches until all answers are there or the ring was given up.
        unsafe { self.operations.push(&entries) }?;
        let mut outcome = Ok(());
        let mut synced = -libc::ECANCELED;
        for in_flight in (1..=entries.len()).rev() {
            let (mark, result) = self.operations.next_answer(in_flight)?;
            if mark == SYNC_MARK {
                synced = result;
                continue;
            }
            if let Err(error) = runs[mark as usize].answer(direction, result) {
                outcome = Err(error);
            }
        }
        outcome?;
        match -synced {
            ..=0 => Ok(true),
            libc::ECANCELED | libc::EINTR => Ok(false),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn entry(&mut self, run: &Run, direction: Direction) -> squeue::Entry {
        let done = run.resume_at(direction);
        let address = self.pool.as_mut_ptr().wrapping_add(run.start + done);
        let bytes = u32::try_from(run.bytes - done).unwrap_or(u32::MAX);
        let offset = run.offset + done as u64;
        match direction {
            Direction::Read => {
                opcode::ReadFixed::new(FILE, address, bytes, 0).offset(offset).build()
            }
            Direction::Write => {
                opcode::WriteFixed::new(FILE, address, bytes, 0).offset(offset).build()
            }
        }
    }
}

impl Run {
    /// Where the next operation starts: a read does over the block in which the last one ended.
    fn resume_at(&self, direction: Direction) -> usize {
        match direction {
            Direction::Read => self.done - self.done % BLOCK_BYTES,
            Direction::Write => self.done,
        }
    }

    fn answer(&mut self, direction: Direction, result: i32) -> io::Result<()> {
        let count = match usize::try_from(result) {
            Ok(count) => count,
            Err(_) if result == -libc::EINTR || result == -libc::EAGAIN => return Ok(()),
            Err(_) => return Err(io::Error::from_raw_os_error(-result)),
        };
        let done = self.resume_at(direction) + count;
        if done <= self.done {
            return Err(match direction {
                Direction::Read => io::ErrorKind::UnexpectedEof.into(),
                Direction::Write => io::ErrorKind::WriteZero.into(),
            });
        }
        self.done = done;
        Ok(())
    }
}

impl fmt::Debug for DirectFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectFile")
            .field("plain", &self.plain)
            .field("is_direct", &self.is_direct)
            .finish_non_exhaustive()
    }
}

fn sync_entry() -> squeue::Entry {
    opcode::Fsync::new(FILE).flags(FsyncFlags::DATASYNC).build()
}

/// Reads that bring `needed` bytes from the block at `offset` on to the start of the pool.
fn reads(offset: u64, needed: usize) -> Vec<Run> {
    (0..needed)
        .step_by(READ_BYTES_MAX)
        .map(|start| {
            let needed = (needed - start).min(READ_BYTES_MAX);
            let bytes = needed.next_multiple_of(BLOCK_BYTES);
            Run { offset: offset + start as u64, start, bytes, needed, done: 0 }
        })
        .collect()
}

#[cfg(test)]
mod tests;
