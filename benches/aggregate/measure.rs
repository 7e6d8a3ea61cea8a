//! What may go wrong while measuring. Owns a type. Refuses to hide a cause. Bound: none.

use std::error::Error;

/// A value, or why there is none.
pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;
