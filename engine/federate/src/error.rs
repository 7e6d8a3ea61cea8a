//! Owns everything that can go wrong with an update or a round.
//!
//! Refuses to know HTTP statuses. Bound: one value per refused update.

use std::sync::Arc;

use truststram_base::Kind;
use truststram_model::ModelError;

/// What can go wrong.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FederateError {
    /// The body is no safetensors container.
    #[error("the update is refused: {0}")]
    Container(#[from] ModelError),
    /// A tensor of the update does not fit the model.
    #[error("the update's tensor `{tensor}` has {found}, expected {expected}")]
    Tensor {
        /// The tensor.
        tensor: String,
        /// What it has.
        found: String,
        /// What the model has.
        expected: String,
    },
    /// A field of the update's description, or of what was sent with it, cannot be.
    #[error("the update's {field} is {found}, expected {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// The update has more bytes than one of the model can have.
    #[error("the update's {part} has {bytes} bytes, the limit for this model is {bytes_max}")]
    TooLarge {
        /// The part.
        part: &'static str,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The model cannot be trained in rounds.
    #[error("the model's {field} is {found}, expected {expected}")]
    Schema {
        /// The field.
        field: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// The parts of an aggregation do not fit each other.
    #[error("the aggregation's {field} is {found}, expected {expected}")]
    Aggregation {
        /// The part.
        field: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// The request is not what a client of this federation sends.
    #[error("the request is denied: {reason}")]
    Denied {
        /// Why.
        reason: &'static str,
    },
    /// Nothing has this number, or it is another's.
    #[error("there is no {what} {id} of yours; enrol, or ask for a task")]
    Unknown {
        /// What was asked for.
        what: &'static str,
        /// Its number.
        id: u64,
    },
    /// The task is over.
    #[error("task {task} takes no update any more: {reason}; ask for another task")]
    Gone {
        /// The task.
        task: u64,
        /// Why.
        reason: &'static str,
    },
    /// The task has an update, and this is another one.
    #[error("task {task} has an update with another body, which counts; ask for another task")]
    Conflict {
        /// The task.
        task: u64,
    },
    /// The aggregator refuses the update.
    #[error("the update is refused: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// What keeps records or files has failed.
    #[error("{message}")]
    Port {
        /// What it says.
        message: String,
        /// Who caused it.
        kind: Kind,
    },
    /// The file system failed.
    #[error("cannot read or write a file of the federation: {0}")]
    Io(Arc<std::io::Error>),
}

impl FederateError {
    /// Who caused the error and whether a retry can help.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Container(source) => match source.kind() {
                Kind::TooLarge => Kind::TooLarge,
                // A body of another form than the model's is a value that is not acceptable.
                _ => Kind::Invalid,
            },
            Self::Tensor { .. }
            | Self::Field { .. }
            | Self::Schema { .. }
            | Self::Refused { .. } => Kind::Invalid,
            Self::Denied { .. } => Kind::Denied,
            Self::Unknown { .. } => Kind::NotFound,
            Self::Gone { .. } => Kind::Gone,
            Self::Conflict { .. } => Kind::Conflict,
            Self::Port { kind, .. } => *kind,
            Self::TooLarge { .. } => Kind::TooLarge,
            Self::Aggregation { .. } | Self::Io(_) => Kind::Internal,
        }
    }
}

impl From<std::io::Error> for FederateError {
    fn from(source: std::io::Error) -> Self {
        Self::Io(Arc::new(source))
    }
}

/// The complaint about one tensor.
pub(crate) fn tensor_error(
    tensor: &str,
    found: impl ToString,
    expected: impl ToString,
) -> FederateError {
    let (found, expected) = (found.to_string(), expected.to_string());
    FederateError::Tensor { tensor: tensor.to_owned(), found, expected }
}

/// The complaint about one field of an update.
pub(crate) fn field_error(
    field: &'static str,
    found: impl ToString,
    expected: impl ToString,
) -> FederateError {
    FederateError::Field { field, found: found.to_string(), expected: expected.to_string() }
}
