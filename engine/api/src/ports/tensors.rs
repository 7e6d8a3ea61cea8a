//! Owns the port of inference on tensors and texts: what is asked, what is answered.
//!
//! Refuses to know how tensors travel in bodies; what is here is checked and decoded. Bound: the
//! body that it came in; [`RANK_MAX`] dimensions.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use truststram_base::{ModelId, ModelVersion, RequestId, UserId};

use super::Failure;

/// Most dimensions of a tensor.
pub const RANK_MAX: usize = 16;

/// The type of the elements of a tensor, as the Open Inference Protocol names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Datatype {
    /// One byte, 0 or 1.
    Bool,
    /// Signed, 8 bits.
    Int8,
    /// Signed, 16 bits.
    Int16,
    /// Signed, 32 bits.
    Int32,
    /// Signed, 64 bits.
    Int64,
    /// Unsigned, 8 bits.
    Uint8,
    /// Unsigned, 16 bits.
    Uint16,
    /// Unsigned, 32 bits.
    Uint32,
    /// Unsigned, 64 bits.
    Uint64,
    /// IEEE 754 half precision.
    Fp16,
    /// The upper half of an IEEE 754 single.
    Bf16,
    /// IEEE 754 single precision.
    Fp32,
    /// IEEE 754 double precision.
    Fp64,
    /// Byte strings of any length.
    Bytes,
}

impl Datatype {
    /// All of them with their names and the bytes of one element; `BYTES` has no fixed size.
    pub const ALL: [(Self, &'static str, usize); 14] = [
        (Self::Bool, "BOOL", 1),
        (Self::Int8, "INT8", 1),
        (Self::Int16, "INT16", 2),
        (Self::Int32, "INT32", 4),
        (Self::Int64, "INT64", 8),
        (Self::Uint8, "UINT8", 1),
        (Self::Uint16, "UINT16", 2),
        (Self::Uint32, "UINT32", 4),
        (Self::Uint64, "UINT64", 8),
        (Self::Fp16, "FP16", 2),
        (Self::Bf16, "BF16", 2),
        (Self::Fp32, "FP32", 4),
        (Self::Fp64, "FP64", 8),
        (Self::Bytes, "BYTES", 0),
    ];

    /// Reads a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == name).map(|(datatype, ..)| *datatype)
    }

    fn row(self) -> &'static (Self, &'static str, usize) {
        // The table is in the order of the variants.
        &Self::ALL[self as usize]
    }

    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Bytes of one element; `None` for `BYTES`.
    pub fn element_bytes(self) -> Option<usize> {
        let (_, _, bytes) = *self.row();
        (bytes > 0).then_some(bytes)
    }
}

/// The elements of a tensor, row after row.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// Little-endian values without gaps, at any alignment: of every type but `BYTES`.
    Raw(Bytes),
    /// One byte string per element: of the type `BYTES`. Not always UTF-8.
    Strings(Vec<Bytes>),
}

/// A tensor as it travels. The product of `shape` is the number of elements in `data`.
#[derive(Clone, Debug, PartialEq)]
pub struct WireTensor {
    /// Which input or output it is.
    pub name: String,
    /// The type of its elements.
    pub datatype: Datatype,
    /// Its dimensions, at most [`RANK_MAX`]; none for a single element.
    pub shape: Vec<u64>,
    /// Its elements.
    pub data: TensorData,
}

/// Tensors to compute with.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorAsk {
    /// The request this belongs to.
    pub request: RequestId,
    /// The model to ask.
    pub model: ModelId,
    /// The version to ask; `None` means the active one.
    pub version: Option<ModelVersion>,
    /// Who asks.
    pub user: Option<UserId>,
    /// The inputs, each name once.
    pub inputs: Vec<WireTensor>,
    /// The outputs wanted, in this order; empty for all of them.
    pub outputs: Vec<String>,
    /// How urgent it is, 0 to [`super::PRIORITY_MAX`].
    pub priority: u8,
    /// Milliseconds that the caller waits; `None` for the usual deadline.
    pub deadline_ms: Option<u64>,
}

/// What was computed.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorAnswer {
    /// The version that answered.
    pub version: ModelVersion,
    /// The outputs, in the order asked for.
    pub outputs: Vec<WireTensor>,
    /// The names of the classes, where the model has classes.
    pub classes: Vec<String>,
    /// How long the request waited for its batch, microseconds.
    pub queue_us: u32,
    /// How long its batch was computed, microseconds.
    pub compute_us: u32,
}

/// What is embedded.
#[derive(Clone, Debug, PartialEq)]
pub enum EmbedInputs {
    /// Texts, none of them empty.
    Texts(Vec<String>),
    /// Texts that are cut into the model's tokens already, none of them empty.
    Tokens(Vec<Vec<u32>>),
}

/// Texts to embed.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbedAsk {
    /// The request this belongs to.
    pub request: RequestId,
    /// The model to ask.
    pub model: ModelId,
    /// The version to ask; `None` means the active one.
    pub version: Option<ModelVersion>,
    /// Who asks.
    pub user: Option<UserId>,
    /// What is embedded.
    pub inputs: EmbedInputs,
    /// How urgent it is, 0 to [`super::PRIORITY_MAX`].
    pub priority: u8,
    /// Milliseconds that the caller waits; `None` for the usual deadline.
    pub deadline_ms: Option<u64>,
}

/// Texts embedded.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbedAnswer {
    /// The version that answered.
    pub version: ModelVersion,
    /// One vector per input, in order, all of one length.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens that each input took, those included that the model adds.
    pub token_counts: Vec<u32>,
}

/// Vectors to compare.
#[derive(Clone, Debug, PartialEq)]
pub struct SimilarityAsk {
    /// Rows of `dimension` values, one after the other.
    pub rows_a: Vec<f32>,
    /// What they are compared with; `None` compares them with each other.
    pub rows_b: Option<Vec<f32>>,
    /// Values per row, at least 1.
    pub dimension: usize,
    /// How urgent it is, 0 to [`super::PRIORITY_MAX`].
    pub priority: u8,
    /// Milliseconds that the caller waits; `None` for the usual deadline.
    pub deadline_ms: Option<u64>,
}

/// Inference on tensors and texts.
pub trait Tensors: Send + Sync {
    /// Runs a model on tensors.
    fn infer(&self, ask: TensorAsk) -> BoxFuture<'static, Result<TensorAnswer, Failure>>;
    /// Embeds texts.
    fn embed(&self, ask: EmbedAsk) -> BoxFuture<'static, Result<EmbedAnswer, Failure>>;
    /// The cosine of each row of `a` with each row of `b`, row after row: `a.b / (|a| |b|)`, and 0
    /// where a row is all zeros.
    fn similarity(&self, ask: SimilarityAsk) -> BoxFuture<'static, Result<Vec<f32>, Failure>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_types_is_in_their_order() {
        for (datatype, name, bytes) in Datatype::ALL {
            assert_eq!((datatype.name(), Datatype::of_name(name)), (name, Some(datatype)));
            assert_eq!(datatype.element_bytes().unwrap_or(0), bytes);
        }
        assert_eq!(Datatype::of_name("fp32"), None);
    }
}
