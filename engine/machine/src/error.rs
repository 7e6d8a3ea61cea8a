//! Owns the one error type of this crate and what each error means to its receiver.
//!
//! Refuses to know HTTP and exit codes. Bound: an error text quotes at most one path and one
//! message of the kernel.

use std::io;
use std::path::{Path, PathBuf};

use truststram_base::Kind;

/// Why the machine did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// A file or directory could not be used.
    #[error("cannot {operation} {}: {source}", path.display())]
    File {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The path names something other than a regular file.
    #[error("{} is not a regular file; give the path of a file", path.display())]
    NotAFile {
        /// The path in question.
        path: PathBuf,
    },
    /// A file is larger than its reader accepts.
    #[error("{} has {bytes} bytes, more than the limit of {bytes_max}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
        /// The limit in bytes.
        bytes_max: u64,
    },
    /// A file of the kernel does not have the documented form.
    #[error("{} does not hold {expected}; this kernel is not supported", path.display())]
    Unrecognised {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// A list of processors cannot be parsed.
    #[error("`{part}` in a list of processors is not a number up to {max} or a range such as 0-3")]
    CpuList {
        /// The part between two commas that is wrong.
        part: String,
        /// The largest number that is allowed.
        max: u32,
    },
    /// No processor is left to run on.
    #[error("no processor to run on: {context}; widen the cpuset or the configured core list")]
    NoCores {
        /// Who needs processors.
        context: &'static str,
    },
    /// A system call failed.
    #[error("{call} failed: {source}")]
    System {
        /// The system call.
        call: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start thread `{name}`: {source}; check the limits on processes and memory")]
    Spawn {
        /// The name of the thread.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A pool of threads could not be started.
    #[error("cannot start the pool `{name}`: {source}")]
    Pool {
        /// The name of the pool.
        name: String,
        /// What rayon said.
        source: rayon::ThreadPoolBuildError,
    },
    /// A thread ended by a panic.
    #[error("thread `{name}` panicked: {message}; please report this with the log")]
    Panicked {
        /// The name of the thread.
        name: String,
        /// The message of the panic.
        message: String,
    },
    /// Something that must come before the first thread came after it.
    #[error(
        "{action} needs a process with one thread, this one has {count}: call it first in main"
    )]
    ThreadsRunning {
        /// What was asked for.
        action: &'static str,
        /// How many threads the process has.
        count: usize,
    },
    /// Another process uses the directory.
    #[error(
        "{} is in use by {holder}; stop that process or choose another directory",
        dir.display()
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// Who holds the lock, for example `pid 1234`.
        holder: String,
    },
}

impl MachineError {
    /// What the error means to the one who receives it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::File { source, .. } | Self::System { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => Kind::NotFound,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::NoSpace,
                _ => Kind::Internal,
            },
            Self::NotAFile { .. } | Self::NoCores { .. } => Kind::Invalid,
            Self::TooLarge { .. } => Kind::TooLarge,
            Self::CpuList { .. } => Kind::Malformed,
            Self::Locked { .. } => Kind::Conflict,
            Self::Unrecognised { .. }
            | Self::Spawn { .. }
            | Self::Pool { .. }
            | Self::Panicked { .. }
            | Self::ThreadsRunning { .. } => Kind::Internal,
        }
    }

    /// For `map_err` on file operations: `operation` is a verb such as `open`.
    pub(crate) fn file(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { operation, path: path.to_owned(), source }
    }
}
