//! Owns what is asked of kept predictions and registered models.
//!
//! Refuses to know how it is found; how it was found is told in plain figures. Bound: a page, or
//! the figures of all models.

use futures_util::future::{BoxFuture, FutureExt, TryFutureExt};
use serde::Serialize;
use truststram_base::{ModelEntry, ModelId, ModelVersion, RequestId, UserId};
use utoipa::ToSchema;

use super::Failure;

/// Which stored predictions to read: all conditions given must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PredictionsQuery {
    /// Of this model.
    pub model: Option<ModelId>,
    /// Of this user.
    pub user: Option<UserId>,
    /// Of any model that this owner has a version of. `model`, `user`, `until_us` and `cursor` are
    /// absent then, and `since_us` is seven days ago if it is absent.
    pub owner: Option<UserId>,
    /// Made at or after this time, microseconds UTC.
    pub since_us: Option<i64>,
    /// Made at or before this time, microseconds UTC.
    pub until_us: Option<i64>,
    /// At most this many rows.
    pub limit: usize,
    /// Continue after the page that gave this cursor.
    pub cursor: Option<String>,
}

/// One stored prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAnswer {
    /// The request that asked.
    pub request: RequestId,
    /// The model that answered.
    pub model: ModelId,
    /// What people call it; known where the query names an owner.
    pub model_name: Option<String>,
    /// What kind of network it is; known where the query names an owner.
    pub model_type: Option<String>,
    /// The version that answered.
    pub version: ModelVersion,
    /// Who asked.
    pub user: Option<UserId>,
    /// When, microseconds UTC.
    pub timestamp_us: i64,
    /// The name of the predicted class.
    pub label: String,
    /// Probability of the predicted class.
    pub confidence: f32,
    /// The input as it was given.
    pub features: Vec<f32>,
}

/// How a query was answered and what it cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Explained {
    /// The way to the rows, in words.
    pub plan: String,
    /// Months whose files were looked into.
    pub months: u64,
    /// Rows that were answered.
    pub rows: u64,
    /// Rows that were looked at.
    pub rows_examined: u64,
    /// Rows that came from memory: they are in the log and not yet in a month's file.
    pub rows_from_memory: u64,
    /// Index entries and figures that were read.
    pub index_entries: u64,
    /// Segments that were read from a file and unpacked.
    pub segments_read: u64,
    /// Segments that were unpacked already.
    pub segments_cached: u64,
    /// Segments that the index ruled out by time.
    pub segments_skipped: u64,
    /// Pages of 4 KiB that hold the segments and large index values read.
    pub pages_read: u64,
    /// Duration in microseconds.
    pub duration_us: u64,
}

/// A page of stored predictions, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The rows.
    pub rows: Vec<StoredAnswer>,
    /// Where the next page starts, if there is one.
    pub next: Option<String>,
    /// How they were found.
    pub explained: Explained,
}

/// Why a page cannot be read: a value that is not acceptable, or a failure.
#[derive(Clone, Debug, PartialEq)]
pub enum PageFailure {
    /// The cursor is not one of ours.
    BadCursor,
    /// A parameter is not acceptable.
    Invalid {
        /// Its name.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Anything else.
    Failure(Failure),
}

impl From<Failure> for PageFailure {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Which registered versions to list: all conditions given must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelsQuery {
    /// Of this owner.
    pub owner: Option<UserId>,
    /// Only the active version of each model.
    pub active_only: bool,
    /// Of this kind of network.
    pub model_type: Option<String>,
    /// With this version number.
    pub version: Option<ModelVersion>,
    /// With this tag.
    pub tag: Option<String>,
    /// Registered then or later, microseconds UTC.
    pub created_since_us: Option<i64>,
    /// Whose metadata contains this JSON text, as PostgreSQL's `@>`.
    pub metadata: Option<String>,
    /// At most this many rows.
    pub limit: usize,
    /// Continue after the page that gave this cursor.
    pub cursor: Option<String>,
}

/// A version that was listed.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedModel {
    /// The version.
    pub entry: ModelEntry,
    /// The active version of its model.
    pub active_version: Option<ModelVersion>,
}

/// How a list of models was answered and what it cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ModelsPlan {
    /// The index that was used; empty if no version can match and none was read.
    pub index: String,
    /// Whether every version may have been compared, because no condition has an index that
    /// narrows it.
    pub is_scan: bool,
    /// Terms of the pattern and the tags by which candidates were found.
    pub terms: usize,
    /// Times that an index was entered from its root.
    pub seeks: u64,
    /// Index entries read, with those counted to choose the index.
    pub entries_read: u64,
    /// Rows read; 0 if the index alone answered.
    pub rows_read: u64,
    /// Rows whose metadata and tags were compared.
    pub rechecked: u64,
    /// Pages found in the page cache.
    pub pages_cached: u64,
    /// Pages read from the file.
    pub pages_read: u64,
    /// Versions that were answered.
    pub rows: u64,
    /// Duration in microseconds.
    pub duration_us: u64,
}

/// A page of registered versions, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelsPage {
    /// The versions.
    pub rows: Vec<ListedModel>,
    /// Where the next page starts, if there is one.
    pub next: Option<String>,
    /// How they were found.
    pub plan: ModelsPlan,
}

/// What a model has answered so far: a row of the guide's `mv_model_performance`.
#[derive(Clone, Debug, PartialEq)]
pub struct Performance {
    /// The model.
    pub model: ModelId,
    /// What people call it.
    pub name: String,
    /// What kind of network it is.
    pub model_type: String,
    /// All its predictions.
    pub predictions: u64,
    /// Mean confidence of them, 0 to 1; absent if there are none.
    pub confidence_mean: Option<f64>,
    /// Share of those whose class is not the first, 0 to 1; absent if there are none.
    pub positive_share: Option<f64>,
    /// Those made since `day_since_us`.
    pub day_predictions: u64,
    /// The beginning of the minute 24 hours ago, microseconds UTC.
    pub day_since_us: i64,
    /// When the last one was made, microseconds UTC; absent if there is none.
    pub last_us: Option<i64>,
    /// When these figures were true, microseconds UTC.
    pub as_of_us: i64,
}

/// Which statistics to make.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StatisticsQuery {
    /// From the minute of this time on, microseconds UTC; seven days ago if absent.
    pub since_us: Option<i64>,
    /// Up to the minute of this time, which is left out; with the present minute if absent.
    pub until_us: Option<i64>,
    /// Every model, not only active ones that were registered in the last 30 days.
    pub all: bool,
}

/// What one model has answered in a span of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistic {
    /// The model.
    pub model: ModelId,
    /// What people call it.
    pub name: String,
    /// What kind of network it is.
    pub model_type: String,
    /// When its version was registered, microseconds UTC.
    pub created_us: i64,
    /// Its predictions.
    pub predictions: u64,
    /// Share of those whose class is not the first, 0 to 1; absent if there are none.
    pub positive_share: Option<f64>,
}

/// Statistics of models, the newest model first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// One per model.
    pub rows: Vec<Statistic>,
    /// The beginning of the span, microseconds UTC.
    pub since_us: i64,
    /// The end of the span, which is left out, microseconds UTC.
    pub until_us: i64,
    /// How they were found.
    pub explained: Explained,
}

/// The store as the API sees it.
pub trait Records: Send + Sync {
    /// Every registered version, by model id and version.
    fn models(&self) -> BoxFuture<'static, Result<Vec<ModelEntry>, Failure>>;
    /// Every registered version of one model, by version; none where there is no such model.
    fn versions(&self, model: ModelId) -> BoxFuture<'static, Result<Vec<ModelEntry>, Failure>> {
        let all = self.models();
        let found = all
            .map_ok(move |entries| entries.into_iter().filter(|entry| entry.id == model).collect());
        found.boxed()
    }
    /// One page of registered versions.
    fn list_models(
        &self,
        query: ModelsQuery,
    ) -> BoxFuture<'static, Result<ModelsPage, PageFailure>>;
    /// One page of predictions.
    fn predictions(&self, query: PredictionsQuery)
    -> BoxFuture<'static, Result<Page, PageFailure>>;
    /// What a model has answered so far.
    fn performance(&self, model: ModelId) -> BoxFuture<'static, Result<Performance, Failure>>;
    /// The same of every active model, by id.
    fn performances(&self) -> BoxFuture<'static, Result<Vec<Performance>, Failure>>;
    /// What models have answered in a span of time.
    fn statistics(&self, query: StatisticsQuery)
    -> BoxFuture<'static, Result<Statistics, Failure>>;
}
