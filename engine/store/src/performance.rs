//! Owns the figures of models: the guide's `mv_model_performance` and its seven-day statistics.
//!
//! They are sums of figures that change with the rows, so that reading them costs a few index
//! entries however many rows there are, and they are never stale.
//! Refuses to know who asks. Bound: per model and month, a day's hours and two hours' minutes.

use std::collections::BTreeMap;

use truststram_base::ModelId;

use crate::core::Core;
use crate::error::StoreError;
use crate::explain::{Explanation, Touched};
use crate::memory::TableRollup;
use crate::month::Month;
use crate::month_file::{Buckets, MonthSnapshot};
use crate::rollup::{HOUR_MINUTES, MINUTE_US, Rollup, hour_of, minute_of};

/// A day, in microseconds.
const DAY_US: i64 = 24 * 60 * MINUTE_US;

/// What a model has answered so far.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelPerformance {
    /// The model.
    pub model: ModelId,
    /// All its predictions.
    pub all: Rollup,
    /// Those since `day_since_us`.
    pub day: Rollup,
    /// The beginning of the minute 24 hours ago, microseconds UTC.
    pub day_since_us: i64,
    /// When these figures were true, microseconds UTC.
    pub as_of_us: i64,
}

/// What a model has answered in a span of time.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelStatistics {
    /// The model.
    pub model: ModelId,
    /// Its figures.
    pub figures: Rollup,
}

/// Figures in memory and in files, of one state of both.
pub(crate) struct Figures {
    memory: Vec<TableRollup>,
    snapshots: BTreeMap<Month, MonthSnapshot>,
}

impl Figures {
    /// Those of `model`, or of all models.
    pub(crate) fn open(
        core: &Core,
        model: Option<&ModelId>,
        since_us: i64,
    ) -> Result<Self, StoreError> {
        // Memory first: what leaves it meanwhile is found in a file that is opened after.
        let mut memory = core.memory.rollups(model);
        let mut snapshots = BTreeMap::new();
        for (month, file) in core.files.between(since_us, i64::MAX) {
            snapshots.insert(month, file.snapshot()?);
        }
        let is_in_file = |table: &TableRollup| {
            snapshots.get(&table.month).is_some_and(|month| month.next_sequence >= table.end)
        };
        memory.retain(|table| !is_in_file(table));
        Ok(Self { memory, snapshots })
    }

    /// The models that have figures.
    pub(crate) fn models(&self) -> Result<Vec<ModelId>, StoreError> {
        let mut models: Vec<ModelId> =
            self.memory.iter().map(|table| table.model.clone()).collect();
        for snapshot in self.snapshots.values() {
            models.extend(snapshot.models()?);
        }
        models.sort_unstable();
        models.dedup();
        Ok(models)
    }

    /// All rows of `model`.
    pub(crate) fn total(&self, model: &ModelId) -> Result<Rollup, StoreError> {
        let mut sum = Rollup::default();
        for table in self.memory.iter().filter(|table| table.model == *model) {
            sum.add(&table.rollups.total);
        }
        for snapshot in self.snapshots.values() {
            sum.add(&snapshot.total(model.as_str())?);
        }
        Ok(sum)
    }

    /// Rows of `model` in the minutes `from` to `to` (exclusive).
    pub(crate) fn minutes(
        &self,
        model: &ModelId,
        (from, to): (i64, i64),
        touched: &mut Touched,
    ) -> Result<Rollup, StoreError> {
        let mut sum = Rollup::default();
        if from >= to {
            return Ok(sum);
        }
        for table in self.memory.iter().filter(|table| table.model == *model) {
            table.rollups.minutes.range(from..to).for_each(|(_, rollup)| sum.add(rollup));
        }
        // Whole hours in the middle, minutes at both ends.
        let first_hour = hour_of(from + HOUR_MINUTES - 1);
        let last_hour = hour_of(to).max(first_hour);
        let ranges = if first_hour * HOUR_MINUTES >= to {
            vec![(Buckets::Minutes, (from, to))]
        } else {
            vec![
                (Buckets::Minutes, (from, first_hour * HOUR_MINUTES)),
                (Buckets::Hours, (first_hour, last_hour)),
                (Buckets::Minutes, (last_hour * HOUR_MINUTES, to)),
            ]
        };
        for snapshot in self.snapshots.values() {
            for (of, range) in ranges.iter().filter(|(_, (from, to))| from < to) {
                touched.index_entries +=
                    snapshot.add_rollups(*of, model.as_str(), *range, &mut sum)?;
            }
        }
        Ok(sum)
    }
}

/// What `model` has answered so far.
pub(crate) fn of_model(core: &Core, model: &ModelId) -> Result<ModelPerformance, StoreError> {
    let as_of_us = core.clock.utc_us();
    let day_from = minute_of(as_of_us.saturating_sub(DAY_US));
    let figures = Figures::open(core, Some(model), i64::MIN)?;
    let day = figures.minutes(model, (day_from, i64::MAX / MINUTE_US), &mut Touched::default())?;
    Ok(ModelPerformance {
        model: model.clone(),
        all: figures.total(model)?,
        day,
        day_since_us: day_from * MINUTE_US,
        as_of_us,
    })
}

/// The figures of each model that has rows in `since_us..until_us`, both cut to whole minutes: the
/// first minute is included, the last is not.
pub(crate) fn statistics(
    core: &Core,
    since_us: i64,
    until_us: i64,
) -> Result<(Vec<ModelStatistics>, Explanation), StoreError> {
    let mut touched = Touched::default();
    let figures = Figures::open(core, None, since_us)?;
    let range = (minute_of(since_us), minute_of(until_us));
    let mut found = Vec::new();
    for model in figures.models()? {
        let sum = figures.minutes(&model, range, &mut touched)?;
        if sum.rows > 0 {
            found.push(ModelStatistics { model, figures: sum });
        }
    }
    let plan = "sum of the figures of whole hours and of the minutes at both ends; \
        no rows are read";
    let (months, rows) = (figures.snapshots.len(), found.len());
    Ok((found, Explanation::new(plan.to_owned(), months, rows, &touched)))
}
