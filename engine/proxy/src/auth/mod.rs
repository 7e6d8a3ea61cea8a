//! Owns who a request is from: what it presents, and whether that is good.
//!
//! Refuses to know which paths there are and where keys are kept: both are given. Bound: the keys
//! that are given, in memory; failed attempts by a zone of limits.

mod api_key;
mod authority;
mod denied;
mod guard;
mod keys;
mod presented;
mod rules;

#[cfg(test)]
mod tests;

pub use api_key::{FreshKey, fresh};
pub use authority::{AuthStats, Authority};
pub(crate) use denied::Denied;
pub use guard::Guard;
pub use keys::{KeyRecord, KeySecret, Keys};
pub(crate) use presented::{X_API_KEY, is_bearer};
pub(crate) use rules::AuthRules;
pub use rules::{AuthSpec, RouteAuth};
