//! Owns what both implementations promise.
//!
//! Refuses to know which one runs. Bound: every call returns only when the kernel is done with
//! the caller's memory.

use std::fs::File;
use std::io;

/// A way to read and write files. One thread uses it at a time.
pub trait Ring: Send {
    /// Fills `buffer` with the bytes from `offset` on, several pieces at a time where possible.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends first, or what the kernel said; `buffer` then holds
    /// anything.
    fn read_at(&mut self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Fills `buffer`, as many pieces of the same size as there are `offsets`, each with the bytes
    /// from its offset on; many at a time where possible. `buffer` is a multiple of that number.
    ///
    /// # Errors
    /// As [`Ring::read_at`]; `InvalidInput` for a buffer of another size.
    fn read_each(&mut self, file: &File, buffer: &mut [u8], offsets: &[u64]) -> io::Result<()>;

    /// Writes all `chunks` in order at the file's position, which is its end for a file that was
    /// opened for appending.
    ///
    /// # Errors
    /// What the kernel said; a first part of the bytes may be written.
    fn append(&mut self, file: &File, chunks: &[&[u8]]) -> io::Result<()>;

    /// Writes all of `buffer` from `offset` on. The file must not be opened for appending: Linux
    /// then ignores the offset.
    ///
    /// # Errors
    /// What the kernel said; a first part of the bytes may be written.
    fn write_at(&mut self, file: &File, buffer: &[u8], offset: u64) -> io::Result<()>;

    /// Writes all `chunks` in order from `offset` on and returns when they are on stable storage,
    /// as after [`Ring::sync`]; in one submission where possible. The file must not be opened for
    /// appending.
    ///
    /// # Errors
    /// What the kernel said. The bytes may be written in part then, and earlier ones lost, even if
    /// a later call succeeds.
    fn write_at_and_sync(&mut self, file: &File, chunks: &[&[u8]], offset: u64) -> io::Result<()>;

    /// Returns when the bytes of the file, and the length that is needed to read them, are on
    /// stable storage.
    ///
    /// # Errors
    /// What the kernel said. Bytes written before may be lost then, even if a later call succeeds.
    fn sync(&mut self, file: &File) -> io::Result<()>;

    /// `io_uring` or `file`.
    fn name(&self) -> &'static str;
}
