//! Owns opening a [`DirectFile`]: the ring, its registered memory and file, and whether the
//! filesystem lets the page cache be bypassed.
//!
//! Refuses to guess from filesystem names: the kernel is asked for its alignment and a block is
//! read. Bound: one ring and one pool per call.
#![allow(
    unsafe_code,
    reason = "registers memory with the kernel; the standard library has no statx"
)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use io_uring::{IoUring, opcode};

use super::super::operations::{Needed, Operations, Setup, refusal};
use super::{BLOCK_BYTES, DirectFile, FILE, IN_FLIGHT_MAX, POOL_BYTES, SyncBy};
use crate::memory::NodeBuffer;

const NEEDED: [Needed; 4] = [
    ("NOP", opcode::Nop::CODE),
    ("READ_FIXED", opcode::ReadFixed::CODE),
    ("WRITE_FIXED", opcode::WriteFixed::CODE),
    ("FSYNC", opcode::Fsync::CODE),
];

/// Why a file cannot be reached through io_uring although it can be opened. It is inside the
/// [`io::Error`] of kind `Unsupported` that [`DirectFile::open`] returns.
#[derive(Debug, thiserror::Error)]
#[error("io_uring is not to be used: {reason}; use plain files")]
pub struct RingRefusal {
    reason: String,
}

impl RingRefusal {
    /// The refusal inside `error`, if that is what it is about.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// What the kernel lacks or forbids, for operators.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    fn error(reason: String) -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, Self { reason })
    }
}

/// The setup that is used outside tests.
pub(super) fn setup() -> io::Result<IoUring> {
    let entries = u32::try_from(IN_FLIGHT_MAX + 1).map_err(io::Error::other)?;
    IoUring::new(entries)
}

impl DirectFile {
    /// Opens the file at `path` for reading and writing, or creates it empty.
    ///
    /// # Errors
    /// `Unsupported` with a [`RingRefusal`] inside where io_uring is not to be had, or what the
    /// kernel said about the file.
    pub fn open(path: &Path, sync_by: SyncBy) -> io::Result<Self> {
        Self::open_with(path, sync_by, setup, true)
    }

    /// As [`DirectFile::open`], with the ring made by `setup`, and through the page cache unless
    /// `direct` is wanted.
    pub(super) fn open_with(
        path: &Path,
        sync_by: SyncBy,
        setup: Setup,
        direct: bool,
    ) -> io::Result<Self> {
        let mut operations = Operations::start(setup, &NEEDED).map_err(RingRefusal::error)?;
        let mut pool = NodeBuffer::new(POOL_BYTES, None).map_err(io::Error::other)?;
        let plain =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        let bypassing = if direct { open_direct(path, &plain)? } else { None };
        register(&operations, &mut pool, bypassing.as_ref().unwrap_or(&plain))?;
        let mut is_direct = bypassing.is_some();
        let mut registered = match bypassing {
            Some(file) => file,
            None => plain.try_clone()?,
        };
        match try_read(&mut operations, &mut pool) {
            Ok(()) => {}
            Err(error) if is_direct && error.raw_os_error() == Some(libc::EINVAL) => {
                (is_direct, registered) = (false, plain.try_clone()?);
                let ring = operations.ring().ok_or(io::ErrorKind::BrokenPipe)?;
                ring.submitter().register_files_update(FILE.0, &[registered.as_raw_fd()])?;
                try_read(&mut operations, &mut pool)?;
            }
            Err(error) => return Err(error),
        }
        Ok(Self { operations, pool, plain, is_direct, registered, sync_by })
    }
}

/// The same file past the page cache; `None` where the filesystem refuses that.
fn open_direct(path: &Path, plain: &File) -> io::Result<Option<File>> {
    if !may_align(plain) {
        return Ok(None);
    }
    let mut options = OpenOptions::new();
    match options.read(true).write(true).custom_flags(libc::O_DIRECT).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether direct operations on whole blocks are allowed, as far as the kernel says.
fn may_align(file: &File) -> bool {
    // SAFETY: a structure of plain numbers, for which zeros are a value.
    let mut facts: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the path is an empty string that ends in zero, which with AT_EMPTY_PATH stands for
    // the open file; the kernel writes one structure into `facts` and keeps no pointer.
    let status = unsafe {
        libc::statx(
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            libc::STATX_DIOALIGN,
            &raw mut facts,
        )
    };
    // A kernel before 6.1 does not say; the first read will tell.
    if status != 0 || facts.stx_mask & libc::STATX_DIOALIGN == 0 {
        return true;
    }
    let divides_block = |align: u32| align != 0 && BLOCK_BYTES.is_multiple_of(align as usize);
    divides_block(facts.stx_dio_offset_align) && divides_block(facts.stx_dio_mem_align)
}

/// Registers the pool as the one buffer, and `file` as the one file.
fn register(operations: &Operations, pool: &mut NodeBuffer, file: &File) -> io::Result<()> {
    let submitter = operations.ring().ok_or(io::ErrorKind::BrokenPipe)?.submitter();
    let buffer = libc::iovec { iov_base: pool.as_mut_ptr().cast(), iov_len: POOL_BYTES };
    // SAFETY: the caller keeps the pool as long as the ring, and drops the ring first.
    unsafe { submitter.register_buffers(&[buffer]) }
        .and_then(|()| submitter.register_files(&[file.as_raw_fd()]))
        .map_err(|error| RingRefusal::error(refusal(&error)))
}

/// Reads the first block, to see that what was registered can be used.
fn try_read(operations: &mut Operations, pool: &mut NodeBuffer) -> io::Result<()> {
    let entry = opcode::ReadFixed::new(FILE, pool.as_mut_ptr(), BLOCK_BYTES as u32, 0).build();
    // SAFETY: the pool has at least a block and is borrowed until the answer is there.
    unsafe { operations.run(&entry) }.map(drop)
}
