//! Owns the disk tier: stored responses as files, which a restart finds again.
//!
//! Refuses to hold up a network thread: an index in memory says what is there, and one thread reads
//! and writes. Files need no sync: what is not whole is told by its checksum and removed.
//! Bound: the configured bytes of files, the longest unused given up first; so many works in a
//! queue, beyond which responses stay in memory alone.

mod index;
mod record;
mod tier;

pub(super) use tier::Disk;
pub use tier::DiskSpec;
