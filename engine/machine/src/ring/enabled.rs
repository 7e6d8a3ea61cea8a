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
        let mut first_unread = 0;
        let mut in_flight = 0;
        let mut outcome = Ok(());
        // Every slot starts with the answer "nothing left to do", which makes it take a piece.
        let mut next_slot = Some(0);
        while let Some(slot) = next_slot {
            let piece = &mut pieces[slot];
            if piece.start == piece.end {
                piece.start = first_unread;
                piece.end = end.min(first_unread + PIECE_BYTES_MAX);
                first_unread = piece.end;
            }
            if outcome.is_ok() && piece.start < piece.end {
                // SAFETY: the piece lies in `buffer`, which is borrowed until this function
                // returns; that is after all answers, by the loop's condition.
                match unsafe { self.push(&entry(slot, *piece)) } {
                    Ok(()) => in_flight += 1,
                    Err(error) => outcome = Err(error),
                }
            }
            todo_marker();
            next_slot = None;
        }
        outcome
    }
}
