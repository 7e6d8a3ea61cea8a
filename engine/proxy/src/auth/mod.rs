//! Owns who a request is from: what it presents, and whether that is good.
//!
//! Refuses to know which paths there are and where keys are kept: both are given. Bound: the keys
//! that are given, in memory; failed attempts by a zone of limits.

mod api_key;
mod authority;
mod certificate;
mod denied;
mod fetch;
mod fetched;
mod guard;
mod issuer;
mod jwk;
mod jwt;
mod keys;
mod presented;
mod rules;
mod signer;

#[cfg(test)]
mod tests;

pub use api_key::{FreshKey, fresh};
pub use authority::{AuthStats, Authority};
pub use certificate::HolderSpec;
pub(crate) use certificate::names as names_of_certificate;
pub(crate) use denied::Denied;
pub(crate) use fetch::start as start_fetching;
pub use fetched::FetchStats;
pub use guard::Guard;
pub use issuer::{IssuerSpec, KeySource};
pub use jwk::{Algorithm, UnknownAlgorithm};
pub use keys::{KeyRecord, KeySecret, Keys};
pub(crate) use presented::{X_API_KEY, is_bearer};
pub(crate) use rules::AuthRules;
pub use rules::{AuthSpec, RouteAuth};
pub use signer::{Seed, Signers, fresh_seed};
