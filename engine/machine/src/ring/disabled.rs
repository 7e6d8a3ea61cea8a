//! Owns file access without io_uring: one system call at a time, through the standard library.
//!
//! Refuses to know why io_uring is not used. Bound: no memory of its own but the list of chunks.
#![allow(unsafe_code, reason = "the standard library has no pwritev")]

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use super::enabled::WRITE_CHUNK_COUNT_MAX;
use super::seam::Ring;

/// Reads with pread and writes with writev and pwritev.
#[derive(Debug)]
pub struct PlainFiles;

impl Ring for PlainFiles {
    fn read_at(&mut self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        file.read_exact_at(buffer, offset)
    }

    fn read_each(&mut self, file: &File, buffer: &mut [u8], offsets: &[u64]) -> io::Result<()> {
        let bytes = bytes_of_each(buffer, offsets)?;
        let mut rest = buffer;
        for run in in_runs(offsets, bytes) {
            let (these, behind) = rest.split_at_mut(bytes * run.len());
            file.read_exact_at(these, run[0])?;
            rest = behind;
        }
        Ok(())
    }

    fn append(&mut self, mut file: &File, chunks: &[&[u8]]) -> io::Result<()> {
        let mut slices = filled(chunks);
        let mut rest = slices.as_mut_slice();
        while !rest.is_empty() {
            match file.write_vectored(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_at(&mut self, file: &File, buffer: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(buffer, offset)
    }

    fn write_at_and_sync(&mut self, file: &File, chunks: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut offset = offset;
        let mut slices = filled(chunks);
        let mut rest = slices.as_mut_slice();
        while !rest.is_empty() {
            match write_vectored_at(file, rest, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    IoSlice::advance_slices(&mut rest, written);
                    offset += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        file.sync_data()
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn name(&self) -> &'static str {
        "file"
    }
}

/// The size of each piece of a buffer that is filled from so many offsets.
pub(super) fn bytes_of_each(buffer: &[u8], offsets: &[u64]) -> io::Result<usize> {
    match buffer.len().checked_div(offsets.len()) {
        None if buffer.is_empty() => Ok(0),
        Some(bytes) if bytes * offsets.len() == buffer.len() => Ok(bytes),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// The offsets of pieces that lie one behind the other in the file, together.
pub(super) fn in_runs(offsets: &[u64], bytes: usize) -> impl Iterator<Item = &[u64]> {
    offsets.chunk_by(move |one, next| one.checked_add(bytes as u64) == Some(*next))
}

/// The chunks that have bytes: with an empty one in front, a write of nothing would look like a
/// full disk.
pub(super) fn filled<'a>(chunks: &[&'a [u8]]) -> Vec<IoSlice<'a>> {
    chunks.iter().filter(|chunk| !chunk.is_empty()).map(|chunk| IoSlice::new(chunk)).collect()
}

/// Writes what one call takes of `slices` and returns how many bytes that was.
fn write_vectored_at(file: &File, slices: &[IoSlice], offset: u64) -> io::Result<usize> {
    let count = slices.len().min(WRITE_CHUNK_COUNT_MAX) as libc::c_int;
    let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `IoSlice` has the layout of iovec; the kernel reads `count` of them and the memory
    // they borrow, and keeps no pointer.
    let written = unsafe { libc::pwritev(file.as_raw_fd(), slices.as_ptr().cast(), count, offset) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}
