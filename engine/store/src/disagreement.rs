//! Owns the ways in which two things that the store keeps of one fact disagree, as verification
//! finds them.
//!
//! Refuses to know what is to be done about it. Bound: [`DISAGREEMENTS_MAX`] of them per run.

use std::fmt;

use crate::error::Damage;

/// Verification stops counting here: a file with more of them is to be restored or reindexed.
pub const DISAGREEMENTS_MAX: usize = 10_000;

/// Something stored that does not agree with the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disagreement {
    /// The value is not what was written.
    Damaged {
        /// The table.
        table: &'static str,
        /// The key in it, as text.
        key: String,
        /// What is wrong.
        damage: Damage,
    },
    /// An entry that follows from what else is stored is not there.
    Missing {
        /// The table.
        table: &'static str,
        /// The key in it, as text.
        key: String,
    },
    /// An entry says something else than what it follows from.
    Differs {
        /// The table.
        table: &'static str,
        /// The key in it, as text.
        key: String,
    },
    /// An entry follows from nothing that is stored.
    Stray {
        /// The table.
        table: &'static str,
        /// The key in it, as text.
        key: String,
    },
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { table, key, damage } => write!(f, "table {table} key {key}: {damage}"),
            Self::Missing { table, key } => write!(f, "table {table} key {key} is missing"),
            Self::Differs { table, key } => {
                write!(f, "table {table} key {key} differs from what it was made of")
            }
            Self::Stray { table, key } => {
                write!(f, "table {table} key {key} belongs to nothing that is stored")
            }
        }
    }
}

/// Disagreements found so far.
#[derive(Default)]
pub(crate) struct Found(pub(crate) Vec<Disagreement>);

impl Found {
    pub(crate) fn add(&mut self, disagreement: Disagreement) {
        if self.0.len() < DISAGREEMENTS_MAX {
            self.0.push(disagreement);
        }
    }
}
