//! Owns the rows that are in the log and not yet in a month's file, so that they are read like
//! all others.
//!
//! There are at most two tables of them, one for each turn of the log: the active one grows, the
//! frozen one is being put into the month files. A reader takes the rows here first and opens the
//! month files after, and leaves out what those have already: each file says up to which sequence
//! it has everything.
//! Refuses to know the log's and the files' bytes. Bound: as the log.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use truststram_base::{ModelId, PredictionRecord, UserId};

use crate::month::Month;
use crate::rollup::{Rollup, minute_of};
use crate::row::{Row, RowFilter};

/// Figures of one model in one month.
#[derive(Clone, Debug, Default)]
pub(crate) struct ModelRollups {
    pub(crate) total: Rollup,
    /// By minute since 1970.
    pub(crate) minutes: BTreeMap<i64, Rollup>,
}

impl ModelRollups {
    fn add_row(&mut self, record: &PredictionRecord) {
        self.total.add_row(record);
        self.minutes.entry(minute_of(record.timestamp_us)).or_default().add_row(record);
    }
}

/// The rows of one turn.
#[derive(Debug, Default)]
pub(crate) struct MemoryTable {
    /// Ascending and without gaps.
    pub(crate) rows: Vec<Arc<Row>>,
    by_model: HashMap<ModelId, Vec<u32>>,
    by_user: HashMap<UserId, Vec<u32>>,
    pub(crate) rollups: HashMap<(Month, ModelId), ModelRollups>,
}

impl MemoryTable {
    pub(crate) fn push(&mut self, row: Arc<Row>) {
        let place = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        let record = &row.record;
        match self.by_model.get_mut(&record.model) {
            Some(places) => places.push(place),
            None => {
                self.by_model.insert(record.model.clone(), vec![place]);
            }
        }
        if let Some(user) = &record.user {
            match self.by_user.get_mut(user) {
                Some(places) => places.push(place),
                None => {
                    self.by_user.insert(user.clone(), vec![place]);
                }
            }
        }
        let month = Month::of(record.timestamp_us);
        self.rollups.entry((month, record.model.clone())).or_default().add_row(record);
        self.rows.push(row);
    }

    /// The sequence after the last row's.
    pub(crate) fn end(&self) -> Option<u64> {
        self.rows.last().map(|row| row.sequence + 1)
    }

    /// Adds wanted rows to `found`, newest first, until it has `limit`.
    fn find(&self, filter: &RowFilter, limit: usize, found: &mut Vec<Arc<Row>>) {
        let places = match (&filter.user, &filter.model) {
            (Some(user), _) => Some(self.by_user.get(user)),
            (None, Some(model)) => Some(self.by_model.get(model)),
            (None, None) => None,
        };
        let mut take = |row: &Arc<Row>| {
            if filter.wants(row) {
                found.push(Arc::clone(row));
            }
            found.len() < limit
        };
        match places {
            None => {
                self.rows.iter().rev().all(&mut take);
            }
            Some(places) => {
                let places = places.map_or(&[][..], Vec::as_slice);
                let below = |&place: &u32| {
                    self.rows.get(place as usize).is_some_and(|row| row.sequence < filter.before)
                };
                let end = places.partition_point(below);
                places[..end].iter().rev().all(|&place| take(&self.rows[place as usize]));
            }
        }
    }
}

#[derive(Debug, Default)]
struct State {
    active: MemoryTable,
    frozen: Option<Arc<MemoryTable>>,
    /// How many rows of each model came since the start.
    changes: HashMap<ModelId, u64>,
}

/// Both tables.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    state: RwLock<State>,
}

impl Memory {
    /// Takes what was in the log at start.
    pub(crate) fn recover(&self, active: MemoryTable, frozen: Option<MemoryTable>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        *state = State { active, frozen: frozen.map(Arc::new), changes: HashMap::new() };
    }

    /// Makes rows visible.
    pub(crate) fn push(&self, rows: impl Iterator<Item = Arc<Row>>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for row in rows {
            match state.changes.get_mut(&row.record.model) {
                Some(changes) => *changes += 1,
                None => drop(state.changes.insert(row.record.model.clone(), 1)),
            }
            state.active.push(row);
        }
    }

    /// Freezes the active table. The frozen one before must have been dropped.
    pub(crate) fn freeze(&self) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let table = std::mem::take(&mut state.active);
        state.frozen = Some(Arc::new(table));
    }

    /// The frozen table.
    pub(crate) fn frozen(&self) -> Option<Arc<MemoryTable>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).frozen.clone()
    }

    /// Forgets the frozen table, whose rows are all in month files.
    pub(crate) fn drop_frozen(&self) {
        let frozen = self.state.write().unwrap_or_else(PoisonError::into_inner).frozen.take();
        // It is freed outside the lock.
        drop(frozen);
    }

    /// A number that is another one after each commit of rows of `model`.
    pub(crate) fn changes(&self, model: &ModelId) -> u64 {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.changes.get(model).copied().unwrap_or(0)
    }

    /// Rows in both tables.
    pub(crate) fn row_count(&self) -> usize {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.active.rows.len() + state.frozen.as_ref().map_or(0, |table| table.rows.len())
    }

    /// The newest wanted rows, at most `limit`, newest first.
    pub(crate) fn find(&self, filter: &RowFilter, limit: usize) -> Vec<Arc<Row>> {
        let mut found = Vec::new();
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.active.find(filter, limit, &mut found);
        if let Some(frozen) = &state.frozen
            && found.len() < limit
        {
            frozen.find(filter, limit, &mut found);
        }
        found
    }

    /// The figures of `model`, or of all, per table: with the sequence after the table's last row,
    /// so that a caller can leave out what a month's file has already.
    pub(crate) fn rollups(&self, model: Option<&ModelId>) -> Vec<TableRollup> {
        let mut found = Vec::new();
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        for table in state.frozen.iter().map(Arc::as_ref).chain([&state.active]) {
            let Some(end) = table.end() else { continue };
            for ((month, of), rollups) in &table.rollups {
                if model.is_none_or(|model| model == of) {
                    let (month, model, rollups) = (*month, of.clone(), rollups.clone());
                    found.push(TableRollup { month, model, end, rollups });
                }
            }
        }
        found
    }
}

/// Figures of one model in one month, as far as they are in memory.
#[derive(Clone, Debug)]
pub(crate) struct TableRollup {
    pub(crate) month: Month,
    pub(crate) model: ModelId,
    /// The sequence after the last row of the table.
    pub(crate) end: u64,
    pub(crate) rollups: ModelRollups,
}
