//! Owns the limits that no configuration may exceed, in one place, with their units in the name.
//!
//! Refuses to know who enforces them. Bound: constants only.

/// Longest model id, in bytes.
pub const MODEL_ID_BYTES_MAX: usize = 64;
/// Longest user id, in bytes.
pub const USER_ID_BYTES_MAX: usize = 128;
/// Most features of one prediction.
pub const FEATURE_COUNT_MAX: usize = 65_536;
/// Longest text of one prediction and of one row to train on, in bytes.
pub const TEXT_BYTES_MAX: usize = 256 << 10;
/// Most items of one batch request.
pub const BATCH_ITEM_COUNT_MAX: usize = 1_024;
/// Most rows of one page of stored predictions.
pub const PAGE_ROW_COUNT_MAX: usize = 1_000;
/// Largest request body that configuration may allow, in bytes.
pub const BODY_BYTES_MAX: usize = 256 << 20;
/// Largest model file, in bytes.
pub const MODEL_FILE_BYTES_MAX: u64 = 4 << 30;
/// Largest plugin component, in bytes.
pub const PLUGIN_FILE_BYTES_MAX: u64 = 32 << 20;
/// Most inference cores and most network cores.
pub const CORE_COUNT_MAX: usize = 1_024;
