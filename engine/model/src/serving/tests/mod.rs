//! The serving engine as a whole, on small models whose answers are known.

mod closing;
mod failures;
mod fairness;
mod harness;
mod inline;
mod memory;
mod order;
mod shadows;
mod sharing;
mod versions;
