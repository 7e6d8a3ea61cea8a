//! Owns the joint of api and store: queries run on the reading thread, and class indices get
//! their names.
//!
//! Refuses to know how rows are found. Bound: one page per query.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, ready};
use truststram_api::ports::{Failure, Page, PageFailure, PredictionsQuery, Records, StoredAnswer};
use truststram_base::{ModelEntry, ModelId, ModelVersion};
use truststram_store::{Cursor, PredictionPage, PredictionQuery, Store, StoreError};

use super::background::Background;
use super::sink::failure_of;

/// The store as the API sees it.
pub struct StoreRecords {
    /// The store.
    pub store: Arc<Store>,
    /// The thread that reads it.
    pub reader: Arc<Background>,
}

impl Records for StoreRecords {
    fn models(&self) -> BoxFuture<'static, Result<Vec<ModelEntry>, Failure>> {
        let store = self.store.clone();
        let read = self.reader.run(move || store.models().map_err(|error| failure_of(&error)));
        read.map(|result| result.and_then(|models| models)).boxed()
    }

    fn predictions(
        &self,
        query: PredictionsQuery,
    ) -> BoxFuture<'static, Result<Page, PageFailure>> {
        let before = match query.cursor.as_deref().map(str::parse::<Cursor>).transpose() {
            Ok(before) => before,
            Err(_) => return ready(Err(PageFailure::BadCursor)).boxed(),
        };
        let query = PredictionQuery {
            model: query.model,
            user: query.user,
            since_us: query.since_us,
            until_us: query.until_us,
            limit: query.limit,
            before,
        };
        let store = self.store.clone();
        let read = self.reader.run(move || {
            let page = store.predictions(&query)?;
            name_classes(&store, page)
        });
        let map = |result: Result<Result<Page, StoreError>, Failure>| match result {
            Ok(Ok(page)) => Ok(page),
            Ok(Err(error)) => Err(PageFailure::Failure(failure_of(&error))),
            Err(failure) => Err(PageFailure::Failure(failure)),
        };
        read.map(map).boxed()
    }
}

fn name_classes(store: &Store, page: PredictionPage) -> Result<Page, StoreError> {
    let mut classes: HashMap<(ModelId, ModelVersion), Vec<String>> = HashMap::new();
    let mut rows = Vec::with_capacity(page.rows.len());
    for row in page.rows {
        let record = row.record;
        let key = (record.model.clone(), record.version);
        if !classes.contains_key(&key) {
            for entry in store.model_versions(&record.model)? {
                classes.insert((entry.id, entry.version), entry.classes);
            }
        }
        let named = classes.entry(key).or_default().get(record.class as usize).cloned();
        rows.push(StoredAnswer {
            request: record.request,
            model: record.model,
            version: record.version,
            user: record.user,
            timestamp_us: record.timestamp_us,
            label: named.unwrap_or_else(|| record.class.to_string()),
            confidence: record.confidence,
            features: record.features,
        });
    }
    Ok(Page { rows, next: page.next.map(|cursor| cursor.to_string()) })
}
