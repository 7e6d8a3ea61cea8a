//! Owns the joint of api and store: queries run on the reading thread.
//!
//! Refuses to know what they mean; see [`super::questions`]. Bound: the reader's queue.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use truststram_api::ports::{
    Failure, ModelsPage, ModelsQuery, Page, PageFailure, Performance, PredictionsQuery, Records,
    Statistics, StatisticsQuery,
};
use truststram_base::{ModelEntry, ModelId};

use super::background::Background;
use super::questions::{Questions, failure_of_query};

/// The store as the API sees it.
pub struct StoreRecords {
    /// What is asked.
    pub questions: Arc<Questions>,
    /// The thread that reads.
    pub reader: Arc<Background>,
}

type Answered<T, E> = BoxFuture<'static, Result<T, E>>;

impl StoreRecords {
    fn ask<T: Send + 'static, E: From<Failure> + Send + 'static>(
        &self,
        question: impl FnOnce(&Questions) -> Result<T, E> + Send + 'static,
    ) -> Answered<T, E> {
        let questions = self.questions.clone();
        let read = self.reader.run(move || question(&questions));
        read.map(|done| done.unwrap_or_else(|failure| Err(failure.into()))).boxed()
    }
}

impl Records for StoreRecords {
    fn models(&self) -> Answered<Vec<ModelEntry>, Failure> {
        self.ask(|questions| questions.store.models().map_err(|error| failure_of_query(&error)))
    }

    fn versions(&self, model: ModelId) -> Answered<Vec<ModelEntry>, Failure> {
        self.ask(move |questions| {
            let versions = questions.store.model_versions(&model);
            versions.map_err(|error| failure_of_query(&error))
        })
    }

    fn list_models(&self, query: ModelsQuery) -> Answered<ModelsPage, PageFailure> {
        self.ask(|questions| questions.list_models(query))
    }

    fn predictions(&self, query: PredictionsQuery) -> Answered<Page, PageFailure> {
        self.ask(|questions| questions.predictions(query))
    }

    fn performance(&self, model: ModelId) -> Answered<Performance, Failure> {
        self.ask(move |questions| questions.performance(&model))
    }

    fn performances(&self) -> Answered<Vec<Performance>, Failure> {
        self.ask(Questions::performances)
    }

    fn statistics(&self, query: StatisticsQuery) -> Answered<Statistics, Failure> {
        self.ask(move |questions| questions.statistics(query))
    }
}
