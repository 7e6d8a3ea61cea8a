//! Owns why training is not possible.
//!
//! Refuses to know who asked for it. Bound: one enum.

use std::path::PathBuf;

use truststram_base::Kind;
use truststram_machine::MachineError;
use truststram_model::ModelError;

/// What can go wrong in training.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A line of a data file cannot be read.
    #[error("line {line} of {name}: {expected}")]
    Data {
        /// The data set.
        name: &'static str,
        /// The line, counted from 1.
        line: usize,
        /// What the line should hold.
        expected: &'static str,
    },
    /// A data file cannot be decompressed.
    #[error("{name} cannot be decompressed: {source}")]
    Compression {
        /// The data set.
        name: &'static str,
        /// What the decompressor said.
        source: std::io::Error,
    },
    /// A data set that cannot be trained on.
    #[error("the data set {0}")]
    Dataset(&'static str),
    /// A target that is none.
    #[error("the data set has a label that is none: {what}; mend that row or leave it out")]
    Label {
        /// Which one, and what it should be.
        what: String,
    },
    /// A class that cannot be learnt.
    #[error("class `{class}` has no rows to train on; add some or leave the class out")]
    EmptyClass {
        /// The class.
        class: String,
    },
    /// A class that the model does not have.
    #[error("the model has no class `{class}`; leave its rows out or train another model")]
    UnknownClass {
        /// The class.
        class: String,
    },
    /// An option out of its range.
    #[error("the option `{option}` must be {expected}")]
    Option {
        /// The option.
        option: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The loss is no number any more.
    #[error("the loss is not finite in epoch {epoch}; lower the learning rate")]
    Diverged {
        /// The epoch, counted from 1.
        epoch: usize,
    },
    /// A checkpoint that the training cannot go on from.
    #[error("the checkpoint {path} cannot be used: {what}; remove it to begin anew")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A file.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was to be done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of rows.
    #[error("{path}: {what}")]
    Rows {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// The trained model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The threads of the evaluation.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

impl TrainError {
    /// What the error means to its receiver.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Data { .. }
            | Self::Compression { .. }
            | Self::Rows { .. }
            | Self::Label { .. } => Kind::Malformed,
            Self::Checkpoint { .. } => Kind::Corrupt,
            Self::File { .. } => Kind::Internal,
            Self::Dataset(_)
            | Self::EmptyClass { .. }
            | Self::UnknownClass { .. }
            | Self::Option { .. }
            | Self::Diverged { .. } => Kind::Invalid,
            Self::Model(error) => error.kind(),
            Self::Machine(error) => error.kind(),
        }
    }
}
