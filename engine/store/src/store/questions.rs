//! Owns the part of the store's face that answers questions about predictions.
//!
//! Refuses to know how it is done; see the module that each method calls. Bound: a page, or the figures of all models.

use std::sync::Arc;

use truststram_base::ModelId;

use super::Store;
use crate::error::{Damage, StoreError};
use crate::explain::Explanation;
use crate::performance::{self, ModelPerformance, ModelStatistics};
use crate::query::{self, PredictionPage, PredictionQuery};

impl Store {
    /// A page of committed predictions, newest first. Reads files on the caller's thread.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if anything that the page needs is damaged; no part of it is
    /// served then.
    pub fn predictions(&self, query: &PredictionQuery) -> Result<PredictionPage, StoreError> {
        Ok(self.explain_predictions(query)?.0)
    }

    /// As [`Store::predictions`], and how it was done.
    pub fn explain_predictions(
        &self,
        query: &PredictionQuery,
    ) -> Result<(PredictionPage, Explanation), StoreError> {
        self.timed(|| query::run(&self.core, query))
    }

    /// The newest predictions of any of `models` since a time, at most `limit`, newest first.
    ///
    /// # Errors
    /// As [`Store::predictions`].
    pub fn predictions_of_models(
        &self,
        models: &[ModelId],
        since_us: i64,
        limit: usize,
    ) -> Result<(PredictionPage, Explanation), StoreError> {
        self.timed(|| query::run_for_models(&self.core, models, since_us, limit))
    }

    /// What a model has answered so far; exact, and read from sums that change with the rows.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a figure is damaged.
    pub fn performance(&self, model: &ModelId) -> Result<ModelPerformance, StoreError> {
        performance::of_model(&self.core, model)
    }

    /// As [`Store::performance`], made anew only after a commit of the model's rows, or after 300 s.
    ///
    /// # Errors
    /// As [`Store::performance`].
    pub fn performance_cached(&self, model: &ModelId) -> Result<Arc<ModelPerformance>, StoreError> {
        self.performance_cache.get(&self.core, model)
    }

    /// The figures of each model that has rows in the minutes from that of `since_us` to the one
    /// before that of `until_us`, by model.
    ///
    /// # Errors
    /// As [`Store::performance`].
    pub fn statistics(
        &self,
        since_us: i64,
        until_us: i64,
    ) -> Result<(Vec<ModelStatistics>, Explanation), StoreError> {
        self.timed(|| performance::statistics(&self.core, since_us, until_us))
    }

    fn timed<T>(
        &self,
        query: impl FnOnce() -> Result<(T, Explanation), StoreError>,
    ) -> Result<(T, Explanation), StoreError> {
        let clock = &self.core.clock;
        let start_us = clock.monotonic_us();
        // Rows are read from a month's pages as the answer is put together; on damaged ones redb
        // may panic.
        let answered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(query));
        let (found, mut explanation) = answered.unwrap_or_else(|_| {
            Err(StoreError::Corrupt {
                path: self.directory.join("predictions"),
                table: "any",
                key: "unknown".to_owned(),
                damage: Damage::Pages,
            })
        })?;
        explanation.duration_us = clock.monotonic_us().saturating_sub(start_us);
        Ok((found, explanation))
    }
}
