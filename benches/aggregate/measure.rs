//! Owns what may go wrong while measuring.
//!
//! Refuses to hide a cause. Bound: one type.

use std::error::Error;

/// A value, or why there is none.
pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;
