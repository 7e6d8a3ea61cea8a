//! Owns what an entry must be like to be registered, so that every index can hold it.
//!
//! Refuses to know whether its model file exists. Bound: the constants here and in
//! [`crate::containment`].

use thiserror::Error;
use truststram_base::ModelEntry;

use crate::containment::{Json, JsonProblem};
use crate::error::StoreError;

/// Longest name to show, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest kind of network, in bytes.
pub const ARCHITECTURE_BYTES_MAX: usize = 64;
/// Most tags of one version.
pub const TAG_COUNT_MAX: usize = 64;
/// Longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 64;

/// Why a field of an entry is refused.
#[derive(Debug, Error)]
pub enum EntryProblem {
    /// The text is empty.
    #[error("is empty")]
    Empty,
    /// The text has more bytes than the limit, which is given.
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    /// The text has a control character, at this byte.
    #[error("has a control character at byte {0}")]
    Character(usize),
    /// There are more than the limit, which is given.
    #[error("are more than {0}")]
    TooMany(usize),
    /// The text is no JSON object within the bounds.
    #[error("{0}")]
    Json(JsonProblem),
}

/// Refuses an entry that the indexes cannot hold.
pub(crate) fn entry(entry: &ModelEntry) -> Result<(), StoreError> {
    let refuse = |field: &'static str| {
        move |problem| StoreError::ModelRefused {
            id: entry.id.clone(),
            version: entry.version,
            field,
            problem,
        }
    };
    text(&entry.name, NAME_BYTES_MAX).map_err(refuse("name"))?;
    text(&entry.architecture, ARCHITECTURE_BYTES_MAX).map_err(refuse("architecture"))?;
    if entry.tags.len() > TAG_COUNT_MAX {
        return Err(refuse("tags")(EntryProblem::TooMany(TAG_COUNT_MAX)));
    }
    entry.tags.iter().try_for_each(|tag| text(tag, TAG_BYTES_MAX)).map_err(refuse("tags"))?;
    Json::parse_object(&entry.metadata_json)
        .map_err(|problem| refuse("metadata_json")(EntryProblem::Json(problem)))?;
    Ok(())
}

fn text(text: &str, bytes_max: usize) -> Result<(), EntryProblem> {
    if text.is_empty() {
        return Err(EntryProblem::Empty);
    }
    if text.len() > bytes_max {
        return Err(EntryProblem::TooLong(bytes_max));
    }
    match text.char_indices().find(|(_, character)| character.is_control()) {
        Some((at, _)) => Err(EntryProblem::Character(at)),
        None => Ok(()),
    }
}
