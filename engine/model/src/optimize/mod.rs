//! Optimising a model: another version of it that is smaller or faster, and how far it differs.
//!
//! Owns the steps fuse, prune, 8-bit numbers and bf16, the ranges that 8-bit numbers need, and the
//! measuring of a version against the one that it was made of.
//! Refuses to know registries and files, and to train: a model that was pruned is not tuned again
//! here; the zeros of its weights say which to hold.
//! Bound: every step copies each weight once; measuring runs the data set three times at most per
//! step.

mod answers;
mod bf16;
mod calibrate;
mod csv;
mod data;
mod figures;
mod int8;
mod options;
mod prune_l1;
mod quality;
mod report;
mod run;
#[cfg(test)]
mod tests;
mod weights;

pub use csv::data_set_of_csv;
pub use data::{DATA_ROW_COUNT_MAX, DataRows, DataSet, TextTokens};
pub use int8::{INPUT_COUNT_MIN, OUTPUT_COUNT_MIN};
pub use options::{Int8, OptimizeOptions, Ranges};
pub use quality::Quality;
pub use report::{Figures, LayerReport, Report, Step, StepName};
pub use run::optimize;
