//! Owns file access through io_uring.
//!
//! Refuses to know what to do without it. Bound: [`IN_FLIGHT_MAX`] operations of at most
//! [`PIECE_BYTES_MAX`] bytes each while reading, one operation while writing.
//!
//! The kernel reads and writes memory that callers lend, so the one rule here is that no call
//! returns while an operation of it is under way, whatever went wrong.
#![allow(unsafe_code, reason = "io_uring takes raw pointers to memory that the kernel fills")]

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;

use io_uring::types::{Fd, FsyncFlags};
use io_uring::{IoUring, Probe, opcode, squeue};

use super::disabled::{PlainFiles, filled};
use super::seam::Ring;

/// Operations under way at a time, and entries of the submission queue. The completion queue has
/// twice as many, so it cannot overflow.
pub const IN_FLIGHT_MAX: usize = 8;
/// Bytes that one read asks for at most.
pub const PIECE_BYTES_MAX: usize = 512 << 10;
/// Most buffers of one writev (`UIO_MAXIOV` of the kernel).
const WRITE_CHUNK_COUNT_MAX: usize = 1_024;
/// The offset that stands for the file's own position.
const AT_POSITION: u64 = u64::MAX;

const OPCODES: [(&str, u8); 4] = [
    ("NOP", opcode::Nop::CODE),
    ("READ", opcode::Read::CODE),
    ("WRITEV", opcode::Writev::CODE),
    ("FSYNC", opcode::Fsync::CODE),
];

/// Makes the ring; tests give one that fails.
pub type Setup = fn() -> io::Result<IoUring>;

/// The setup that is used outside tests.
pub fn setup() -> io::Result<IoUring> {
    let entries = u32::try_from(IN_FLIGHT_MAX).map_err(io::Error::other)?;
    IoUring::new(entries)
}

/// A ring that has been tried out.
pub struct Uring {
    /// `None` once the kernel refused to take or answer operations; plain files serve from then
    /// on.
    ring: Option<IoUring>,
    plain: PlainFiles,
}

/// The part of a read that one operation is asked for, in bytes of the caller's buffer.
#[derive(Clone, Copy, Default)]
struct Piece {
    start: usize,
    end: usize,
}

impl Uring {
    /// Sets the ring up, checks that it has each operation needed and runs one that does nothing.
    ///
    /// # Errors
    /// Why io_uring is not to be used, as a text for operators.
    pub fn start(setup: Setup) -> Result<Self, String> {
        let ring = setup().map_err(|error| refusal(&error))?;
        let mut supported = Probe::new();
        ring.submitter().register_probe(&mut supported).map_err(|error| refusal(&error))?;
        if let Some(name) = missing_opcode(|code| supported.is_supported(code)) {
            return Err(format!("the kernel's io_uring lacks {name}; a newer kernel has it"));
        }
        if !ring.params().is_feature_rw_cur_pos() {
            return Err("the kernel's io_uring cannot append; Linux 5.6 and later can".to_owned());
        }
        let mut this = Self { ring: Some(ring), plain: PlainFiles };
        // SAFETY: the operation has no memory.
        unsafe { this.run(opcode::Nop::new().build()) }.map_err(|error| refusal(&error))?;
        Ok(this)
    }

    /// Runs one operation to its end and returns its result, starting anew when a signal ended it.
    ///
    /// # Safety
    /// The memory that `entry` points to stays valid until this function returns.
    unsafe fn run(&mut self, entry: squeue::Entry) -> io::Result<usize> {
        loop {
            // SAFETY: the caller keeps the memory valid, and we stay until the answer is there.
            unsafe { self.push(&entry) }?;
            let (_, result) = self.next_answer(1)?;
            match usize::try_from(result) {
                Ok(count) => return Ok(count),
                Err(_) if result == -libc::EINTR => {}
                Err(_) => return Err(io::Error::from_raw_os_error(-result)),
            }
        }
    }

    /// Puts `entry` into the submission queue.
    ///
    /// # Safety
    /// The memory that `entry` points to stays valid until the operation is answered or the ring
    /// is gone.
    unsafe fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        let ring = self.ring.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        // SAFETY: passed on to the caller.
        unsafe { ring.submission().push(entry) }.map_err(io::Error::other)
    }

    /// Submits what was pushed and waits for the answer to one of `in_flight` operations: what it
    /// was marked with, and its result. After an error no operation is under way and the ring is
    /// gone.
    fn next_answer(&mut self, in_flight: usize) -> io::Result<(u64, i32)> {
        let ring = self.ring.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        loop {
            if let Some(answer) = ring.completion().next() {
                return Ok((answer.user_data(), answer.result()));
            }
            match ring.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if is_passing(&error) => std::thread::yield_now(),
                Err(error) => {
                    self.abandon(in_flight);
                    return Err(error);
                }
            }
        }
    }

    /// Gives the ring up. What the kernel has taken may still write to a caller's memory, so its
    /// answers are awaited; what it has not taken goes with the ring.
    fn abandon(&mut self, in_flight: usize) {
        let Some(mut ring) = self.ring.take() else { return };
        let mut taken = in_flight.saturating_sub(ring.submission().len());
        while taken > 0 {
            std::thread::yield_now();
            taken = taken.saturating_sub(ring.completion().count());
        }
    }

    /// Reads with as many pieces under way as the ring holds.
    fn read_pieces(&mut self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let (start, end) = (buffer.as_mut_ptr(), buffer.len());
        let entry = |slot: usize, piece: Piece| {
            let bytes = u32::try_from(piece.end - piece.start).unwrap_or(u32::MAX);
            opcode::Read::new(Fd(file.as_raw_fd()), start.wrapping_add(piece.start), bytes)
                .offset(offset.wrapping_add(piece.start as u64))
                .build()
                .user_data(slot as u64)
        };
        let mut pieces = [Piece::default(); IN_FLIGHT_MAX];
        let mut due: Vec<usize> = (0..IN_FLIGHT_MAX).collect();
        let mut first_unread = 0;
        let mut in_flight = 0;
        let mut outcome = Ok(());
        loop {
            while let Some(slot) = due.pop().filter(|_| outcome.is_ok()) {
                let piece = &mut pieces[slot];
                if piece.start == piece.end {
                    *piece =
                        Piece { start: first_unread, end: end.min(first_unread + PIECE_BYTES_MAX) };
                    first_unread = piece.end;
                }
                if piece.start == piece.end {
                    continue;
                }
                // SAFETY: the piece lies in `buffer`, which is borrowed until this function
                // returns; that is after the last answer, or after `abandon` has awaited it.
                match unsafe { self.push(&entry(slot, *piece)) } {
                    Ok(()) => in_flight += 1,
                    Err(error) => outcome = Err(error),
                }
            }
            if in_flight == 0 {
                return outcome;
            }
            let (slot, result) = self.next_answer(in_flight)?;
            in_flight -= 1;
            let slot = slot as usize;
            match usize::try_from(result) {
                Ok(0) => outcome = Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => pieces[slot].start += count,
                Err(_) if result == -libc::EINTR || result == -libc::EAGAIN => {}
                Err(_) => outcome = Err(io::Error::from_raw_os_error(-result)),
            }
            due.push(slot);
        }
    }
}

impl Ring for Uring {
    fn read_at(&mut self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if self.ring.is_some() {
            let outcome = self.read_pieces(file, buffer, offset);
            // With the ring gone, what was read so far is read again.
            if self.ring.is_some() || outcome.is_ok() {
                return outcome;
            }
        }
        self.plain.read_at(file, buffer, offset)
    }

    fn append(&mut self, file: &File, chunks: &[&[u8]]) -> io::Result<()> {
        let mut slices = filled(chunks);
        let mut rest = slices.as_mut_slice();
        while !rest.is_empty() && self.ring.is_some() {
            let count = rest.len().min(WRITE_CHUNK_COUNT_MAX) as u32;
            let entry = opcode::Writev::new(Fd(file.as_raw_fd()), rest.as_ptr().cast(), count)
                .offset(AT_POSITION)
                .build();
            // SAFETY: `IoSlice` has the layout of iovec; the slices and what they point to are
            // borrowed until this function returns, and `run` waits for the answer.
            match unsafe { self.run(entry) } {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(error) => return Err(error),
            }
        }
        let left: Vec<&[u8]> = rest.iter().map(|slice| &**slice).collect();
        self.plain.append(file, &left)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        if self.ring.is_none() {
            return self.plain.sync(file);
        }
        let entry = opcode::Fsync::new(Fd(file.as_raw_fd())).flags(FsyncFlags::DATASYNC).build();
        // SAFETY: the operation has no memory.
        unsafe { self.run(entry) }.map(drop)
    }

    fn name(&self) -> &'static str {
        if self.ring.is_some() { "io_uring" } else { self.plain.name() }
    }
}

/// Whether the kernel asks to try again.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

/// The first operation that the kernel lacks.
fn missing_opcode(is_supported: impl Fn(u8) -> bool) -> Option<&'static str> {
    OPCODES.iter().find(|(_, code)| !is_supported(*code)).map(|(name, _)| *name)
}

/// Why io_uring is not to be had, for operators.
fn refusal(error: &io::Error) -> String {
    let why = match error.raw_os_error() {
        Some(libc::ENOSYS) => "the kernel is built without it",
        Some(libc::EPERM) => "kernel.io_uring_disabled or a seccomp filter forbids it",
        Some(libc::EACCES) => "a security module forbids it",
        Some(libc::ENOMEM) => "RLIMIT_MEMLOCK is too small for it",
        _ => "the kernel refused it",
    };
    format!("{why}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_operation_is_named() {
        assert_eq!(missing_opcode(|_| true), None);
        assert_eq!(missing_opcode(|code| code != opcode::Fsync::CODE), Some("FSYNC"));
    }
}
