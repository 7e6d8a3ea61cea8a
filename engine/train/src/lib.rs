//! Floor 4: training.
//!
//! Owns data sets, their splits, and the training of dense classifiers on candle's autograd.
//! Refuses to know where models are registered and what is served.
//! Bound: a data set held in memory; the epochs that are asked for.

mod data;
mod dense;
mod error;
mod net;
mod random;

pub use data::{DIGITS_HELD_OUT_SHARE, DIGITS_SEED, Dataset, Split, digits};
pub use dense::{Progress, TrainOptions, Trained, train_dense};
pub use error::TrainError;
