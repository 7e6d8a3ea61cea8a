//! The log that makes records durable before they are in a month's file.
//!
//! Every group is one entry, written and synced before anybody is told. Two files take turns: when
//! one is full the store goes on in the other, while the rows of the first are put into the month
//! files in bulk. So an acknowledgement costs one write of a few kilobytes and one sync, and the
//! tree of redb is touched once in many thousand rows.
//!
//! Owns the two files and their turns. Refuses to know redb, queues and what becomes of the rows.
//! Bound: two files of [`crate::StoreOptions::log_bytes`].

mod entry;
mod file;
mod header;
mod pair;

pub(crate) use entry::Encoder;
pub(crate) use pair::Log;

#[cfg(test)]
mod tests;

/// Rows of one entry, with the sequence of the first; the others follow one by one.
pub(crate) type EntryRows = (u64, Vec<truststram_base::PredictionRecord>);
