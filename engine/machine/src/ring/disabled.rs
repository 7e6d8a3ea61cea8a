//! Owns file access without io_uring: one system call at a time, through the standard library.
//!
//! Refuses to know why io_uring is not used. Bound: no memory of its own but the list of chunks.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;

use super::seam::Ring;

/// Reads with pread and writes with writev.
#[derive(Debug)]
pub struct PlainFiles;

impl Ring for PlainFiles {
    fn read_at(&mut self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        file.read_exact_at(buffer, offset)
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

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn name(&self) -> &'static str {
        "file"
    }
}

/// The chunks that have bytes: with an empty one in front, a write of nothing would look like a
/// full disk.
pub(super) fn filled<'a>(chunks: &[&'a [u8]]) -> Vec<IoSlice<'a>> {
    chunks.iter().filter(|chunk| !chunk.is_empty()).map(|chunk| IoSlice::new(chunk)).collect()
}
