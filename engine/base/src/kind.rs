//! Owns the classification of errors: who caused it and whether a retry can help.
//!
//! Refuses to know HTTP or exit codes; `api` and `cli` map a [`Kind`] to those in one table each.
//! Bound: one byte.

/// What an error means to the one who receives it. Every crate's error has `kind() -> Kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The input cannot be parsed.
    Malformed,
    /// The input parses, but a value in it is not acceptable.
    Invalid,
    /// The named thing does not exist.
    NotFound,
    /// Nobody who may ask has signed the request.
    Denied,
    /// What was asked for is over: it will not exist again.
    Gone,
    /// The input exceeds a stated limit.
    TooLarge,
    /// The state of the thing forbids the operation (locked, already exists).
    Conflict,
    /// A bounded queue is full; the same request may succeed later.
    Overloaded,
    /// The deadline passed before an answer was ready.
    Timeout,
    /// The service is starting or draining; the same request may succeed elsewhere or later.
    Unavailable,
    /// The disk is full.
    NoSpace,
    /// Stored bytes do not match their checksum.
    Corrupt,
    /// An error of ours or of the machine.
    Internal,
}

impl Kind {
    /// Whether the same request may succeed when it is sent again.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Overloaded | Self::Timeout | Self::Unavailable | Self::NoSpace)
    }
}
