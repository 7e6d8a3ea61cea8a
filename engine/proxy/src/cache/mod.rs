//! Owns the shared cache of proxied responses: RFC 9111, with RFC 5861 (stale responses), RFC 9211
//! (`Cache-Status`) and RFC 9213 (`CDN-Cache-Control`).
//!
//! Refuses to know routes and upstream groups: what it lacks it asks an [`Origin`] for. Bound: the
//! configured bytes of memory, and of one response.

mod asked;
mod conditional;
mod date;
mod dictionary;
mod directives;
mod disk;
mod fetch;
mod flight;
mod freshness;
mod hit;
mod inner;
mod invalidate;
mod keep;
mod key;
mod memory;
mod naming;
mod options;
mod places;
mod policy;
mod query;
mod rules;
mod serve;
mod status;
mod stored;
mod uses;
mod validate;
mod vary;
mod write;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub(crate) use date::{of as date_of, parse as parse_date, write as http_date};
pub use disk::DiskSpec;
pub(crate) use fetch::set_date_aside;
pub(crate) use hit::Hit;
pub(crate) use inner::Inner;
pub use keep::DiskFigures;
pub use memory::Purge;
pub use options::{CacheOptions, CacheStats, Lifetimes};
pub use rules::CacheRuleSpec;
pub(crate) use rules::CacheRules;
pub use serve::Cache;
pub(crate) use status::word;
