//! Updates as bytes.
//!
//! ```text
//! metadata  "truststram.update": JSON {"kind": "delta", "weights" or "masked", "base": version,
//!           "block": n}
//! tensors   for each tensor NAME of the model one of
//!           NAME                    F32, F16 or BF16, shape of the model: every value
//!           NAME#int8, NAME#scales  I8, shape of the model, and F32, one per block of n values
//!           NAME#indices            U32, ascending: where the values are, the others are 0
//!           NAME#bitmap             U8, the same as bits, the lowest first
//!             with NAME#values      F32, F16 or BF16, as many
//!             or NAME#int8, NAME#scales, as many
//!           where masked, NAME alone: U32, shape of the model, whole numbers modulo 2^32;
//!           where the clip adapts, truststram.clip_bit beside them: U32 [1]
//! ```
//!
//! A container of safetensors, so that Python writes one without a library of ours. Owns its
//! layout, the checks against the server's own schema of the model, and what a client keeps of
//! what an encoding loses. Refuses to know who sent it. Bound: nothing is allocated for an update
//! before its header has been held against the schema; no body is larger than [`body_bytes_max`].

mod encode;
mod encoding;
mod feedback;
mod layout;
mod received;
mod schema;
mod values;

pub use encode::{encode, encode_masked};
pub use encoding::{Encoding, Number};
pub use feedback::ErrorFeedback;
pub use layout::{Head, Kind, METADATA_KEY, body_bytes_max};
pub use received::{Measured, Received, measure};
pub use schema::{CLIP_BIT, Schema, SchemaTensor};

#[cfg(test)]
mod tests;
