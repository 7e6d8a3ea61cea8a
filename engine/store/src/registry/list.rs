//! Owns lists of registered versions, newest first: what may be asked, which index answers, and
//! the account of the work that `EXPLAIN` shows.
//!
//! An index whose order is the list's is walked from the newest until the page is full. The others
//! give candidates in their own order, of which the newest page is kept. All that a list shows is
//! in the index; a row is read only to look into its metadata and tags.
//! Refuses to know how indexes are kept. Bound: a page of [`PAGE_ROW_COUNT_MAX`] and twice as many
//! candidates in memory.

use redb::ReadableDatabase;
use truststram_base::limits::PAGE_ROW_COUNT_MAX;
use truststram_base::{ModelId, ModelVersion, UserId};

use self::run::Run;
use super::Registry;
use crate::containment::JsonPattern;
use crate::error::StoreError;
use crate::stop;

mod access;
mod run;

/// Which versions to list. The default is all of them, a page at a time.
#[derive(Clone, Debug)]
pub struct ModelQuery {
    /// Only this owner's.
    pub owner: Option<UserId>,
    /// Only the active version of each model.
    pub active_only: bool,
    /// Only this kind of network.
    pub architecture: Option<String>,
    /// Only this version of each model.
    pub version: Option<ModelVersion>,
    /// Only those registered then or later, microseconds UTC.
    pub created_since_us: Option<i64>,
    /// Only those with all of these tags.
    pub tags: Vec<String>,
    /// Only those whose metadata contains this, as PostgreSQL's `@>`.
    pub metadata_contains: Option<JsonPattern>,
    /// Only those behind this place: the `next` of the page before.
    pub before: Option<ModelPosition>,
    /// Most rows of the page, 1 to [`PAGE_ROW_COUNT_MAX`]; values outside are moved inside.
    pub limit: usize,
}

impl Default for ModelQuery {
    fn default() -> Self {
        Self {
            owner: None,
            active_only: false,
            architecture: None,
            version: None,
            created_since_us: None,
            tags: Vec::new(),
            metadata_contains: None,
            before: None,
            limit: PAGE_ROW_COUNT_MAX,
        }
    }
}

impl ModelQuery {
    pub(crate) fn limit(&self) -> usize {
        self.limit.clamp(1, PAGE_ROW_COUNT_MAX)
    }

    /// Whether a version meets all conditions but those on its metadata and tags.
    fn matches(&self, model: &ListedModel) -> bool {
        self.owner.as_ref().is_none_or(|owner| model.owner.as_ref() == Some(owner))
            && (!self.active_only || model.active)
            && self.architecture.as_ref().is_none_or(|kind| model.architecture == *kind)
            && self.version.is_none_or(|version| model.version == version)
            && self.created_since_us.is_none_or(|since_us| model.created_us >= since_us)
            && self.before.as_ref().is_none_or(|before| model.position() < *before)
    }

    /// Whether metadata or tags decide.
    fn looks_inside(&self) -> bool {
        self.metadata_contains.is_some() || !self.tags.is_empty()
    }
}

/// The place of a version in the order of lists, which is descending.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelPosition {
    /// When it was registered, microseconds UTC.
    pub created_us: i64,
    /// The model.
    pub id: ModelId,
    /// Its version.
    pub version: ModelVersion,
}

/// What a list shows of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedModel {
    /// The model.
    pub id: ModelId,
    /// Its version.
    pub version: ModelVersion,
    /// Whose it is.
    pub owner: Option<UserId>,
    /// What people call it.
    pub name: String,
    /// What kind of network it is.
    pub architecture: String,
    /// When it was registered, microseconds UTC.
    pub created_us: i64,
    /// Whether it is its model's active version.
    pub active: bool,
}

impl ListedModel {
    /// Its place in the order of lists.
    pub fn position(&self) -> ModelPosition {
        let (id, version) = (self.id.clone(), self.version);
        ModelPosition { created_us: self.created_us, id, version }
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelList {
    /// The versions, newest first.
    pub rows: Vec<ListedModel>,
    /// Where the next page begins, if there is one.
    pub next: Option<ModelPosition>,
    /// How they were found.
    pub plan: ModelPlan,
}

/// How a list was answered and what it cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelPlan {
    /// The index that was used; empty if no version can match and none was read.
    pub index: &'static str,
    /// Whether every version, or every active one, may have been compared, because no condition has
    /// an index that narrows it. A metadata pattern without scalars has none.
    pub is_scan: bool,
    /// Terms of the pattern and the tags by which candidates were found; 0 if another index was
    /// used.
    pub terms: usize,
    /// Times that an index was entered from its root.
    pub seeks: u64,
    /// Index entries read, with those counted to choose the index.
    pub entries_read: u64,
    /// Rows read; 0 if the index alone answered.
    pub rows_read: u64,
    /// Rows whose metadata and tags were compared.
    pub rechecked: u64,
    /// Pages read.
    pub pages: PageReads,
}

/// Pages of the file that were read meanwhile, by this list and by whoever read beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageReads {
    /// Found in the page cache.
    pub cached: u64,
    /// Read from the file.
    pub from_file: u64,
}

impl Registry {
    /// A page of the versions that match, newest first, as of one moment.
    pub(crate) fn list(&self, query: &ModelQuery) -> Result<ModelList, StoreError> {
        stop::read(&self.file, |database, transaction| {
            let before = database.cache_stats();
            let mut run = Run::new(&self.file, transaction, query);
            let mut rows = run.rows()?;
            let after = database.cache_stats();
            let is_last = rows.len() <= query.limit();
            rows.truncate(query.limit());
            let next = if is_last { None } else { rows.last().map(ListedModel::position) };
            let mut plan = run.plan;
            plan.pages = PageReads {
                cached: after.read_hits().saturating_sub(before.read_hits()),
                from_file: after.read_misses().saturating_sub(before.read_misses()),
            };
            Ok(ModelList { rows, next, plan })
        })
    }
}
