//! Owns file access through io_uring.
//!
//! Refuses to know what to do without it. Bound: [`IN_FLIGHT_MAX`] operations of at most
//! [`PIECE_BYTES_MAX`] bytes each while reading, one write and one sync while writing.
//!
//! That no call returns while an operation of it is under way is kept by [`Operations`].
#![allow(unsafe_code, reason = "io_uring takes raw pointers to memory that the kernel fills")]

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;

use io_uring::types::{Fd, FsyncFlags};
use io_uring::{IoUring, opcode, squeue};

use super::disabled::{PlainFiles, bytes_of_each, filled, in_runs};
use super::operations::{Needed, Operations, Setup};
use super::seam::Ring;

/// Operations under way at a time, and entries of the submission queue.
pub const IN_FLIGHT_MAX: usize = 32;
/// Bytes that one read asks for at most.
pub const PIECE_BYTES_MAX: usize = 512 << 10;
/// Most buffers of one writev (`UIO_MAXIOV` of the kernel).
pub(super) const WRITE_CHUNK_COUNT_MAX: usize = 1_024;
/// The offset that stands for the file's own position.
const AT_POSITION: u64 = u64::MAX;
/// What the sync of a pair of write and sync is marked with.
const SYNC_MARK: u64 = 1;

const NEEDED: [Needed; 4] = [
    ("NOP", opcode::Nop::CODE),
    ("READ", opcode::Read::CODE),
    ("WRITEV", opcode::Writev::CODE),
    ("FSYNC", opcode::Fsync::CODE),
];

/// The setup that is used outside tests.
pub fn setup() -> io::Result<IoUring> {
    let entries = u32::try_from(IN_FLIGHT_MAX).map_err(io::Error::other)?;
    IoUring::new(entries)
}

/// A ring that has been tried out.
pub struct Uring {
    /// Once the kernel refuses to take or answer operations, plain files serve.
    operations: Operations,
    plain: PlainFiles,
}

/// The part of a read that one operation is asked for: bytes of the caller's buffer, and where the
/// first of them lies in the file.
#[derive(Clone, Copy, Default)]
struct Piece {
    start: usize,
    end: usize,
    offset: u64,
}

/// Pieces of at most [`PIECE_BYTES_MAX`] that together fill a part of the buffer.
fn pieces(start: usize, end: usize, offset: u64) -> impl Iterator<Item = Piece> {
    (start..end).step_by(PIECE_BYTES_MAX).map(move |at| Piece {
        start: at,
        end: end.min(at + PIECE_BYTES_MAX),
        offset: offset.wrapping_add((at - start) as u64),
    })
}

impl Uring {
    /// Sets the ring up and tries it out.
    ///
    /// # Errors
    /// Why io_uring is not to be used, as a text for operators.
    pub fn start(setup: Setup) -> Result<Self, String> {
        let operations = Operations::start(setup, &NEEDED)?;
        if !operations.ring().is_some_and(|ring| ring.params().is_feature_rw_cur_pos()) {
            return Err("the kernel's io_uring cannot append; Linux 5.6 and later can".to_owned());
        }
        Ok(Self { operations, plain: PlainFiles })
    }

    fn is_usable(&self) -> bool {
        self.operations.ring().is_some()
    }

    /// Writes what one operation takes of `slices` and returns how much that was.
    fn write_some(&mut self, file: &File, slices: &[IoSlice], offset: u64) -> io::Result<usize> {
        // SAFETY: the slices and what they point to are borrowed until this function returns, and
        // `run` waits for the answer.
        match unsafe { self.operations.run(&write_entry(file, slices, offset)) } {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            other => other,
        }
    }

    /// As [`Self::write_some`], with a sync that follows in the same submission; also returns
    /// whether that sync was done.
    fn write_and_sync_some(
        &mut self,
        file: &File,
        slices: &[IoSlice],
        offset: u64,
    ) -> io::Result<(usize, bool)> {
        let write = write_entry(file, slices, offset).flags(squeue::Flags::IO_LINK);
        let sync = sync_entry(file).user_data(SYNC_MARK);
        // SAFETY: the slices and what they point to are borrowed until this function returns; that
        // is after both answers, or after the ring was given up with none under way.
        unsafe { self.operations.push(&[write, sync]) }?;
        let (mut written, mut synced) = (0, 0);
        for in_flight in [2, 1] {
            match self.operations.next_answer(in_flight)? {
                (SYNC_MARK, result) => synced = result,
                (_, result) => written = result,
            }
        }
        outcome_of_pair(written, synced)
    }

    /// Reads pieces that lie in `buffer`, with as many under way as the ring holds.
    fn read_pieces(
        &mut self,
        file: &File,
        buffer: &mut [u8],
        mut unread: impl Iterator<Item = Piece>,
    ) -> io::Result<()> {
        let (memory, size) = (buffer.as_mut_ptr(), buffer.len());
        let entry = |slot: usize, piece: Piece| {
            let bytes = u32::try_from(piece.end - piece.start).unwrap_or(u32::MAX);
            opcode::Read::new(Fd(file.as_raw_fd()), memory.wrapping_add(piece.start), bytes)
                .offset(piece.offset)
                .build()
                .user_data(slot as u64)
        };
        let mut pieces = [Piece::default(); IN_FLIGHT_MAX];
        let mut due: Vec<usize> = (0..IN_FLIGHT_MAX).collect();
        let mut in_flight = 0;
        let mut outcome = Ok(());
        loop {
            while let Some(slot) = due.pop().filter(|_| outcome.is_ok()) {
                let piece = &mut pieces[slot];
                if piece.start == piece.end {
                    *piece = unread.next().unwrap_or_default();
                }
                if piece.start == piece.end {
                    continue;
                }
                if piece.start > piece.end || piece.end > size {
                    outcome = Err(io::ErrorKind::InvalidInput.into());
                    continue;
                }
                // SAFETY: the piece lies in `buffer`, which is borrowed until this function
                // returns; that is after the last answer, or after the ring was given up.
                match unsafe { self.operations.push(&[entry(slot, *piece)]) } {
                    Ok(()) => in_flight += 1,
                    Err(error) => outcome = Err(error),
                }
            }
            if in_flight == 0 {
                return outcome;
            }
            let (slot, result) = self.operations.next_answer(in_flight)?;
            in_flight -= 1;
            let slot = slot as usize;
            match usize::try_from(result) {
                Ok(0) => outcome = Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    pieces[slot].start += count;
                    pieces[slot].offset += count as u64;
                }
                Err(_) if result == -libc::EINTR || result == -libc::EAGAIN => {}
                Err(_) => outcome = Err(io::Error::from_raw_os_error(-result)),
            }
            due.push(slot);
        }
    }
}

impl Ring for Uring {
    fn read_at(&mut self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if self.is_usable() {
            let all = pieces(0, buffer.len(), offset);
            let outcome = self.read_pieces(file, buffer, all);
            // With the ring gone, what was read so far is read again.
            if self.is_usable() || outcome.is_ok() {
                return outcome;
            }
        }
        self.plain.read_at(file, buffer, offset)
    }

    fn read_each(&mut self, file: &File, buffer: &mut [u8], offsets: &[u64]) -> io::Result<()> {
        let bytes = bytes_of_each(buffer, offsets)?;
        if self.is_usable() {
            let mut start = 0;
            let each = in_runs(offsets, bytes).flat_map(|run| {
                let from = start;
                start += bytes * run.len();
                pieces(from, start, run[0])
            });
            let outcome = self.read_pieces(file, buffer, each);
            if self.is_usable() || outcome.is_ok() {
                return outcome;
            }
        }
        self.plain.read_each(file, buffer, offsets)
    }

    fn append(&mut self, file: &File, chunks: &[&[u8]]) -> io::Result<()> {
        let mut slices = filled(chunks);
        let mut rest = slices.as_mut_slice();
        while !rest.is_empty() && self.is_usable() {
            let written = self.write_some(file, one_write(rest), AT_POSITION)?;
            IoSlice::advance_slices(&mut rest, written);
        }
        self.plain.append(file, &left_over(rest))
    }

    fn write_at(&mut self, file: &File, buffer: &[u8], offset: u64) -> io::Result<()> {
        let (mut rest, mut offset) = (buffer, offset);
        while !rest.is_empty() && self.is_usable() {
            match self.write_some(file, &[IoSlice::new(rest)], offset) {
                Ok(written) => (rest, offset) = (&rest[written..], offset + written as u64),
                // With the ring gone, the same bytes go to the same place again.
                Err(_) if !self.is_usable() => {}
                Err(error) => return Err(error),
            }
        }
        self.plain.write_at(file, rest, offset)
    }

    fn write_at_and_sync(&mut self, file: &File, chunks: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut offset = offset;
        let mut slices = filled(chunks);
        let mut rest = slices.as_mut_slice();
        while !rest.is_empty() && self.is_usable() {
            let next = one_write(rest);
            // A ring that is lost here may have taken the answer of a failed sync with it, and the
            // kernel reports such a failure once; so the error is final.
            let (written, is_synced) = if next.len() == rest.len() {
                self.write_and_sync_some(file, next, offset)?
            } else {
                (self.write_some(file, next, offset)?, false)
            };
            IoSlice::advance_slices(&mut rest, written);
            offset += written as u64;
            if rest.is_empty() && is_synced {
                return Ok(());
            }
        }
        if rest.is_empty() {
            return self.sync(file);
        }
        self.plain.write_at_and_sync(file, &left_over(rest), offset)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        if !self.is_usable() {
            return self.plain.sync(file);
        }
        // SAFETY: the operation has no memory.
        unsafe { self.operations.run(&sync_entry(file)) }.map(drop)
    }

    fn name(&self) -> &'static str {
        if self.is_usable() { "io_uring" } else { self.plain.name() }
    }
}

/// `IoSlice` has the layout of the kernel's iovec. `slices` are at most [`WRITE_CHUNK_COUNT_MAX`].
fn write_entry(file: &File, slices: &[IoSlice], offset: u64) -> squeue::Entry {
    let count = u32::try_from(slices.len()).unwrap_or(u32::MAX);
    opcode::Writev::new(Fd(file.as_raw_fd()), slices.as_ptr().cast(), count).offset(offset).build()
}

fn sync_entry(file: &File) -> squeue::Entry {
    opcode::Fsync::new(Fd(file.as_raw_fd())).flags(FsyncFlags::DATASYNC).build()
}

/// As many slices as one operation takes.
fn one_write<'a, 'b>(rest: &'a [IoSlice<'b>]) -> &'a [IoSlice<'b>] {
    &rest[..rest.len().min(WRITE_CHUNK_COUNT_MAX)]
}

fn left_over<'a>(rest: &'a [IoSlice]) -> Vec<&'a [u8]> {
    rest.iter().map(|slice| &**slice).collect()
}

/// How many bytes a write put down and whether the sync linked to it was done, from the answers to
/// both. A write that fails or comes short breaks the link, and the sync is cancelled; the caller
/// writes the rest and syncs again.
fn outcome_of_pair(written: i32, synced: i32) -> io::Result<(usize, bool)> {
    let count = match usize::try_from(written) {
        Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
        Ok(count) => count,
        Err(_) if written == -libc::EINTR || written == -libc::EAGAIN => 0,
        Err(_) => return Err(io::Error::from_raw_os_error(-written)),
    };
    match -synced {
        ..=0 => Ok((count, true)),
        libc::ECANCELED | libc::EINTR => Ok((count, false)),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_counts_only_after_its_whole_write() {
        let check = |written, synced, expected: Result<(usize, bool), i32>| {
            let outcome = outcome_of_pair(written, synced);
            let outcome = outcome.map_err(|error| error.raw_os_error().unwrap_or(0));
            assert_eq!(outcome, expected, "{written} {synced}");
        };
        check(4_096, 0, Ok((4_096, true)));
        check(100, -libc::ECANCELED, Ok((100, false)));
        check(4_096, -libc::EINTR, Ok((4_096, false)));
        check(-libc::EINTR, -libc::ECANCELED, Ok((0, false)));
        check(-libc::EAGAIN, -libc::ECANCELED, Ok((0, false)));
        check(-libc::ENOSPC, -libc::ECANCELED, Err(libc::ENOSPC));
        check(4_096, -libc::EIO, Err(libc::EIO));
        check(100, -libc::EIO, Err(libc::EIO));
        check(0, -libc::ECANCELED, Err(0));
    }
}
