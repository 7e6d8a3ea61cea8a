//! The numbers of an aggregation.
//!
//! Owns what is done with the values of updates: means, medians, distances, clipping, the server's
//! optimiser, the client's proximal term. Which updates count and by how much is decided by a
//! [`truststram_decide::aggregation::Plan`]. Refuses to know where updates lie: it reads them as
//! [`Rows`]. Bound: besides the result, [`TILE`] values of each update per core.

mod carry_out;
mod cores;
mod distances;
mod network;
mod optimizer;
mod proximal;
mod reduce;
mod rows;
mod running;

pub use carry_out::{Custom, Facts, carry_out, facts, reduce};
pub use cores::{Cores, TILE};
pub use distances::{SquaredDistances, geometric_weights, squared_distances};
pub use optimizer::ServerState;
pub use proximal::add_proximal;
pub use reduce::{custom, median, trimmed_mean, weighted_sum};
pub use rows::{Difference, Rows};
pub use running::RunningMean;

#[cfg(test)]
mod tests;
