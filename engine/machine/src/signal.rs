//! Owns the signals that operators send: they are blocked in every thread and read from a file.
//!
//! So no handler runs between two instructions of anybody. Refuses to know what a signal leads
//! to. Bound: five signals; the kernel keeps one pending of each.
#![allow(unsafe_code, reason = "signal masks and signalfd have no safe form in std")]

use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::FromRawFd;

use crate::error::MachineError;

/// A signal that the engine understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: drain and stop.
    Terminate,
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGHUP.
    Hangup,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
}

impl Signal {
    const ALL: [Self; 5] =
        [Self::Terminate, Self::Interrupt, Self::Hangup, Self::User1, Self::User2];

    fn number(self) -> libc::c_int {
        match self {
            Self::Terminate => libc::SIGTERM,
            Self::Interrupt => libc::SIGINT,
            Self::Hangup => libc::SIGHUP,
            Self::User1 => libc::SIGUSR1,
            Self::User2 => libc::SIGUSR2,
        }
    }

    /// Sends the signal to this process, as an operator would: it ends a process that has not
    /// called [`Signals::block`].
    ///
    /// # Errors
    /// [`MachineError::System`] when the kernel refuses.
    pub fn send_to_self(self) -> Result<(), MachineError> {
        // SAFETY: kill touches no memory of ours.
        let status = unsafe { libc::kill(libc::getpid(), self.number()) };
        check("kill", status).map(drop)
    }
}

/// The queue of signals to this process.
#[derive(Debug)]
pub struct Signals {
    file: File,
}

impl Signals {
    /// Blocks the five signals in this thread and in all that it starts, and opens their queue.
    /// Must be called before other threads start: those would still be ended by the signals.
    /// Child processes started through `std::process::Command` get an empty mask again.
    ///
    /// # Errors
    /// [`MachineError::System`] when the kernel refuses.
    pub fn block() -> Result<Self, MachineError> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises `set`, the others read or change the initialised set;
        // none keeps a pointer. The numbers are valid signals.
        let set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in Signal::ALL {
                libc::sigaddset(set.as_mut_ptr(), signal.number());
            }
            set.assume_init()
        };
        // SAFETY: reads the initialised set; the old mask is not asked for.
        let error =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if error != 0 {
            let source = io::Error::from_raw_os_error(error);
            return Err(MachineError::System { call: "pthread_sigmask", source });
        }
        // SAFETY: reads the initialised set and makes a new descriptor.
        let descriptor = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC) };
        let descriptor = check("signalfd", descriptor)?;
        // SAFETY: the descriptor is new and belongs to nobody else.
        Ok(Self { file: unsafe { File::from_raw_fd(descriptor) } })
    }

    /// Waits for the next signal.
    ///
    /// # Errors
    /// [`MachineError::System`] when the queue cannot be read.
    pub fn wait(&self) -> Result<Signal, MachineError> {
        let failed = |source| MachineError::System { call: "read of signalfd", source };
        let mut record = [0; size_of::<libc::signalfd_siginfo>()];
        (&self.file).read_exact(&mut record).map_err(failed)?;
        // `ssi_signo`, the signal's number, is the first field of signalfd(2)'s record.
        let [a, b, c, d, ..] = record;
        let number = u32::from_ne_bytes([a, b, c, d]);
        let known =
            Signal::ALL.into_iter().find(|signal| u32::try_from(signal.number()) == Ok(number));
        known.ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))
    }
}

fn check(call: &'static str, status: libc::c_int) -> Result<libc::c_int, MachineError> {
    if status < 0 {
        return Err(MachineError::System { call, source: io::Error::last_os_error() });
    }
    Ok(status)
}
