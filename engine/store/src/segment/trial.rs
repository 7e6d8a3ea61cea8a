//! Owns the packing of records at any level of compression, for the bench that shows what the
//! chosen level costs and saves.
//!
//! Refuses to choose and to store. Bound: the records given.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use truststram_base::{ModelId, PredictionRecord};

use super::{Packer, Sealed, decode};
use crate::error::Damage;
use crate::row::Row;

/// Records to pack, and what came of it.
pub struct CompressionTrial {
    rows: BTreeMap<ModelId, Vec<Arc<Row>>>,
    sealed: Vec<Sealed>,
}

impl CompressionTrial {
    /// Numbers the records in their order.
    pub fn new(records: Vec<PredictionRecord>) -> Self {
        let mut rows: BTreeMap<ModelId, Vec<Arc<Row>>> = BTreeMap::new();
        for (sequence, record) in (1..).zip(records) {
            let of_model = rows.entry(record.model.clone()).or_default();
            of_model.push(Arc::new(Row { sequence, record }));
        }
        Self { rows, sealed: Vec::new() }
    }

    /// Packs all records as the store does, at a level of zstd, 0 for none; the bytes that they
    /// take.
    ///
    /// # Errors
    /// What the compressor said.
    pub fn pack(&mut self, level: i32) -> io::Result<u64> {
        let mut packer = Packer::at_level(level)?;
        self.sealed.clear();
        for (model, rows) in &self.rows {
            self.sealed.extend(packer.pack(model, rows)?);
        }
        Ok(self.sealed.iter().map(|segment| segment.frame.len() as u64).sum())
    }

    /// Unpacks what was packed last and says how many records that were.
    ///
    /// # Errors
    /// [`Damage`] if the packer does not pack what the reader reads.
    pub fn unpack(&self) -> Result<u64, Damage> {
        let rows = self.sealed.iter().map(|segment| {
            let columns = decode(&segment.frame, segment.last_sequence)?;
            Ok(columns.row_count() as u64)
        });
        rows.sum()
    }
}
