//! Text encoders while they are trained: embeddings, layers of attention and of two linear ones,
//! each followed by a normalised sum, as BERT has them.
//!
//! Owns their description, where their weights lie, and their passes forward and backward. Rows
//! are the tokens of texts as numbers, with numbers below 0 behind the last, so that a text is a
//! row like any other; nothing is computed for what is behind.
//! Refuses to know tokenizers and what stands behind the encoder. Bound: buffers for the tokens of
//! one pass; with `recompute` the inner ones of one layer alone.

#[cfg(test)]
mod against_torch;
mod attention;
mod dropping;
mod export;
mod layer;
mod pass;
mod sizes;
mod spec;
#[cfg(test)]
mod tests;

pub(crate) use pass::EncoderPass;
pub(crate) use sizes::Encoder;
pub use spec::{EncoderActivation, EncoderPooling, EncoderSpec};
