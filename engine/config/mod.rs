//! Owns configuration: what the user typed ([`raw`]), how it is read with every problem reported
//! at once ([`read`]), what the engine sees of it ([`plan`]) and the documented file made from the
//! types ([`generate`]), and how an nginx.conf becomes one ([`nginx`]).
//!
//! Refuses to know how anything is run. Bound: a file of at most 1 MiB, `conf.d` of at most 256
//! files.

pub mod generate;
pub mod nginx;
pub mod plan;
pub mod problem;
pub mod raw;
pub mod read;

pub use plan::Plan;
pub use problem::{Problem, Problems};
pub use raw::Raw;
