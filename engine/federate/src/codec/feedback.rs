//! Owns what a client keeps of what its encodings have lost (error feedback, Seide et al., 2014).
//!
//! Refuses to be shared between clients. Bound: one value per parameter.

use super::encode::encode;
use super::encoding::Encoding;
use super::layout::{Head, Kind};
use super::received::Received;
use super::schema::Schema;
use crate::aggregate::Rows;
use crate::error::{FederateError, field_error};

/// The sum of what was not sent yet.
#[derive(Clone, Debug)]
pub struct ErrorFeedback {
    residual: Vec<f32>,
}

impl ErrorFeedback {
    /// Nothing was lost so far.
    pub fn new(schema: &Schema) -> Self {
        Self { residual: vec![0.0; schema.parameters()] }
    }

    /// Goes on with what was lost before.
    ///
    /// # Errors
    /// For another number of values than the model has, or one that is not finite.
    pub fn resume(residual: Vec<f32>, schema: &Schema) -> Result<Self, FederateError> {
        if residual.len() != schema.parameters() || residual.iter().any(|v| !v.is_finite()) {
            let expected = format!("{} finite values", schema.parameters());
            return Err(field_error("residual", residual.len(), expected));
        }
        Ok(Self { residual })
    }

    /// What was not sent yet.
    pub fn residual(&self) -> &[f32] {
        &self.residual
    }

    /// Writes a change of the model with what was lost before, and keeps what this encoding loses.
    ///
    /// # Errors
    /// As [`encode`], and for weights, of which nothing may be left out; nothing is kept then.
    pub fn encode(
        &mut self,
        delta: &[f32],
        schema: &Schema,
        head: Head,
        encoding: Encoding,
    ) -> Result<Vec<u8>, FederateError> {
        if head.kind != Kind::Delta || delta.len() != self.residual.len() {
            let expected = format!("a delta of {} values", self.residual.len());
            return Err(field_error("values", format!("{:?}", head.kind), expected));
        }
        let wanted: Vec<f32> = delta.iter().zip(&self.residual).map(|(a, b)| a + b).collect();
        let body = encode(&wanted, schema, head, encoding)?;
        // What the server will read, read the way it does.
        let received = Received::of_bytes(body.clone(), schema)?;
        let mut sent = vec![0.0; wanted.len()];
        received.read(0, &mut sent)?;
        for ((residual, wanted), sent) in self.residual.iter_mut().zip(&wanted).zip(&sent) {
            *residual = wanted - sent;
        }
        Ok(body)
    }
}
