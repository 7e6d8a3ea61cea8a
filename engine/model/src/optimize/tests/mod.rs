//! Optimised versions against what they were made of.

mod digits;
mod numbers;
mod prune;
mod refusals;
mod report;
mod small;
