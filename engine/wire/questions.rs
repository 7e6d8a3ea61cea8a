//! Owns what the API asks of models and predictions, in the words of the store.
//!
//! Refuses to know threads: whoever asks does it from the reader's. Bound: a page; the versions of
//! one owner; the figures of all models.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use truststram_api::ports::{
    Explained, Failure, ListedModel, ModelsPage, ModelsPlan, ModelsQuery, Page, PageFailure,
    Performance, PredictionsQuery, Statistic, Statistics, StatisticsQuery, StoredAnswer,
};
use truststram_base::limits::PAGE_ROW_COUNT_MAX;
use truststram_base::{Clock, ModelEntry, ModelId, ModelVersion, UserId};
use truststram_store::{
    Cursor, Explanation, JsonPattern, ModelPlan, ModelPosition, ModelQuery, PredictionPage,
    PredictionQuery, Store, StoreError,
};

use super::sink::failure_of;
use super::slow_queries::{Account, SlowQueries};

const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 24 * 60 * MINUTE_US;
/// Span of statistics and of an owner's predictions where none is given.
const SPAN_US: i64 = 7 * DAY_US;
/// Age up to which a model is a recent one.
const RECENT_US: i64 = 30 * DAY_US;
const CURSOR_PREFIX: &str = "m1-";

/// What an error of a query means to the caller.
pub fn failure_of_query(error: &StoreError) -> Failure {
    match failure_of(error) {
        Failure::NotKept { reason } => Failure::Internal { reason },
        other => other,
    }
}

/// The store, asked.
pub struct Questions {
    /// The store.
    pub store: Arc<Store>,
    /// What `now` is.
    pub clock: Arc<dyn Clock>,
    /// Logs slow ones.
    pub slow: Arc<SlowQueries>,
}

/// Name and kind of network by version.
type Names = HashMap<(ModelId, ModelVersion), (String, String)>;

impl Questions {
    /// One page of predictions.
    ///
    /// # Errors
    /// If the cursor is none of ours, or the store fails.
    pub fn predictions(&self, query: PredictionsQuery) -> Result<Page, PageFailure> {
        let account = |page: &Page| account_of(&page.explained);
        if let Some(owner) = query.owner.clone() {
            let read = || self.predictions_of_owner(owner, query.since_us, query.limit);
            let page = self.slow.watch("predictions of an owner", read, account);
            return page.map_err(|error| failure_of_query(&error).into());
        }
        let before = query.cursor.as_deref().map(str::parse::<Cursor>).transpose();
        let query = PredictionQuery {
            model: query.model,
            user: query.user,
            since_us: query.since_us,
            until_us: query.until_us,
            limit: query.limit,
            before: before.map_err(|_| PageFailure::BadCursor)?,
        };
        let read = || {
            let (page, explanation) = self.store.explain_predictions(&query)?;
            let next = page.next.map(|cursor| cursor.to_string());
            let rows = self.name_classes(page, &Names::new())?;
            Ok(Page { rows, next, explained: explained(explanation) })
        };
        let page = self.slow.watch("predictions", read, account);
        page.map_err(|error: StoreError| failure_of_query(&error).into())
    }

    /// The guide's join of models and predictions.
    fn predictions_of_owner(
        &self,
        owner: UserId,
        since_us: Option<i64>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let query = ModelQuery { owner: Some(owner), ..ModelQuery::default() };
        let (listed, index) = self.every(query)?;
        let mut models: Vec<ModelId> = listed.iter().map(|version| version.id.clone()).collect();
        models.sort_unstable();
        models.dedup();
        let named = |version: truststram_store::ListedModel| {
            ((version.id, version.version), (version.name, version.architecture))
        };
        let names: Names = listed.into_iter().map(named).collect();
        let since_us = since_us.unwrap_or_else(|| self.clock.utc_us() - SPAN_US);
        let (page, explanation) = self.store.predictions_of_models(&models, since_us, limit)?;
        let rows = self.name_classes(page, &names)?;
        let mut explained = explained(explanation);
        explained.plan = format!("the owner's models by index {index}; {}", explained.plan);
        Ok(Page { rows, next: None, explained })
    }

    /// Gives class indices their names, and models theirs where they are known.
    fn name_classes(
        &self,
        page: PredictionPage,
        names: &Names,
    ) -> Result<Vec<StoredAnswer>, StoreError> {
        let mut classes: HashMap<(ModelId, ModelVersion), Vec<String>> = HashMap::new();
        let mut rows = Vec::with_capacity(page.rows.len());
        for row in page.rows {
            let record = row.record;
            let key = (record.model.clone(), record.version);
            if !classes.contains_key(&key) {
                for entry in self.store.model_versions(&record.model)? {
                    classes.insert((entry.id, entry.version), entry.classes);
                }
            }
            let (model_name, model_type) = names.get(&key).cloned().unzip();
            let named = classes.entry(key).or_default().get(record.class as usize).cloned();
            rows.push(StoredAnswer {
                request: record.request,
                model: record.model,
                model_name,
                model_type,
                version: record.version,
                user: record.user,
                timestamp_us: record.timestamp_us,
                label: named.unwrap_or_else(|| record.class.to_string()),
                confidence: record.confidence,
                features: record.features,
            });
        }
        Ok(rows)
    }

    /// One page of registered versions.
    ///
    /// # Errors
    /// If a parameter is not acceptable, or the store fails.
    pub fn list_models(&self, query: ModelsQuery) -> Result<ModelsPage, PageFailure> {
        let before = query.cursor.as_deref().map(|text| {
            let position = position_of(text);
            position.ok_or(PageFailure::BadCursor)
        });
        let metadata = query.metadata.as_deref().map(|text| {
            JsonPattern::new(text).map_err(|problem| PageFailure::Invalid {
                field: "metadata",
                reason: problem.to_string(),
            })
        });
        let query = ModelQuery {
            owner: query.owner,
            active_only: query.active_only,
            architecture: query.model_type,
            version: query.version,
            created_since_us: query.created_since_us,
            tags: query.tag.into_iter().collect(),
            metadata_contains: metadata.transpose()?,
            before: before.transpose()?,
            limit: query.limit,
        };
        let account = |page: &ModelsPage| {
            let plan = format!("index {}, {} entries", page.plan.index, page.plan.entries_read);
            Account { plan, rows: page.plan.rows }
        };
        let page = self.slow.watch("models", || self.models_page(&query), account);
        page.map_err(|error| failure_of_query(&error).into())
    }

    fn models_page(&self, query: &ModelQuery) -> Result<ModelsPage, StoreError> {
        let start_us = self.clock.monotonic_us();
        let list = self.store.list_models(query)?;
        let mut entries: HashMap<ModelId, Vec<ModelEntry>> = HashMap::new();
        let mut rows = Vec::with_capacity(list.rows.len());
        for listed in list.rows {
            let versions = match entries.entry(listed.id.clone()) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    new.insert(self.store.model_versions(&listed.id)?)
                }
            };
            let active = versions.iter().find(|entry| entry.active);
            let active_version = active.map(|entry| entry.version);
            // A version that was removed meanwhile is left out.
            let entry = versions.iter().find(|entry| entry.version == listed.version);
            rows.extend(entry.cloned().map(|entry| ListedModel { entry, active_version }));
        }
        let ModelPlan { index, is_scan, terms, seeks, entries_read, rows_read, rechecked, pages } =
            list.plan;
        let plan = ModelsPlan {
            index: index.to_owned(),
            is_scan,
            terms,
            seeks,
            entries_read,
            rows_read,
            rechecked,
            pages_cached: pages.cached,
            pages_read: pages.from_file,
            rows: rows.len() as u64,
            duration_us: self.clock.monotonic_us().saturating_sub(start_us),
        };
        Ok(ModelsPage { rows, next: list.next.as_ref().map(cursor_of), plan })
    }

    /// Every version that matches, newest first, and the index by which they were found.
    fn every(
        &self,
        mut query: ModelQuery,
    ) -> Result<(Vec<truststram_store::ListedModel>, &'static str), StoreError> {
        query.limit = PAGE_ROW_COUNT_MAX;
        let mut found = Vec::new();
        loop {
            let page = self.store.list_models(&query)?;
            found.extend(page.rows);
            let index = page.plan.index;
            match page.next {
                Some(next) => query.before = Some(next),
                None => return Ok((found, index)),
            }
        }
    }

    /// What a model has answered so far.
    ///
    /// # Errors
    /// If there is none of this id, or the store fails.
    pub fn performance(&self, model: &ModelId) -> Result<Performance, Failure> {
        let read = || {
            let mut versions = self.store.model_versions(model)?;
            let active = versions.iter().position(|entry| entry.active);
            let shown = match active {
                Some(active) => Some(versions.swap_remove(active)),
                None => versions.pop(),
            };
            let Some(shown) = shown else { return Ok(None) };
            self.figures(model, shown.name, shown.architecture).map(Some)
        };
        let found = self.slow.watch("performance of a model", read, |_| figures_account(1));
        let found = found.map_err(|error: StoreError| failure_of_query(&error))?;
        found.ok_or_else(|| Failure::UnknownModel(model.clone()))
    }

    /// What every active model has answered so far, by id.
    ///
    /// # Errors
    /// If the store fails.
    pub fn performances(&self) -> Result<Vec<Performance>, Failure> {
        let read = || {
            let query = ModelQuery { active_only: true, ..ModelQuery::default() };
            let (mut active, _) = self.every(query)?;
            active.sort_by(|a, b| a.id.cmp(&b.id));
            let figures = |version: truststram_store::ListedModel| {
                self.figures(&version.id, version.name, version.architecture)
            };
            active.into_iter().map(figures).collect()
        };
        let account = |found: &Vec<Performance>| figures_account(found.len());
        let found = self.slow.watch("performance of all models", read, account);
        found.map_err(|error: StoreError| failure_of_query(&error))
    }

    fn figures(
        &self,
        model: &ModelId,
        name: String,
        model_type: String,
    ) -> Result<Performance, StoreError> {
        let found = self.store.performance_cached(model)?;
        Ok(Performance {
            model: model.clone(),
            name,
            model_type,
            predictions: found.all.rows,
            confidence_mean: found.all.confidence_mean(),
            positive_share: found.all.positive_share(),
            day_predictions: found.day.rows,
            day_since_us: found.day_since_us,
            last_us: found.all.last_prediction_us(),
            as_of_us: found.as_of_us,
        })
    }

    /// What models have answered in a span of time.
    ///
    /// # Errors
    /// If the store fails.
    pub fn statistics(&self, query: StatisticsQuery) -> Result<Statistics, Failure> {
        let account = |found: &Statistics| account_of(&found.explained);
        let found = self.slow.watch("statistics", || self.statistics_of(query), account);
        found.map_err(|error| failure_of_query(&error))
    }

    fn statistics_of(&self, query: StatisticsQuery) -> Result<Statistics, StoreError> {
        let now_us = self.clock.utc_us();
        // The last minute is left out, so that the present one is in where no end is given.
        let until_us = whole_minute(query.until_us.unwrap_or(now_us + MINUTE_US));
        let since_us = whole_minute(query.since_us.unwrap_or(now_us - SPAN_US)).min(until_us);
        let models = self.models_of_statistics(query.all, now_us)?;
        let (figures, explanation) = self.store.statistics(since_us, until_us)?;
        let figures: HashMap<ModelId, _> =
            figures.into_iter().map(|found| (found.model, found.figures)).collect();
        let row = |version: truststram_store::ListedModel| {
            let found = figures.get(&version.id);
            Statistic {
                predictions: found.map_or(0, |found| found.rows),
                positive_share: found.and_then(|found| found.positive_share()),
                model: version.id,
                name: version.name,
                model_type: version.architecture,
                created_us: version.created_us,
            }
        };
        let rows: Vec<Statistic> = models.into_iter().map(row).collect();
        let mut explained = explained(explanation);
        explained.rows = rows.len() as u64;
        Ok(Statistics { rows, since_us, until_us, explained })
    }

    /// One version of each model, the newest first: the active one, or the newest if none is.
    fn models_of_statistics(
        &self,
        all: bool,
        now_us: i64,
    ) -> Result<Vec<truststram_store::ListedModel>, StoreError> {
        if !all {
            let created_since_us = Some(now_us - RECENT_US);
            let active_only = true;
            let query = ModelQuery { active_only, created_since_us, ..ModelQuery::default() };
            return Ok(self.every(query)?.0);
        }
        let mut shown: BTreeMap<ModelId, truststram_store::ListedModel> = BTreeMap::new();
        for version in self.every(ModelQuery::default())?.0 {
            if version.active || !shown.contains_key(&version.id) {
                shown.insert(version.id.clone(), version);
            }
        }
        let mut shown: Vec<_> = shown.into_values().collect();
        shown.sort_by_key(|version| std::cmp::Reverse(version.position()));
        Ok(shown)
    }
}

/// The beginning of the minute that a time is in.
fn whole_minute(utc_us: i64) -> i64 {
    utc_us.div_euclid(MINUTE_US).saturating_mul(MINUTE_US)
}

fn figures_account(models: usize) -> Account {
    Account { plan: "sums that are kept with the rows".to_owned(), rows: models as u64 }
}

fn account_of(explained: &Explained) -> Account {
    Account { plan: explained.plan.clone(), rows: explained.rows }
}

fn explained(explanation: Explanation) -> Explained {
    let Explanation {
        plan,
        months,
        rows,
        rows_examined,
        rows_from_memory,
        index_entries,
        segments_read,
        segments_cached,
        segments_skipped,
        pages_read,
        duration_us,
    } = explanation;
    Explained {
        plan,
        months,
        rows,
        rows_examined,
        rows_from_memory,
        index_entries,
        segments_read,
        segments_cached,
        segments_skipped,
        pages_read,
        duration_us,
    }
}

/// A place in lists of models as text. It needs no escape in an address.
fn cursor_of(position: &ModelPosition) -> String {
    let ModelPosition { created_us, id, version } = position;
    format!("{CURSOR_PREFIX}{:x}-{:x}-{id}", created_us.cast_unsigned(), version.0)
}

fn position_of(text: &str) -> Option<ModelPosition> {
    let mut parts = text.strip_prefix(CURSOR_PREFIX)?.splitn(3, '-');
    let created_us = u64::from_str_radix(parts.next()?, 16).ok()?.cast_signed();
    let version = ModelVersion(u32::from_str_radix(parts.next()?, 16).ok()?);
    let id = ModelId::new(parts.next()?).ok()?;
    Some(ModelPosition { created_us, id, version })
}

#[cfg(test)]
mod tests;
