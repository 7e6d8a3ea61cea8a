//! Owns the layout of packed weights: panels of columns, word after word.
//!
//! A panel holds three vectors of sixteen columns; the last may hold one or two. Within a panel
//! all columns' first words come first, then their second words, and so on, so that a tile reads
//! memory straight on. Columns beyond the last are zeros.
//! Refuses to know what words hold. Bound: sizes are checked before memory is asked for.

use std::fmt;

use truststram_machine::NodeBuffer;

use crate::error::ModelError;
use crate::kernels::lanes::COUNT;

/// Vectors of a whole panel.
pub const PANEL: usize = 3;

/// How many vectors hold `columns`.
pub fn vectors(columns: usize) -> usize {
    columns.div_ceil(COUNT)
}

/// Packed weights in memory of their own.
pub struct Panels {
    buffer: NodeBuffer,
    words: usize,
    columns: usize,
}

impl fmt::Debug for Panels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Panels {} x {} words", self.columns, self.words)
    }
}

impl Panels {
    /// Packs `columns` columns of `words` words, each given by (word, column), into memory of
    /// `node`.
    ///
    /// # Errors
    /// [`ModelError::Machine`] when there is not enough memory.
    pub fn pack(
        columns: usize,
        words: usize,
        node: Option<u32>,
        word: impl Fn(usize, usize) -> u32,
    ) -> Result<Self, ModelError> {
        let padded = vectors(columns).saturating_mul(COUNT);
        let bytes = padded.saturating_mul(words).saturating_mul(size_of::<u32>());
        let mut buffer = NodeBuffer::new(bytes, node)?;
        let mut places = buffer.chunks_exact_mut(size_of::<u32>());
        for panel in 0..vectors(columns).div_ceil(PANEL) {
            let first = panel * PANEL * COUNT;
            let last = padded.min(first + PANEL * COUNT);
            for index in 0..words {
                for (column, place) in (first..last).zip(&mut places) {
                    let value = if column < columns { word(index, column) } else { 0 };
                    place.copy_from_slice(&value.to_ne_bytes());
                }
            }
        }
        Ok(Self { buffer, words, columns })
    }

    /// The first word.
    pub fn start(&self) -> *const u32 {
        self.buffer.as_ptr().cast()
    }

    /// Words of each column.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Their memory.
    pub fn buffer(&self) -> &NodeBuffer {
        &self.buffer
    }

    /// Bytes of the packed weights.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }
}
