//! Owns the request to forget what the page cache holds of a file.
//!
//! Refuses to know why. Bound: one system call besides the sync; a page that is in use stays.
#![allow(unsafe_code, reason = "the standard library has no posix_fadvise")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Writes back what is changed of `file` and drops its pages from the page cache.
///
/// # Errors
/// What the kernel said.
pub fn forget_cached(file: &File) -> io::Result<()> {
    file.sync_all()?;
    drop_cached_pages(file)
}

/// Has the kernel forget the pages of `file` that it holds in memory and believes to be on the
/// disk; those that it has yet to write stay.
///
/// # Errors
/// What the kernel said.
pub fn drop_cached_pages(file: &File) -> io::Result<()> {
    // SAFETY: advice on an open file that has no memory of ours.
    let errno = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}
