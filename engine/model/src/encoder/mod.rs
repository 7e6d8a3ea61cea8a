//! Text encoders: folders of Hugging Face become artifacts, and texts become tokens.
//!
//! Owns the reading of BERT, DistilBERT and RoBERTa, their pooling and their heads for classes, as
//! graphs of our own operators. Refuses to know how graphs are computed and where files come from.
//! Bound: files are as large as [`truststram_base::limits`] allows, and every size that a file
//! names is checked against a limit and against the bytes that are there.

mod build;
mod config;
mod fields;
mod folder;
mod head;
mod sentence;
mod tokenizer;
mod weights;

pub use folder::EncoderFolder;
pub use tokenizer::{TEXT_BYTES_MAX, TokenizedText, Tokenizer};
