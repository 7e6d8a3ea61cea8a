//! Owns what is done when more comes than can be done: requests of low priority are refused while
//! the machine is under strain, and all wait in turns where too many are under way.
//!
//! Refuses to measure strain; it is told. Bound: `queue_max` requests that wait, one thread.

mod spec;
mod valve;
mod watch;

pub use spec::{OverloadSpec, RoutePriority, Strain, StrainSource};
pub use valve::OverloadStats;
pub(crate) use valve::{Entry, Place, Valve};
pub(crate) use watch::start;
