//! Owns upstream groups: what is configured ([`spec`]), which server takes a request ([`group`]),
//! and what is decided on the way there, each in a module that knows no clock and no socket:
//! [`health`], [`rotation`], [`ring`], [`breaker`], [`budget`].
//!
//! Refuses to speak HTTP, besides the checks of [`upkeep`]. Bound: 128 servers a group.

pub(crate) mod breaker;
pub(crate) mod budget;
pub(crate) mod group;
pub(crate) mod health;
pub(crate) mod ring;
pub(crate) mod rotation;
pub mod spec;
pub(crate) mod upkeep;
pub(crate) mod websocket;
