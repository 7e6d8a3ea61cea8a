//! Differential privacy of clients: DP-FedAvg (McMahan et al., 2018) with a fixed or an adaptive
//! clip (Andrew et al., 2021).
//!
//! Two federations are neighbours if one has a client more. Each client takes part in a round by a
//! coin of its own, its update is shortened to the clip and counts as any other, the sum gets
//! Gaussian noise, and is divided by a number that was fixed before. Owns the noise, the clip and
//! the account of what has been spent. Refuses to know rounds. Bound: some numbers for each
//! mechanism that was ever used.

mod accountant;
mod clip;
mod noise;
mod settings;

pub use accountant::{Accountant, Mechanism, Spent};
pub use noise::Chance;
pub use settings::PrivacySettings;

pub(crate) use clip::{clip_bit, clip_factor, clip_of_round, next_clip};
pub(crate) use noise::Gaussian;

#[cfg(test)]
mod tests;
