//! Owns the joint of api and the store's data sets: reads run on the reading thread, bodies are
//! read and appended on a thread of their own.
//!
//! Refuses to know how rows are kept. Bound: [`PAGE_BYTES_MAX`] of inputs a page or one row; the
//! queues of both threads.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use truststram_api::ports::{
    Appended, Dataset, DatasetFailure, DatasetRow, DatasetRows, Datasets, NewRow, RowReader,
};
use truststram_base::Clock;
use truststram_store::{DatasetInfo, DatasetName, RowProblem, Store, StoreError, TrainingRow};

use super::background::Background;
use super::questions::failure_of_query;
use super::slow_queries::{Account, SlowQueries};

/// Features and texts of all rows of a page, in bytes; beyond, it ends.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// The data sets as the API sees them.
pub struct StoreDatasets {
    /// The store.
    pub store: Arc<Store>,
    /// The thread that reads.
    pub reader: Arc<Background>,
    /// The thread that writes.
    pub writer: Arc<Background>,
    /// When rows are made.
    pub clock: Arc<dyn Clock>,
    /// Logs slow ones.
    pub slow: Arc<SlowQueries>,
}

type Answered<T> = BoxFuture<'static, Result<T, DatasetFailure>>;

impl StoreDatasets {
    fn on<T: Send + 'static>(
        &self,
        thread: &Background,
        work: impl FnOnce(&Store) -> Result<T, DatasetFailure> + Send + 'static,
    ) -> Answered<T> {
        let store = self.store.clone();
        let done = thread.run(move || work(&store));
        done.map(|done| done.unwrap_or_else(|failure| Err(failure.into()))).boxed()
    }
}

impl Datasets for StoreDatasets {
    fn list(&self) -> Answered<Vec<Dataset>> {
        let slow = self.slow.clone();
        self.on(&self.reader, move |store| {
            let read = || store.datasets().map_err(failure_of);
            let account = |found: &Vec<_>| Account {
                plan: "the totals of all data sets".to_owned(),
                rows: found.len() as u64,
            };
            let found = slow.watch("data sets", read, account)?;
            Ok(found.into_iter().map(shown).collect())
        })
    }

    fn append(&self, name: String, rows: RowReader) -> Answered<Appended> {
        let (clock, slow) = (self.clock.clone(), self.slow.clone());
        self.on(&self.writer, move |store| {
            let name = name_of(&name)?;
            let append = || {
                let rows = rows().map_err(|problem| DatasetFailure::Body(Box::new(problem)))?;
                let created_us = clock.utc_us();
                let row = |NewRow { features, text, label, metadata_json }| TrainingRow {
                    id: 0,
                    created_us,
                    features,
                    text,
                    label,
                    metadata_json,
                };
                let rows: Vec<TrainingRow> = rows.into_iter().map(row).collect();
                let first_id = store.append_training(&name, &rows).map_err(failure_of)?;
                Ok(Appended { first_id, rows: rows.len() as u64 })
            };
            let account = |appended: &Appended| Account {
                plan: "append behind the last block".to_owned(),
                rows: appended.rows,
            };
            slow.watch("rows to a data set", append, account)
        })
    }

    fn rows(&self, name: String, from_id: u64, limit: usize) -> Answered<DatasetRows> {
        let slow = self.slow.clone();
        self.on(&self.reader, move |store| {
            let name = name_of(&name)?;
            let read = || page(store, &name, from_id, limit).map_err(failure_of);
            let account = |page: &DatasetRows| Account {
                plan: "blocks from that of the first id on".to_owned(),
                rows: page.rows.len() as u64,
            };
            slow.watch("rows of a data set", read, account)
        })
    }

    fn remove(&self, name: String) -> Answered<Dataset> {
        self.on(&self.writer, move |store| {
            store.remove_dataset(&name_of(&name)?).map(shown).map_err(failure_of)
        })
    }
}

fn page(
    store: &Store,
    name: &DatasetName,
    from_id: u64,
    limit: usize,
) -> Result<DatasetRows, StoreError> {
    let scan = store.scan_training(name, from_id, None)?;
    let row_count = scan.row_count();
    let mut rows = Vec::new();
    let mut bytes = 0;
    for row in scan.take(limit) {
        let row = row?;
        bytes += row.input_bytes();
        if bytes > PAGE_BYTES_MAX && !rows.is_empty() {
            break;
        }
        let TrainingRow { id, created_us, features, text, label, metadata_json } = row;
        let row = NewRow { features, text, label, metadata_json };
        rows.push(DatasetRow { id, created_us, row });
    }
    let next = rows.last().map(|row| row.id + 1).filter(|&next| next < row_count);
    Ok(DatasetRows { rows, row_count, next })
}

fn name_of(name: &str) -> Result<DatasetName, DatasetFailure> {
    DatasetName::new(name).map_err(|error| DatasetFailure::Name(error.to_string()))
}

fn failure_of(error: StoreError) -> DatasetFailure {
    match error {
        StoreError::DatasetUnknown { name } => DatasetFailure::Unknown(name.to_string()),
        StoreError::DatasetRow { row, problem, .. } => {
            let field = match problem {
                RowProblem::FeatureCount { .. }
                | RowProblem::FeatureLimit { .. }
                | RowProblem::NotOfFeatures => "features",
                RowProblem::NotOfTexts | RowProblem::Both | RowProblem::Text { .. } => "text",
                RowProblem::Label => "label",
                RowProblem::Metadata(_) => "metadata",
            };
            DatasetFailure::Row { row, field, reason: problem.to_string() }
        }
        other => DatasetFailure::Failure(failure_of_query(&other)),
    }
}

fn shown(info: DatasetInfo) -> Dataset {
    Dataset {
        name: info.name.to_string(),
        rows: info.rows,
        feature_count: info.feature_count,
        is_of_texts: info.is_of_texts,
        raw_bytes: info.raw_bytes,
        stored_bytes: info.stored_bytes,
        oldest_us: info.oldest_us,
        newest_us: info.newest_us,
        labels: info.labels,
        other_labels: info.other_labels,
        unlabelled: info.unlabelled,
    }
}
