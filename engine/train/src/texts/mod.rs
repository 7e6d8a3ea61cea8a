//! Training on texts: their rows, their tokens, encoders from nothing and from models that exist.
//!
//! Owns the way from texts with classes to a model that reads texts.
//! Refuses to know where models come from. Bound: the tokens of all texts as numbers, `length_max`
//! each, in memory or in a file.

mod base;
mod rows;
#[cfg(test)]
mod tests;
mod tokens;
mod tune;
mod words;

pub use rows::{TextRows, read_texts};
pub(crate) use tokens::{check, give};
pub use tune::{BaseModel, Prepare, TextTraining, Tuned};
pub use words::Words;
