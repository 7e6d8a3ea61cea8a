//! Ports that remember what they were asked, of the store and of operators.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::future::{BoxFuture, FutureExt, ready};
use serde_json::{Value, json};
use truststram_base::{Identity, ModelEntry, ModelId, ModelVersion, RequestId, UserId};

use crate::ports::*;

/// What every port is here.
#[derive(Default)]
pub struct Fake {
    pub asked: Arc<Mutex<Vec<String>>>,
}

pub type Answered<T, E> = BoxFuture<'static, Result<T, E>>;

impl Fake {
    pub fn note(&self, asked: impl std::fmt::Debug) {
        self.asked.lock().unwrap().push(format!("{asked:?}"));
    }
}

pub fn done<T: Send + 'static, E: Send + 'static>(result: Result<T, E>) -> Answered<T, E> {
    ready(result).boxed()
}

pub fn id(text: &str) -> ModelId {
    ModelId::new(text).unwrap()
}

pub fn entry(model: &str, version: u32, active: bool) -> ModelEntry {
    ModelEntry {
        id: id(model),
        version: ModelVersion(version),
        owner: Some(UserId::new("ada").unwrap()),
        name: format!("{model} {version}"),
        tags: vec!["t".to_owned()],
        metadata_json: r#"{"n":1.50}"#.to_owned(),
        architecture: "dense".to_owned(),
        path: String::new(),
        sha256: "00".to_owned(),
        bytes: 1,
        created_us: 1_000_000,
        feature_count: 2,
        classes: vec!["no".to_owned(), "yes".to_owned()],
        metrics: Vec::new(),
        active,
    }
}

impl Infer for Fake {
    fn predict(&self, ask: Ask) -> Answered<Answer, Failure> {
        self.note(&ask);
        done(Err(Failure::Draining))
    }

    fn predict_all(&self, asks: Vec<Ask>) -> BoxFuture<'static, Vec<Result<Answer, Failure>>> {
        asks.iter().for_each(|ask| self.note(ask));
        let answers = asks.iter().map(|_| Err(Failure::Draining)).collect();
        ready(answers).boxed()
    }
}

impl Records for Fake {
    fn models(&self) -> Answered<Vec<ModelEntry>, Failure> {
        done(Ok(vec![entry("b", 1, false), entry("a", 1, true), entry("a", 2, false)]))
    }

    fn list_models(&self, query: ModelsQuery) -> Answered<ModelsPage, PageFailure> {
        self.note(&query);
        if query.metadata.as_deref() == Some("{") {
            let reason = "is not JSON".to_owned();
            return done(Err(PageFailure::Invalid { field: "metadata", reason }));
        }
        let row = |entry| ListedModel { entry, active_version: Some(ModelVersion(1)) };
        let rows = vec![row(entry("z", 2, false)), row(entry("a", 1, true))];
        let plan = ModelsPlan { index: "m_owner".to_owned(), ..ModelsPlan::default() };
        done(Ok(ModelsPage { rows, next: Some("m1-9".to_owned()), plan }))
    }

    fn predictions(&self, query: PredictionsQuery) -> Answered<Page, PageFailure> {
        self.note(&query);
        let name = query.owner.map(|_| "Digits".to_owned());
        let row = StoredAnswer {
            request: RequestId(7),
            model: id("a"),
            model_type: name.clone(),
            model_name: name,
            version: ModelVersion(1),
            user: None,
            timestamp_us: 0,
            label: "yes".to_owned(),
            confidence: 0.5,
            features: vec![1.0],
        };
        let explained = Explained { plan: "a way".to_owned(), ..Explained::default() };
        done(Ok(Page { rows: vec![row], next: None, explained }))
    }

    fn performance(&self, model: ModelId) -> Answered<Performance, Failure> {
        if model.as_str() == "none" {
            return done(Err(Failure::UnknownModel(model)));
        }
        done(Ok(Performance {
            model,
            name: "A".to_owned(),
            model_type: "dense".to_owned(),
            predictions: 0,
            confidence_mean: None,
            positive_share: None,
            day_predictions: 0,
            day_since_us: 60_000_000,
            last_us: None,
            as_of_us: 61_000_000,
        }))
    }

    fn performances(&self) -> Answered<Vec<Performance>, Failure> {
        self.performance(id("a")).map(|found| found.map(|one| vec![one])).boxed()
    }

    fn statistics(&self, query: StatisticsQuery) -> Answered<Statistics, Failure> {
        self.note(query);
        let row = Statistic {
            model: id("a"),
            name: "A".to_owned(),
            model_type: "dense".to_owned(),
            created_us: 0,
            predictions: 0,
            positive_share: None,
        };
        done(Ok(Statistics { rows: vec![row], ..Statistics::default() }))
    }
}

impl Datasets for Fake {
    fn list(&self) -> Answered<Vec<Dataset>, DatasetFailure> {
        done(Ok(vec![Dataset { name: "iris".to_owned(), rows: 3, ..Dataset::default() }]))
    }

    fn append(&self, name: String, rows: RowReader) -> Answered<Appended, DatasetFailure> {
        if name == "BAD" {
            return done(Err(DatasetFailure::Name("has a bad character".to_owned())));
        }
        let rows = match rows() {
            Ok(rows) => rows,
            Err(problem) => return done(Err(DatasetFailure::Body(Box::new(problem)))),
        };
        self.note(&rows);
        if rows[0].features.len() != 2 {
            let reason = "has 1 features where the data set has 2".to_owned();
            return done(Err(DatasetFailure::Row { row: 0, field: "features", reason }));
        }
        done(Ok(Appended { first_id: 3, rows: rows.len() as u64 }))
    }

    fn rows(
        &self,
        name: String,
        from_id: u64,
        limit: usize,
    ) -> Answered<DatasetRows, DatasetFailure> {
        self.note((&name, from_id, limit));
        if name != "iris" {
            return done(Err(DatasetFailure::Name("is no name".to_owned())));
        }
        let metadata_json = "{\"a\": 1.0}".to_owned();
        let row = NewRow { features: vec![1.0, 2.0], metadata_json, ..NewRow::default() };
        let rows = vec![DatasetRow { id: from_id, created_us: 0, row }];
        done(Ok(DatasetRows { rows, row_count: 3, next: Some(from_id + 1) }))
    }

    fn remove(&self, name: String) -> Answered<Dataset, DatasetFailure> {
        self.note(&name);
        done(Err(DatasetFailure::Unknown(name)))
    }
}

impl StoreOperations for Fake {
    fn stats(&self) -> Answered<Value, StoreFailure> {
        done(Ok(json!({ "months": 2 })))
    }

    fn run(&self, action: StoreAction) -> Answered<Value, StoreFailure> {
        self.note(&action);
        done(match action {
            StoreAction::Checkpoint => Err(Failure::QueueFull("maintenance").into()),
            action => Ok(json!({ "did": format!("{action:?}") })),
        })
    }
}

impl Keys for Fake {
    fn list(&self) -> Answered<Value, StoreFailure> {
        done(Ok(json!({ "keys": [] })))
    }

    fn change(&self, change: KeyChange) -> Answered<Value, StoreFailure> {
        self.note(&change);
        done(Ok(json!({ "id": "0123" })))
    }

    fn rotate_signer(&self) -> Answered<Value, StoreFailure> {
        done(Ok(json!({})))
    }

    fn token(&self, identity: &Identity, ask: &TokenAsk) -> Result<TokenGiven, StoreFailure> {
        self.note(ask);
        let text = format!("token of {}", identity.user);
        Ok(TokenGiven { text, ttl_s: 900, scopes: identity.scopes })
    }

    fn jwks(&self) -> Value {
        json!({ "keys": [] })
    }
}

impl Policies for Fake {
    fn list(&self) -> Vec<Value> {
        Vec::new()
    }

    fn install(&self, name: String, _install: Install) -> Answered<Value, PolicyFailure> {
        done(Err(PolicyFailure::unknown(&name, &[])))
    }

    fn act(&self, name: String, _action: PolicyAction) -> Answered<Value, PolicyFailure> {
        done(Err(PolicyFailure::unknown(&name, &[])))
    }

    fn ask(&self, name: String, _question: Value) -> Answered<Value, PolicyFailure> {
        done(Err(PolicyFailure::unknown(&name, &[])))
    }

    fn decisions(&self, name: String, _limit: usize) -> Answered<RecordedRuns, PolicyFailure> {
        done(Err(PolicyFailure::unknown(&name, &[])))
    }
}

impl Operate for Fake {
    fn readiness(&self) -> BTreeMap<&'static str, Result<(), String>> {
        BTreeMap::new()
    }

    fn status(&self) -> Value {
        Value::Null
    }

    fn cache(&self) -> Value {
        Value::Null
    }

    fn purge(&self, _purge: &CachePurge) -> Option<usize> {
        None
    }

    fn metrics(&self) -> String {
        String::new()
    }

    fn reload(&self) -> BoxFuture<'static, Result<(), ReloadFailure>> {
        Box::pin(std::future::ready(Err(ReloadFailure::Faults(vec![(
            "routes[0].upstream".to_owned(),
            "no [[upstreams]] is named `a`".to_owned(),
        )]))))
    }
}
