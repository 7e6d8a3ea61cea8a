//! Owns an io_uring and the rule that keeps its use safe: the kernel reads and writes memory that
//! callers lend, so no call returns while an operation of it is under way, whatever went wrong.
//!
//! Refuses to know files and buffers. Bound: the entries of the ring that the setup makes; the
//! completion queue has twice as many, so it cannot overflow.
#![allow(unsafe_code, reason = "io_uring takes raw pointers to memory that the kernel fills")]

use std::io;

use io_uring::{IoUring, Probe, opcode, squeue};

/// Makes a ring; tests give one that fails.
pub type Setup = fn() -> io::Result<IoUring>;

/// An operation that is needed: its name for operators, and its number.
pub type Needed = (&'static str, u8);

/// A ring that has been tried out.
pub struct Operations {
    /// `None` once the kernel refused to take or answer operations.
    ring: Option<IoUring>,
}

impl Operations {
    /// Sets the ring up, checks that it has each operation needed and runs one that does nothing.
    ///
    /// # Errors
    /// Why io_uring is not to be used, as a text for operators.
    pub fn start(setup: Setup, needed: &[Needed]) -> Result<Self, String> {
        let ring = setup().map_err(|error| refusal(&error))?;
        let mut supported = Probe::new();
        ring.submitter().register_probe(&mut supported).map_err(|error| refusal(&error))?;
        if let Some(name) = missing(needed, |code| supported.is_supported(code)) {
            return Err(format!("the kernel's io_uring lacks {name}; a newer kernel has it"));
        }
        let mut this = Self { ring: Some(ring) };
        // SAFETY: the operation has no memory.
        unsafe { this.run(&opcode::Nop::new().build()) }.map_err(|error| refusal(&error))?;
        Ok(this)
    }

    /// The ring, while it works.
    pub fn ring(&self) -> Option<&IoUring> {
        self.ring.as_ref()
    }

    /// Runs one operation to its end and returns its result, starting anew when a signal ended it.
    ///
    /// # Safety
    /// The memory that `entry` points to stays valid until this function returns.
    pub unsafe fn run(&mut self, entry: &squeue::Entry) -> io::Result<usize> {
        loop {
            // SAFETY: the caller keeps the memory valid, and we stay until the answer is there.
            unsafe { self.push(std::slice::from_ref(entry)) }?;
            let (_, result) = self.next_answer(1)?;
            match usize::try_from(result) {
                Ok(count) => return Ok(count),
                Err(_) if result == -libc::EINTR => {}
                Err(_) => return Err(io::Error::from_raw_os_error(-result)),
            }
        }
    }

    /// Puts all `entries` into the submission queue, or none of them when it has no room.
    ///
    /// # Safety
    /// The memory that the entries point to stays valid until they are answered or the ring is
    /// gone.
    pub unsafe fn push(&mut self, entries: &[squeue::Entry]) -> io::Result<()> {
        let ring = self.ring.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        // SAFETY: passed on to the caller.
        unsafe { ring.submission().push_multiple(entries) }.map_err(io::Error::other)
    }

    /// Submits what was pushed and waits for the answer to one of `in_flight` operations: what it
    /// was marked with, and its result. After an error no operation is under way and the ring is
    /// gone.
    pub fn next_answer(&mut self, in_flight: usize) -> io::Result<(u64, i32)> {
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
}

/// Whether the kernel asks to try again.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

/// The first operation that the kernel lacks.
fn missing(needed: &[Needed], is_supported: impl Fn(u8) -> bool) -> Option<&'static str> {
    needed.iter().find(|(_, code)| !is_supported(*code)).map(|(name, _)| *name)
}

/// Why io_uring is not to be had, for operators.
pub fn refusal(error: &io::Error) -> String {
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
        let needed = [("NOP", opcode::Nop::CODE), ("FSYNC", opcode::Fsync::CODE)];
        assert_eq!(missing(&needed, |_| true), None);
        assert_eq!(missing(&needed, |code| code != opcode::Fsync::CODE), Some("FSYNC"));
    }
}
