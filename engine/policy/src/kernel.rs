//! Owns the questions to a kernel.
//!
//! Refuses an answer of another length, or one that is not finite. Bound: a tile of
//! [`TILE_COORDINATES_MAX`] coordinates for each update, because the host copies it into the guest
//! before any deadline is looked at.

use serde::{Deserialize, Serialize};

use crate::instance::{Instance, Part};
use crate::kind::Kernel;
use crate::stats::{Fault, Refusal};
use crate::text;
use crate::v0_1_0::kernel::exports::truststram::policy::kernel as wit;

/// Most coordinates of one call.
pub const TILE_COORDINATES_MAX: usize = 8_192;

/// Where a tile belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tile {
    /// Index of its first coordinate.
    pub offset: u64,
    /// Coordinates of the whole model.
    pub parameters: u64,
    /// The round.
    pub round: u64,
}

/// A question to a kernel.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KernelQuestion {
    /// Where the tile belongs.
    pub tile: Tile,
    /// One weight for each row.
    pub weights: Vec<f32>,
    /// One row for each update, all of one length.
    pub rows: Vec<Vec<f32>>,
}

/// What `reduce-chunk` returns.
type Answer = (Result<Vec<f32>, wit::KernelError>,);

impl Instance<Kernel> {
    /// Reduces one tile: one row for each update, all of one length of at most
    /// [`TILE_COORDINATES_MAX`], to one row. `weights` has one number for each row.
    ///
    /// # Errors
    /// Why there is no reduction; the caller's own answers then.
    pub fn reduce_chunk(
        &mut self,
        tile: Tile,
        weights: &[f32],
        rows: &[&[f32]],
    ) -> Result<Vec<f32>, Refusal> {
        let length = rows.first().map_or(0, |row| row.len());
        let is_even = rows.iter().all(|row| row.len() == length) && weights.len() == rows.len();
        if !is_even || length > TILE_COORDINATES_MAX {
            return Err(Refusal::Failed);
        }
        let Tile { offset, parameters, round } = tile;
        self.ask(
            Part::Alone,
            |function, store| {
                let tile = wit::Tile { offset, parameters, round };
                // The generated bindings would have each row copied into a vector first.
                let function = function.typed::<(wit::Tile, &[f32], &[&[f32]]), Answer>(&*store)?;
                let (answer,) = function.call(store, (tile, weights, rows))?;
                Ok(answer)
            },
            |answer| {
                let row = answer.map_err(|wit::KernelError::Unsupported(message)| Fault {
                    refusal: Refusal::Declined,
                    reason: text::line(&message, 256),
                })?;
                if row.len() != length {
                    let found = row.len();
                    return Err(Fault::nonsense(format!("{found} coordinates, not {length}")));
                }
                // Counted without a branch, which takes a tenth of the time of a search.
                let wrong: u32 = row.iter().map(|value| u32::from(!value.is_finite())).sum();
                if wrong == 0 {
                    return Ok(row);
                }
                let at = row.iter().position(|value| !value.is_finite()).unwrap_or_default();
                Err(Fault::nonsense(format!("coordinate {at} is not finite, one of {wrong}")))
            },
        )
    }
}
