//! Owns routes: what is asked for, as it was configured ([`spec`]), compiled ([`compile`]) and
//! found again ([`table`]); the one form of a path ([`path`]); what is changed on the way
//! ([`edit`]).
//!
//! Refuses to know sockets and servers. Bound: what the configuration names.

pub(crate) mod compile;
pub(crate) mod edit;
pub(crate) mod path;
pub mod spec;
pub(crate) mod table;
